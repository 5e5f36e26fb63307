"""The newest item of something that does not wait: a thread reads, stale items are dropped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """Reads ``items`` in a thread of its own and keeps the newest only. The thread owns the reader and releases it."""

    def __init__(
        self, items: Iterator[T], release: Callable[[], None] = lambda: None, stop: Callable[[], None] = lambda: None
    ) -> None:
        """Begin to read.

        Args:
            items: read until they end or raise.
            release: called by the thread when it is done with them.
            stop: makes a thread that waits for an item give up; called from another thread.
        """
        self.items = items
        self.dropped = 0
        """Items that were replaced by a newer one before anybody took them."""
        self._release, self._stop_waiting = release, stop
        self._changed = threading.Condition()
        self._newest: list[T] = []
        self._error: BaseException | None = None
        self._ended = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="latest", daemon=True)
        self._thread.start()

    def __iter__(self) -> Latest[T]:
        return self

    def __next__(self) -> T:
        """Each item at most once; waits for the next; ends, or raises, as the reader did."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest or self._ended)
            if self._newest:
                return self._newest.pop()
            error, self._error = self._error, None
        raise StopIteration if error is None else error

    def waiting(self) -> T | None:
        """The item that waits, if there is one: whoever asks drops an older one for it."""
        with self._changed:
            if not self._newest:
                return None
            self.dropped += 1
            return self._newest.pop()

    def close(self) -> None:
        """Stop reading; waits for the read under way, five seconds at most. Calling it twice does no harm."""
        self._stop.set()
        self._stop_waiting()
        with self._changed:
            self._ended = True
            self._newest.clear()
            self._changed.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=5)

    def _read(self) -> None:
        try:
            for item in self.items:
                with self._changed:
                    if self._stop.is_set():
                        break
                    self.dropped += len(self._newest)
                    self._newest[:] = [item]
                    self._changed.notify_all()
        except BaseException as error:  # the consumer raises it, also a SystemExit of the status callback
            self._error = error
        finally:
            self._release()
            with self._changed:
                self._ended = True
                self._changed.notify_all()
