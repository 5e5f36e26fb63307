"""Detector.stream and batch with a session that stands in for a runtime: order, bounds, age, errors, endings."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_yolov9 import Detections, Detector
from edge_yolov9.bundle import Bundle, InputRule, Manifest, TensorSpec
from edge_yolov9.errors import InferenceError, InputError, SourceError
from edge_yolov9.lane import Turn
from edge_yolov9.latest import Latest
from edge_yolov9.sources import Frame, Source
from edge_yolov9.stream import LEAD, Stream

SIZE = 64
OUTPUTS = tuple(
    TensorSpec(f"{kind}_p{level}", (1, channels, SIZE >> level, SIZE >> level), "float32", "NCHW")
    for level in (3, 4, 5)
    for kind, channels in (("box", 64), ("class", 2))
)
INPUT = InputRule(TensorSpec("images", (1, 3, SIZE, SIZE), "float32", "NCHW"), SIZE, SIZE)
MANIFEST = Manifest("gelan-t", ("thing", "other"), "onnx", "cpu", "fp32", INPUT, OUTPUTS, "model.onnx")


class Session:
    """Sees one object, whose score tells the brightness of the frame; 255 is answered with NaN."""

    def __init__(self, seconds: Callable[[], float] = lambda: 0.0) -> None:
        self.seconds = seconds
        self.busy = self.closed = False

    def infer(self, image: np.ndarray) -> list[np.ndarray]:
        assert not self.busy, "two threads in one session"
        assert not self.closed
        self.busy = True
        time.sleep(self.seconds())
        raw = [np.full((spec.shape[1], spec.shape[2] * spec.shape[3]), -9.0, np.float32) for spec in OUTPUTS]
        value = int(image[SIZE // 2, SIZE // 2, 0])
        raw[1][0, 9] = np.nan if value == 255 else value / 50
        self.busy = False
        return raw

    def close(self) -> None:
        assert not self.busy
        self.closed = True


def value(found: Detections) -> int:
    """The brightness that :class:`Session` saw."""
    (score,) = found.confidence.astype(np.float64)
    return round(50 * float(np.log(score / (1 - score))))


def frames(number: int, start: int = 0) -> Iterator[Frame]:
    for index in range(number):
        yield Frame(np.full((48, 64, 3), start + index, np.uint8), "f", index, index / 10)


class Opened(Source):
    """A source that knows how many frames were read and whether it was closed."""

    def __init__(self, items: Iterator[Any], kind: str = "video", **more: Any) -> None:
        self.read, self.closed = 0, threading.Event()
        super().__init__("test", kind, items, close=self.closed.set, **more)

    def __next__(self) -> Frame:
        frame = super().__next__()
        self.read += 1
        return frame


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Detector]]:
    """``detector(seconds, lanes, **options)`` with sessions that take ``seconds()`` per frame."""
    made: list[Detector] = []

    def make(seconds: Callable[[], float] = lambda: 0.0, lanes: int = 3, **options: Any) -> Detector:
        monkeypatch.setattr("edge_yolov9.detector.cores", lambda: lanes)
        monkeypatch.setattr("edge_yolov9.detector.open_session", lambda *_: Session(seconds))
        sessions = "edge_yolov9.detector.open_sessions"
        monkeypatch.setattr(sessions, lambda bundle, runtime, threads, count: [Session(seconds) for _ in range(count)])
        made.append(Detector(Bundle(Path("nowhere"), MANIFEST), confidence=0.3, **options))
        return made[-1]

    before = threading.active_count()
    yield make
    for detect in made:
        detect.close()
    assert threading.active_count() == before


def test_every_frame_in_order_while_workers_finish_in_any(detector: Callable[..., Detector]) -> None:
    random = np.random.default_rng(0)
    source = Opened(frames(60), fps=10)
    busy: set[str] = set()

    def seconds() -> float:
        busy.add(str(threading.get_ident()))
        return float(random.random()) / 100

    before, last = time.monotonic(), 0.0
    stream = detector(seconds).stream(source)
    for index, (frame, found) in enumerate(stream):
        assert int(frame[0, 0, 0]) == value(found) == index
        assert stream.frame is not None
        assert (stream.frame.index, stream.frame.timestamp) == (index, index / 10)
        assert before < found.captured <= found.started < found.finished <= time.monotonic()  # type: ignore[operator]
        assert found.captured > last
        last = found.captured
    assert len(busy) == 3
    assert (index, stream.frames, stream.dropped, stream.reconnects) == (59, 60, 0, 0)
    assert source.closed.is_set()
    assert next(stream, None) is None


def test_results_wait_in_bounded_number(detector: Callable[..., Detector]) -> None:
    source = Opened(frames(100))
    with detector(lanes=2).stream(source) as stream:
        for taken in range(1, 4):
            next(stream)
            time.sleep(0.05)
            assert source.read == taken + 2 * LEAD
    assert source.closed.is_set()


def fail_in(stream: Stream) -> None:
    for _ in stream:
        1 / 0  # noqa: B018


@pytest.mark.parametrize("latest", [False, True])
@pytest.mark.parametrize("how", ["break", "error", "with", "close", "drop", "detector"])
def test_leaving_ends_threads_and_closes_the_source(detector: Callable[..., Detector], how: str, latest: bool) -> None:
    before = threading.active_count()
    newest = Latest(paced(1000)) if latest else None
    source = Opened(frames(200), "video") if newest is None else Opened(newest, "live", stop=newest.close)
    detect = detector()
    if how == "break":
        for _ in detect.stream(source):
            break
    elif how == "error":
        with pytest.raises(ZeroDivisionError):
            fail_in(detect.stream(source))
        gc.collect()
    elif how == "with":
        with detect.stream(source) as stream:
            next(stream)
    elif how == "close":
        stream = detect.stream(source)
        stream.close()
        stream.close()
        assert next(stream, None) is None
    elif how == "drop":
        detect.stream(source)
    else:
        stream = detect.stream(source)
        detect.close()
        assert next(stream, None) is None
        with pytest.raises(InferenceError, match="closed"):
            detect.stream(Opened(frames(1)))
    assert source.closed.wait(2)
    assert threading.active_count() == before


def test_an_error_of_one_frame_stands_in_its_place(detector: Callable[..., Detector]) -> None:
    items = [Frame(np.full((8, 8, 3), shade, np.uint8), "f", i, 0.0) for i, shade in enumerate((1, 255, 3, 4, 5))]
    items[3] = Frame(np.zeros((8, 8, 2), np.uint8), "f", 3, 0.0)
    stream = detector().stream(Opened(iter(items)))
    assert value(next(stream)[1]) == 1
    with pytest.raises(InferenceError, match="not numbers"):
        next(stream)
    assert value(next(stream)[1]) == 3
    with pytest.raises(InputError, match=r"\(8, 8, 2\)"):
        next(stream)
    assert [value(found) for _, found in stream] == [5]
    assert stream.frames == 3


def test_an_error_of_the_source_is_the_last(detector: Callable[..., Detector]) -> None:
    def broken() -> Iterator[Frame]:
        yield from frames(4)
        raise SourceError("cable pulled")

    stream = detector().stream(Opened(broken()))
    assert [value(next(stream)[1]) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(SourceError, match="cable pulled"):
        next(stream)
    assert list(stream) == []


def paced(fps: float) -> Iterator[Frame]:
    """A camera: frame n arrives n periods after the first."""
    first = time.monotonic()
    for index in count():
        time.sleep(max(0.0, first + index / fps - time.monotonic()))
        yield Frame(np.full((48, 64, 3), index % 250, np.uint8), "camera", index, time.monotonic())


@pytest.mark.parametrize("consumer", [0.0, 0.03, 0.15])
def test_the_age_of_the_newest_is_bounded(detector: Callable[..., Detector], consumer: float) -> None:
    fps, seconds = 30, 0.1
    newest = Latest(paced(fps))
    source = Opened(newest, "live", fps=fps, stop=newest.close)
    ages, last = [], -1
    with detector(lambda: seconds).stream(source) as stream:
        for frame, found in stream:
            age = time.monotonic() - found.captured  # type: ignore[operator]
            ages.append(age - (found.finished - found.started))  # type: ignore[operator]
            assert stream.frame is not None
            assert value(found) == int(frame[0, 0, 0]) == stream.frame.index > last
            last = stream.frame.index
            if stream.frames == 12:
                break
            time.sleep(consumer)
        assert stream.dropped >= last - stream.frames - 3  # the last few may still be under way
    assert stream.dropped > 12
    late = [round(age, 3) for age in ages if age > 1.5 / fps]
    assert len(late) <= 1, late  # one hiccup of the machine is allowed


def test_an_error_waits_to_be_heard_also_where_only_the_newest_counts(detector: Callable[..., Detector]) -> None:
    def shades() -> Iterator[Frame]:
        for frame in paced(100):
            yield Frame(np.full((8, 8, 3), 255 if 5 <= frame.index < 10 else 7, np.uint8), "f", frame.index, 0.0)

    newest = Latest(shades())
    with detector().stream(Opened(newest, "live", stop=newest.close)) as stream:
        time.sleep(0.3)
        with pytest.raises(InferenceError, match="not numbers"):
            next(stream)
        assert [value(next(stream)[1]) for _ in range(3)] == [7, 7, 7]


def test_batch_gives_what_single_calls_give(detector: Callable[..., Detector]) -> None:
    detect = detector(lambda: 0.001)
    pictures = [frame.image for frame in frames(30)]
    assert [value(found) for found in detect.batch(pictures)] == [value(detect(one)) for one in pictures]
    assert detect.batch([]) == []
    assert value(detect.batch(pictures[7:8])[0]) == 7
    with pytest.raises(InputError, match="a frame must be"):
        detect.batch([*pictures, np.zeros((2, 2), np.float32)])  # type: ignore[list-item]
    detect.close()
    with pytest.raises(InferenceError, match="closed"):
        detect.batch(pictures)


def test_track_ids_stay_over_dropped_frames(detector: Callable[..., Detector]) -> None:
    kept = [frame for frame in frames(40, start=60) if frame.index % 7]
    ids = {
        int(number)
        for _, found in detector().stream(Opened(iter(kept), fps=10), track=True)
        for number in found.track_id
    }  # type: ignore[union-attr]
    assert ids == {1}


def test_tracking_continues_with_weak_boxes_and_starts_with_strong_ones(detector: Callable[..., Detector]) -> None:
    """Scores: sigmoid(v / 50); a bound of 0.6 lies at 20."""
    shades = [10, 60, 60, 10, 60]
    items = (Frame(np.full((8, 8, 3), shade, np.uint8), "f", i, 0.0) for i, shade in enumerate(shades))
    stream = detector().stream(Opened(items), track=True)
    assert [len(found) for _, found in stream] == [1, 1, 1, 1, 1]
    items = (Frame(np.full((8, 8, 3), shade, np.uint8), "f", i, 0.0) for i, shade in enumerate(shades))
    detect = detector()
    detect.options = type(detect.options)(confidence=0.6)
    assert [len(found) for _, found in detect.stream(Opened(items), track=True)] == [0, 0, 1, 1, 1]


def test_turns_go_to_whoever_waits_longest() -> None:
    turn, order = Turn(), []

    def greedy(name: int) -> None:
        for _ in range(20):
            with turn:
                order.append(name)
                time.sleep(0.001)

    threads = [threading.Thread(target=greedy, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    middle = order[6:-6]
    assert all(sorted(middle[i : i + 3]) == [0, 1, 2] for i in range(0, len(middle) - 3, 3))


def test_several_streams_share_one_model_evenly(detector: Callable[..., Detector]) -> None:
    detect = detector(lambda: 0.005)
    newest = [Latest(paced(1000)) for _ in range(4)]
    streams = [detect.stream(Opened(one, "live", fps=1000, stop=one.close)) for one in newest]
    counts = [0] * 4
    end = time.monotonic() + 1

    def consume(index: int) -> None:
        for _ in streams[index]:
            counts[index] += 1
            if time.monotonic() > end:
                break

    threads = [threading.Thread(target=consume, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for stream in streams:
        stream.close()
    assert sum(counts) > 60
    assert min(counts) > 0.6 * max(counts)


def test_frames_of_one_pixel_and_of_8k(detector: Callable[..., Detector]) -> None:
    shapes = ((1, 1, 3), (4320, 7680, 3), (1, 5000, 3), (4320, 7680))
    items = (Frame(np.full(shape, 90, np.uint8), "f", i, 0.0) for i, shape in enumerate(shapes))
    for shape, (frame, found) in zip(shapes, detector().stream(Opened(items)), strict=True):
        assert frame.shape == shape
        assert (found.xyxy <= np.array([*shape[1::-1]] * 2)).all()
