"""Detector.stream and batch with a session that stands in for a runtime: order, bounds, errors, endings."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_yolov9 import Detector
from edge_yolov9.errors import InferenceError, InputError, SourceError
from edge_yolov9.video.latest import Latest
from edge_yolov9.video.source import Frame
from edge_yolov9.video.stream import LEAD, Stream
from edge_yolov9.video.tracking import ByteTrack
from tests.streams import Newest, Opened, detector_of, detectors, frames, value


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Detector]]:
    with detectors(monkeypatch) as make:
        yield make


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
        times = found.times
        assert times is not None
        assert before < times.captured <= times.started < times.finished <= time.monotonic()
        assert (times.captured, times.started, times.finished) == (found.captured, found.started, found.finished)
        assert times.captured > last
        last = times.captured
    assert len(busy) == 3
    assert (index, stream.frames, stream.dropped, stream.reconnects) == (59, 60, 0, 0)
    assert source.closed.is_set()
    assert next(stream, None) is None


def test_results_wait_in_bounded_number(detector: Callable[..., Detector]) -> None:
    source = Opened(frames(100))
    with detector(lanes=2).stream(source) as stream:
        for taken in range(1, 4):
            next(stream)
            source.wait_read(taken + 2 * LEAD)
            time.sleep(0.02)
            assert source.read == taken + 2 * LEAD
    assert source.closed.is_set()


def fail_in(stream: Stream) -> None:
    for _ in stream:
        1 / 0  # noqa: B018


@pytest.mark.parametrize("latest", [False, True])
@pytest.mark.parametrize("how", ["break", "error", "with", "close", "drop", "detector"])
def test_leaving_ends_threads_and_closes_the_source(detector: Callable[..., Detector], how: str, latest: bool) -> None:
    before = threading.active_count()
    source = Opened(Latest(Newest(frames(200))), "live") if latest else Opened(frames(200), "video")
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
        late = Opened(Latest(Newest(frames(1))), "live") if latest else Opened(frames(1))
        with pytest.raises(InferenceError, match="closed"):
            detect.stream(late)
        assert late.closed.is_set()
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


def test_batch_gives_what_single_calls_give(monkeypatch: pytest.MonkeyPatch) -> None:
    detect, sessions = detector_of(monkeypatch, lambda: 0.001)
    pictures = [frame.image for frame in frames(30)]
    assert value(detect.batch(pictures[7:8])[0]) == 7
    assert len(sessions) == 1  # one picture needs no second model
    assert [value(found) for found in detect.batch(pictures)] == [value(detect(one)) for one in pictures]
    assert len(sessions) == 4
    assert detect.batch([]) == []
    with pytest.raises(InputError, match="a frame must be"):
        detect.batch([*pictures, np.zeros((2, 2), np.float32)])  # type: ignore[list-item]
    with pytest.raises(InputError, match="a batch is a list of frames"):
        detect.batch(pictures[0])  # type: ignore[arg-type]
    detect.close()
    with pytest.raises(InferenceError, match="closed"):
        detect.batch(pictures)


def test_a_batch_that_is_closed_meanwhile_is_no_shorter_list(detector: Callable[..., Detector]) -> None:
    begun = threading.Event()

    def seconds() -> float:
        begun.set()
        return 0.001

    detect = detector(seconds)
    closing = threading.Thread(target=lambda: begun.wait(10) and detect.close())
    closing.start()
    with pytest.raises(InferenceError, match="closed after"):
        detect.batch([next(frames(1)).image] * 2000)
    closing.join()


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
    ids = [found.track_id.tolist() for _, found in detect.stream(Opened(items), track=True)]  # type: ignore[union-attr]
    assert ids == [[], [0], [1], [], [1]], "a weak box starts nothing and is no result, but continues a track"


def test_what_is_tracked_is_what_is_found(detector: Callable[..., Detector]) -> None:
    random = np.random.default_rng(0)
    images = [np.full((8, 8, 3), shade, np.uint8) for shade in random.integers(0, 250, 60)]
    with detector() as detect:
        detect.options = replace(detect.options, confidence=0.6)
        plain = [found.confidence.tolist() for found in detect.batch(images)]
        items = (Frame(image, "f", i, i / 10) for i, image in enumerate(images))
        assert [found.confidence.tolist() for _, found in detect.stream(Opened(items), track=True)] == plain
    assert 0 < sum(map(len, plain)) < 60


def test_pictures_of_a_folder_are_tracked_only_at_a_rate(detector: Callable[..., Detector], tmp_path: Path) -> None:
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((8, 8, 3), 60, np.uint8))
    with detector() as detect:
        with pytest.raises(InputError, match="taken in a row"):
            detect.stream(tmp_path, track=True)
        with detect.stream(tmp_path, track=True, fps=2) as stream:
            assert [(stream.frame.timestamp, found.track_id.tolist()) for _, found in stream] == [  # type: ignore[union-attr]
                (0.0, [1]),
                (0.5, [1]),
                (1.0, [1]),
            ]
        own = ByteTrack(2, confidence=0.3)
        with detect.stream(tmp_path, track=own, fps=2) as stream:
            assert len(list(stream)) == 3


def test_frames_of_one_pixel_and_of_8k(detector: Callable[..., Detector]) -> None:
    shapes = ((1, 1, 3), (4320, 7680, 3), (1, 5000, 3), (4320, 7680))
    items = (Frame(np.full(shape, 90, np.uint8), "f", i, 0.0) for i, shape in enumerate(shapes))
    for shape, (frame, found) in zip(shapes, detector().stream(Opened(items)), strict=True):
        assert frame.shape == shape
        assert (found.xyxy <= np.array([*shape[1::-1]] * 2)).all()
