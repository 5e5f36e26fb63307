"""Detections of a stream: capture, letterbox, inference and decoding overlap, results come in order and bounded."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edge_yolov9.decode import DecodeOptions
from edge_yolov9.detections import Detections
from edge_yolov9.images import Image
from edge_yolov9.lane import Lane
from edge_yolov9.system.closing import Closing
from edge_yolov9.video.reader import Frame
from edge_yolov9.video.source import Source
from edge_yolov9.video.tracking import ByteTrack

LEAD = 2
"""Results per worker that may wait for the consumer, where every frame counts."""
FRESH = 1.5
"""Frame periods that a result's frame may be older than the inference took, where only the newest counts."""


@dataclass(frozen=True)
class Result:
    """A frame with what is in it, or with what went wrong."""

    frame: Frame | None
    found: Detections | None = None
    error: BaseException | None = None

    def stale(self, period: float) -> bool:
        """Whether it has waited too long to be called the newest. ``period`` is that of the frames, in seconds."""
        times = self.found
        if times is None or times.captured is None or times.started is None or times.finished is None:
            return False
        return time.monotonic() - times.captured > times.finished - times.started + FRESH * period


class Exchange:
    """Where workers take the frames of a source and leave results, which the consumer takes in order.

    Where every frame counts, ``lead`` frames may be under way or waiting at most. Where only the newest counts there
    is one worker, and its result replaces one that nobody has taken.
    """

    def __init__(self, source: Source, lead: int) -> None:
        self.source = source
        self.dropped = 0
        """Results that were replaced, or too old when they were asked for."""
        self._lead = lead
        self._changed = threading.Condition()
        self._reading = threading.Lock()
        self._results: dict[int, Result] = {}
        self._pulled = self._taken = 0
        self._ended = self._closed = False

    def pull(self) -> tuple[int, Frame] | None:
        """The next frame with its number; None when there are no more."""
        with self._reading:  # numbers in the order of the frames
            with self._changed:
                self._changed.wait_for(self._wanted)
                if self._closed or self._ended:
                    return None
                number = self._pulled
            error: BaseException | None = None
            try:
                frame = next(self.source)
            except StopIteration:
                self._end()
                return None
            except BaseException as failure:  # the consumer raises it
                error = failure
            with self._changed:
                self._pulled += 1
        if error is None:
            return number, frame
        self._end()
        self.put(number, Result(None, error=error))
        return None

    def put(self, number: int, result: Result) -> None:
        """Leave the result of frame ``number``."""
        with self._changed:
            if self.source.latest and self._results:
                self.dropped += 1
                self._results.clear()
                self._taken = number
            if not self._closed:
                self._results[number] = result
            self._changed.notify_all()

    def take(self) -> Result | None:
        """The next result; None when there are no more."""
        with self._changed:
            if self.source.latest:
                waiting = self._results.get(self._taken)
                if waiting is not None and waiting.stale(1 / (self.source.fps or 30)):
                    self.dropped += 1
                    del self._results[self._taken]
                    self._taken += 1
            self._changed.wait_for(self._ready)
            result = self._results.pop(self._taken, None)
            self._taken += result is not None
            self._changed.notify_all()
            return result

    def close(self) -> None:
        """Nothing more is pulled or taken; the source is closed."""
        with self._changed:
            self._closed = True
            self._results.clear()
            self._changed.notify_all()
        self.source.close()

    def _wanted(self) -> bool:
        """Whether another frame should be pulled now. An error waits to be heard before the next frame."""
        if self._closed or self._ended:
            return True
        if self.source.latest:
            return all(result.error is None for result in self._results.values())
        return self._pulled - self._taken < self._lead

    def _ready(self) -> bool:
        return self._closed or self._taken in self._results or (self._ended and self._taken == self._pulled)

    def _end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()


class Stream(Closing):
    """Iterates over (frame (H, W, 3) uint8 BGR, Detections); made by :meth:`edge_yolov9.Detector.stream`.

    Threads of its own read and detect ahead. They end, and the source is closed, when the frames end, at ``close``, at
    the end of a ``with`` block, or when nothing refers to the stream any more. For one consuming thread.

    An error of one frame (InputError, InferenceError) is raised in its place, and iterating may go on behind it. An
    error of the source (SourceError) is the last thing to come.
    """

    def __init__(
        self, source: Source, lanes: Sequence[Lane], options: DecodeOptions, tracker: ByteTrack | None = None
    ) -> None:
        """Start a thread per lane. The stream owns ``source`` from now on."""
        self.source = source
        self.frames = 0
        """Results delivered."""
        self.frame: Frame | None = None
        """The frame that was delivered last, with its name, index and timestamp."""
        self._tracker = tracker
        self._exchange = Exchange(source, LEAD * len(lanes))
        threads = [
            threading.Thread(target=_work, args=(self._exchange, lane, options), name="detect", daemon=True)
            for lane in lanes
        ]
        self._finalizer = weakref.finalize(self, _stop, self._exchange, threads)
        for thread in threads:
            thread.start()

    @property
    def dropped(self) -> int:
        """Frames that were dropped because newer ones had arrived."""
        return self.source.dropped + self._exchange.dropped

    @property
    def reconnects(self) -> int:
        """How often a live source was lost and came back."""
        return self.source.reconnects

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> tuple[Image, Detections]:
        result = self._exchange.take()
        if result is None:
            self.close()
            raise StopIteration
        if result.error is not None:
            if result.frame is None:  # the source's own
                self.close()
            raise result.error
        assert result.frame is not None
        assert result.found is not None
        found = result.found
        if self._tracker is not None:
            steps = 1 if self.frame is None else result.frame.index - self.frame.index
            found = self._tracker.update(found, steps)
        self.frames += 1
        self.frame = result.frame
        return result.frame.image, found

    def close(self) -> None:
        """End the threads and close the source. Calling it twice does no harm."""
        self._finalizer()


def _work(exchange: Exchange, lane: Lane, options: DecodeOptions) -> None:
    """What each thread does. It must not know the stream, which could never be collected then."""
    while (pulled := exchange.pull()) is not None:
        number, frame = pulled
        exchange.put(number, _detected(exchange.source, lane, frame, options))


def _detected(source: Source, lane: Lane, frame: Frame, options: DecodeOptions) -> Result:
    arrived = time.monotonic()
    with lane.turn:
        frame = source.fresher(frame)
        started = time.monotonic()
        try:
            found = lane.detect(frame.image, options)
        except Exception as error:
            return Result(frame, error=error)
    captured = frame.timestamp if source.live else arrived
    return Result(frame, replace(found, captured=captured, started=started, finished=time.monotonic()))


def _stop(exchange: Exchange, threads: Sequence[threading.Thread]) -> None:
    exchange.close()
    for thread in threads:
        if thread.ident is not None and thread is not threading.current_thread():
            thread.join(timeout=5)
