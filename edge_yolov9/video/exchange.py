"""Where the threads of a stream take frames and leave results, and which results wait for the consumer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from edge_yolov9.detections import Detections
from edge_yolov9.video.frames import Frame
from edge_yolov9.video.source import Source

FRESH = 1.5
"""Frame periods that a result's frame may be older than the inference took, where only the newest counts."""


@dataclass(frozen=True)
class Result:
    """A frame with the objects in it, or with what went wrong."""

    frame: Frame | None
    """None where the source failed."""
    detections: Detections | None = None
    error: BaseException | None = None


class InOrder:
    """Results of every frame, in the order of the frames, however they are finished. For one thread at a time."""

    dropped = 0
    """Results that the consumer never gets."""

    def __init__(self, lead: int) -> None:
        """At most ``lead`` frames are under way or wait."""
        self._lead = lead
        self._results: dict[int, Result] = {}
        self._taken = 0

    def wants(self, pulled: int) -> bool:
        """Whether a frame should be pulled after ``pulled`` of them."""
        return pulled - self._taken < self._lead

    def put(self, number: int, result: Result) -> None:
        """Keep the result of frame ``number``."""
        self._results[number] = result

    def discard_stale(self, _period: float) -> None:
        """Nothing grows stale where every frame counts."""

    def take(self) -> Result | None:
        """The next result, where it is there."""
        result = self._results.pop(self._taken, None)
        self._taken += result is not None
        return result

    def is_last(self, pulled: int) -> bool:
        """Whether the results of ``pulled`` frames have all been taken."""
        return self._taken == pulled


class NewestOnly:
    """The newest result: it replaces one that nobody has taken. For one worker, and one thread at a time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` gives seconds, those of the results' times."""
        self.dropped = 0
        """Results that were replaced, or too old when they were asked for."""
        self._clock = clock
        self._result: Result | None = None

    def wants(self, _pulled: int) -> bool:
        """Whether a frame should be pulled: an error waits to be heard before the next one."""
        return self._result is None or self._result.error is None

    def put(self, _number: int, result: Result) -> None:
        """Keep a result in the place of the one that waits."""
        self.dropped += self._result is not None
        self._result = result

    def discard_stale(self, period: float) -> None:
        """Drop a result that has waited too long to be the newest; frames come every ``period`` seconds."""
        times = self._result and self._result.detections and self._result.detections.times
        if times and self._clock() - times.captured > times.finished - times.started + FRESH * period:
            self._result = None
            self.dropped += 1

    def take(self) -> Result | None:
        """The newest result, where there is one."""
        result, self._result = self._result, None
        return result

    def is_last(self, _pulled: int) -> bool:
        """True: the worker leaves its result before it hears of the end."""
        return True


class Exchange:
    """Workers pull frames and put results, one consumer takes them; any threads."""

    def __init__(self, source: Source, results: InOrder | NewestOnly) -> None:
        self.source = source
        self._results = results
        self._changed = threading.Condition()
        self._reading = threading.Lock()
        self._pulled = 0
        self._ended = self._closed = False

    @property
    def dropped(self) -> int:
        """Frames that the consumer never gets: of the source, and those whose result was dropped."""
        return self.source.dropped + self._results.dropped

    def pull(self) -> tuple[int, Frame] | None:
        """The next frame with its number, when it is wanted; None when there are no more."""
        with self._reading:  # numbers in the order of the frames
            with self._changed:
                self._changed.wait_for(lambda: self._over() or self._results.wants(self._pulled))
                if self._over():
                    return None
            frame: Frame | None = None
            error: BaseException | None = None
            try:
                frame = next(self.source)
            except StopIteration:
                pass
            except BaseException as failure:  # the consumer raises it
                error = failure
            with self._changed:
                number = self._pulled
                self._ended = frame is None
                self._pulled += frame is not None or error is not None
                if error is not None and not self._closed:
                    self._results.put(number, Result(None, error=error))
                self._changed.notify_all()
            return None if frame is None else (number, frame)

    def put(self, number: int, result: Result) -> None:
        """Leave the result of frame ``number``."""
        with self._changed:
            if not self._closed:
                self._results.put(number, result)
            self._changed.notify_all()

    def take(self) -> Result | None:
        """The next result, when it is there; None when there are no more."""
        with self._changed:
            self._results.discard_stale(1 / self.source.frame_rate)
            result: Result | None = None
            while not self._closed and (result := self._results.take()) is None:
                if self._ended and self._results.is_last(self._pulled):
                    break
                self._changed.wait()
            self._changed.notify_all()
            return result

    def close(self) -> None:
        """Nothing more is pulled or taken; the source is closed."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self.source.close()

    def _over(self) -> bool:
        return self._closed or self._ended
