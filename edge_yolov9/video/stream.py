"""Detections of a stream: capture, letterbox, inference and decoding overlap, results come in order and bounded."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace

from edge_yolov9.decode import DecodeOptions
from edge_yolov9.detections import Detections, Times
from edge_yolov9.images import Image
from edge_yolov9.lane import Lane
from edge_yolov9.system.closing import Closing
from edge_yolov9.video.exchange import Exchange, InOrder, NewestOnly, Result
from edge_yolov9.video.frames import Frame
from edge_yolov9.video.source import Source
from edge_yolov9.video.tracking import ByteTrack

LEAD = 2
"""Results per worker that may wait for the consumer, where every frame counts."""


class Stream(Closing):
    """Iterates over (frame (H, W, 3) uint8 BGR, Detections); made by :meth:`edge_yolov9.Detector.stream`.

    Threads of its own read and detect ahead. They end, and the source is closed, when the frames end, at ``close``, at
    the end of a ``with`` block, or when nothing refers to the stream any more. For one consuming thread.

    An error of one frame (InputError, InferenceError) is raised in its place, and iterating may go on behind it. An
    error of the source (SourceError) is the last thing to come.
    """

    def __init__(
        self,
        source: Source,
        lanes: Sequence[Lane],
        options: DecodeOptions,
        tracker: ByteTrack | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start a thread per lane; of a source that gives the newest frames only, one lane. The stream owns ``source``.

        ``clock`` gives the times of the results, in seconds.
        """
        self.source = source
        self.frames = 0
        """Results delivered."""
        self.frame: Frame | None = None
        """The frame that was delivered last, with its name, index and timestamp."""
        self._tracker = tracker
        newest = source.latest
        self._exchange = Exchange(source, NewestOnly(clock) if newest else InOrder(LEAD * len(lanes)))
        threads = [
            threading.Thread(target=_work, args=(self._exchange, lane, options, clock), name="detect", daemon=True)
            for lane in (lanes[:1] if newest else lanes)
        ]
        self._finalizer = weakref.finalize(self, _stop, self._exchange, threads)
        for thread in threads:
            thread.start()

    @property
    def dropped(self) -> int:
        """Frames that were dropped because newer ones had arrived."""
        return self._exchange.dropped

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
        frame, detections = result.frame, result.detections
        assert frame is not None
        assert detections is not None
        if self._tracker is not None:
            steps = 1 if self.frame is None else max(1, frame.index - self.frame.index)
            detections = self._tracker.update(detections, steps, seconds=frame.timestamp)
        self.frames += 1
        self.frame = frame
        return frame.image, detections

    def close(self) -> None:
        """End the threads and close the source. Calling it twice does no harm."""
        self._finalizer()


def _work(exchange: Exchange, lane: Lane, options: DecodeOptions, clock: Callable[[], float]) -> None:
    """What each thread does. It must not know the stream, which could never be collected then."""
    while (pulled := exchange.pull()) is not None:
        number, frame = pulled
        exchange.put(number, _detected(exchange.source, lane, frame, options, clock))


def _detected(source: Source, lane: Lane, frame: Frame, options: DecodeOptions, clock: Callable[[], float]) -> Result:
    arrived = clock()
    with lane.turn:
        frame = source.fresher(frame)
        started = clock()
        try:
            detections = lane.detect(frame.image, options)
        except Exception as error:
            return Result(frame, error=error)
    times = Times(frame.timestamp if source.live else arrived, started, clock())
    return Result(frame, replace(detections, times=times))


def _stop(exchange: Exchange, threads: Sequence[threading.Thread]) -> None:
    exchange.close()
    for thread in threads:
        if thread.ident is not None and thread is not threading.current_thread():
            thread.join(timeout=exchange.source.patience)
