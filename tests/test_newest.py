"""Live streams, of which only the newest frame counts: age, errors, several on one model."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from itertools import count, islice
from queue import SimpleQueue

import numpy as np
import pytest

from edge_yolov9 import Detections, Detector
from edge_yolov9.decode import DecodeOptions
from edge_yolov9.errors import InferenceError
from edge_yolov9.images import Image
from edge_yolov9.lane import Lane, Postprocess, Turn
from edge_yolov9.system.closing import Closing
from edge_yolov9.video.exchange import Exchange, NewestOnly, Result
from edge_yolov9.video.latest import Latest
from edge_yolov9.video.source import Frame
from edge_yolov9.video.stream import Stream
from tests.streams import MANIFEST, Camera, Gate, Newest, Opened, Session, detectors, value


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Detector]]:
    with detectors(monkeypatch) as make:
        yield make


def frames(shade: Callable[[int], int] = lambda _: 7) -> Iterator[Frame]:
    for index in count():
        yield Frame(np.full((48, 64, 3), shade(index), np.uint8), "camera", index, float(index))


class Play(Closing):
    """A camera, a model and a consumer, each with a time of its own, on one clock that jumps to the next event."""

    FPS, SECONDS = 30, 0.1
    """Frames of the camera per second, and what the model takes for one."""

    def __init__(self, pause: float) -> None:
        """The consumer pauses for so many seconds after each result."""
        self.now, self.pause = 0.0, pause
        self.results: list[tuple[Image, Detections, float]] = []
        """What the consumer got, and when."""
        self.camera, self.gate = Camera(self.FPS), Gate()
        lane = Lane(Session(self.gate), Postprocess.of(MANIFEST))
        source = Opened(Latest(self.camera), "live")
        self.stream = Stream(source, [lane], DecodeOptions(0.3), clock=lambda: self.now)
        self._asking: SimpleQueue[bool] = SimpleQueue()
        self._taken: SimpleQueue[tuple[Image, Detections]] = SimpleQueue()
        self._consumer = threading.Thread(target=self._consume)
        self._consumer.start()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._given = 0
        self._unseen = self._busy = self._asks = False
        self._waits_since: float | None = None
        """When the frame arrived whose result nobody has taken yet."""
        self._after(0, self._frame)
        self._after(0, self._ask)

    def run(self, number: int) -> None:
        """Until the consumer has so many results."""
        while len(self.results) < number:
            self.now, _, event = heappop(self._events)
            event()
            if self._unseen and not self._busy:
                self.gate.await_begin()
                self._unseen, self._busy, self._running = False, True, self._arrived
                self._after(self.SECONDS, self._done)

    def close(self) -> None:
        self._asking.put(False)
        self.gate.end()
        self.stream.close()
        self._consumer.join()

    def _after(self, seconds: float, event: Callable[[], None]) -> None:
        heappush(self._events, (self.now + seconds, next(self._order), event))

    def _frame(self) -> None:
        self.camera.give(Frame(np.full((48, 64, 3), self._given, np.uint8), "camera", self._given, self.now))
        self._given, self._unseen, self._arrived = self._given + 1, True, self.now
        self._after(1 / self.FPS, self._frame)

    def _done(self) -> None:
        self.gate.end()
        self._busy, self._waits_since = False, self._running
        if self._asks:
            self._deliver()

    def _ask(self) -> None:
        self._asking.put(True)
        self._asks = True
        if self._waits_since is not None and self.now - self._waits_since <= self.SECONDS + 1.5 / self.FPS:
            self._deliver()

    def _deliver(self) -> None:
        image, detections = self._taken.get(timeout=10)
        self.results.append((image, detections, self.now))
        self._asks, self._waits_since = False, None
        self._after(self.pause, self._ask)

    def _consume(self) -> None:
        while self._asking.get(timeout=10):
            self._taken.put(next(self.stream))


@pytest.mark.parametrize("pause", [0.0, 0.03, 0.15])
def test_the_age_of_the_newest_is_bounded(pause: float) -> None:
    last = -1
    with Play(pause) as play:
        play.run(12)
    for image, detections, now in play.results:
        assert detections.times is not None
        age = now - detections.times.captured
        assert age - (detections.times.finished - detections.times.started) <= 1.5 / play.FPS + 1e-9
        assert value(detections) == int(image[0, 0, 0]) > last
        last = value(detections)
    assert play.stream.frames == 12
    assert play.stream.dropped >= last - play.stream.frames - 3  # the last few may still be under way
    assert play.stream.dropped > 12


def test_a_result_is_replaced_or_dropped_once_it_is_stale() -> None:
    now = 0.0
    results = NewestOnly(lambda: now)
    with Stream(Opened(Newest(frames())), [Lane(Session(), Postprocess.of(MANIFEST))], DecodeOptions(0.3)) as stream:
        _, detections = next(stream)
    assert detections.times is not None
    first, second = (Result(frame, detections) for frame, _ in zip(frames(), range(2), strict=False))
    took = detections.times.finished - detections.times.started
    results.put(0, first)
    results.put(1, second)
    now = detections.times.captured + took + 0.149
    results.discard_stale(0.1)
    assert (results.dropped, results.take(), results.take()) == (1, second, None)
    results.put(2, first)
    now += 0.002
    results.discard_stale(0.1)
    assert (results.dropped, results.take()) == (2, None)


def test_an_error_waits_to_be_heard_also_where_only_the_newest_counts(detector: Callable[..., Detector]) -> None:
    shades = frames(lambda index: 255 if 5 <= index < 10 else 7)
    source = Opened(Newest(islice(shades, 1000)), "live")
    with detector().stream(source) as stream:
        heard = 0
        while heard < 5:
            try:
                assert value(next(stream)[1]) == 7
            except InferenceError:
                heard += 1
        assert [value(next(stream)[1]) for _ in range(3)] == [7, 7, 7]


def test_no_frame_is_read_while_an_error_waits() -> None:
    source = Opened(Newest(frames()), "live")
    exchange = Exchange(source, NewestOnly())
    number, frame = exchange.pull() or pytest.fail("there is a frame")
    exchange.put(number, Result(frame, error=InferenceError("not numbers")))
    pulled: SimpleQueue[object] = SimpleQueue()
    worker = threading.Thread(target=lambda: pulled.put(exchange.pull()))
    worker.start()
    worker.join(0.05)
    assert source.read == 1
    result = exchange.take()
    assert result is not None
    assert isinstance(result.error, InferenceError)
    worker.join(10)
    assert source.read == 2
    exchange.close()


def test_turns_go_to_whoever_waits_longest() -> None:
    turn, order = Turn(), []

    def wait(name: int) -> None:
        with turn:
            order.append(name)

    threads = [threading.Thread(target=wait, args=(name,)) for name in range(3)]
    with turn:
        for queued, thread in enumerate(threads, 2):
            thread.start()
            while turn.waiting < queued:
                time.sleep(0.001)
    with turn:  # whoever had it last comes last, however fast
        order.append(3)
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3]


def test_several_streams_share_one_model_evenly(detector: Callable[..., Detector]) -> None:
    detect = detector(lambda: 0.005)
    streams = [detect.stream(Opened(Newest(frames()), "live")) for _ in range(4)]
    counts = [0] * 4

    def consume(index: int) -> None:
        for _ in streams[index]:
            counts[index] += 1
            if sum(counts) > 100:
                break

    threads = [threading.Thread(target=consume, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for stream in streams:
        stream.close()
    assert min(counts) > 0.6 * max(counts)
