"""Live streams, of which only the newest frame counts: age, errors, several on one model."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from edge_yolov9 import Detector
from edge_yolov9.errors import InferenceError
from edge_yolov9.lane import Turn
from edge_yolov9.video.latest import Latest
from edge_yolov9.video.source import Frame
from tests.streams import Opened, detectors, paced, value


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Detector]]:
    with detectors(monkeypatch) as make:
        yield make


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
    assert len(late) <= 2, late  # a hiccup of the machine is allowed


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


def test_turns_go_to_whoever_waits_longest() -> None:
    turn, order = Turn(), []

    def wait(name: int) -> None:
        with turn:
            order.append(name)

    threads = [threading.Thread(target=wait, args=(name,)) for name in range(3)]
    with turn:
        for queued, thread in enumerate(threads, 2):
            thread.start()
            while len(turn._waiting) < queued:
                time.sleep(0.001)
    with turn:  # whoever had it last comes last, however fast
        order.append(3)
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3]


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
