"""The newest frame of something that does not wait: a thread reads, stale frames are dropped."""

from __future__ import annotations

import threading

from edge_yolov9.video.frames import Frame, Frames


class Latest(Frames):
    """Reads ``frames`` in a thread of its own and keeps the newest only. The thread owns them and closes them."""

    def __init__(self, frames: Frames) -> None:
        """Begin to read, until the frames end or raise."""
        self._frames = frames
        self.fps = frames.fps
        self._dropped = 0
        self._changed = threading.Condition()
        self._newest: list[Frame] = []
        self._error: BaseException | None = None
        self._ended = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="latest", daemon=True)
        self._thread.start()

    def __next__(self) -> Frame:
        """Each frame at most once; waits for the next; ends, or raises, as the frames did."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest or self._ended)
            if self._newest:
                return self._newest.pop()
            error, self._error = self._error, None
        raise StopIteration if error is None else error

    @property
    def rate(self) -> float | None:
        return self._frames.rate

    @property
    def newest_only(self) -> bool:
        return True

    @property
    def dropped(self) -> int:
        return self._dropped

    @property
    def reconnects(self) -> int:
        return self._frames.reconnects

    def fresher(self, frame: Frame) -> Frame:
        """The frame that waits, for which ``frame`` is dropped; ``frame`` itself where none does."""
        with self._changed:
            if not self._newest:
                return frame
            self._dropped += 1
            return self._newest.pop()

    def stop(self) -> None:
        """End the reading; waits for the read under way, ``patience`` at most."""
        self._stop.set()
        self._frames.stop()
        with self._changed:
            self._ended = True
            self._newest.clear()
            self._changed.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=self.patience)

    def _read(self) -> None:
        try:
            for frame in self._frames:
                with self._changed:
                    if self._stop.is_set():
                        break
                    self._dropped += len(self._newest)
                    self._newest[:] = [frame]
                    self._changed.notify_all()
        except BaseException as error:  # the consumer raises it, also a SystemExit of the status callback
            self._error = error
        finally:
            self._frames.close()
            with self._changed:
                self._ended = True
                self._changed.notify_all()
