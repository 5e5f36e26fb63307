"""Latency by stage, on a clock of the test's own where exact figures are wanted."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_yolov9 import Detector, registry
from edge_yolov9 import bundle as bundles
from edge_yolov9.bench import stages, throttling
from edge_yolov9.bench.frames import Frames, Pipeline, describe, pictures
from edge_yolov9.bench.spread import Few, Histogram, few, rounded, summary
from edge_yolov9.errors import InferenceError, SourceError
from edge_yolov9.geometry import letterbox
from tests.bench_unit.tiny import SIZE


class Clock:
    """Seconds that pass only when told; stands in for the module ``time``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        fake = SimpleNamespace(perf_counter=lambda: self.now, monotonic=lambda: self.now)
        monkeypatch.setattr(stages, "time", fake)


class Slow(registry.Session):
    """A session whose inference takes as long as the test says, ms; it may letterbox frames of one size by itself."""

    def __init__(
        self, inner: registry.Session, clock: Clock, infer_ms: float, bare_ms: float, takes: tuple[int, int] | None
    ) -> None:
        self._inner, self._clock, self._takes = inner, clock, takes
        self.infer_ms, self.bare_ms = infer_ms, bare_ms
        self.calls: list[str] = []

    def _spend(self, name: str, ms: float) -> None:
        self.calls.append(name)
        self._clock.now += ms / 1000

    @property
    def frame_size(self) -> tuple[int, int] | None:
        return self._takes

    def infer(self, image: NDArray[np.uint8]) -> list[NDArray[Any]]:
        self._spend("infer", self.infer_ms)
        return self._inner.infer(image)

    def infer_frame(self, frame: NDArray[np.uint8]) -> list[NDArray[Any]]:
        self._spend("infer_frame", self.infer_ms)
        return self._inner.infer(letterbox(frame, (SIZE, SIZE))[0])

    def bare(self) -> None:
        self._spend("bare", self.bare_ms)

    def close(self) -> None:
        self._inner.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def pipeline(
    tiny: Path, clock: Clock, infer_ms: float, bare_ms: float = 1, takes: tuple[int, int] | None = None
) -> tuple[Pipeline, Slow]:
    bundle = bundles.read(tiny)
    session = Slow(registry.open_session(bundle), clock, infer_ms, bare_ms, takes)
    return Pipeline(bundle, session), session


def test_transfer_is_what_our_session_adds_to_the_bare_call(tiny: Path, clock: Clock) -> None:
    timed, session = pipeline(tiny, clock, 5, 4)
    found = stages.by_stage(timed, pictures([]), 20)
    assert session.calls[:4] == ["infer", "bare", "bare", "infer"]  # in turn: neither always has the warm caches
    part = found.stages
    assert part.inference.p50 == pytest.approx(4)
    assert part.transfer.p50 == pytest.approx(1)
    assert part.total.p50 == pytest.approx(5)
    assert part.capture.max == part.letterbox.max == part.decode_nms.max == 0
    assert found.bare.p50 == pytest.approx(4)
    assert found.overhead.p50 == pytest.approx(1)
    assert found.overhead_percent == pytest.approx(25)
    assert found.objects_per_frame == 1


def test_a_slow_device_is_not_kept_for_hours(tiny: Path, clock: Clock) -> None:
    timed, _ = pipeline(tiny, clock, 2000, 2000)
    found = stages.by_stage(timed, pictures([]), 300, limit_s=100)
    assert found.stages.total.n == 25
    assert found.stages.total.max == pytest.approx(2000)
    assert stages.by_stage(timed, pictures([]), 300, limit_s=1).bare.n == stages.LEAST_FRAMES


@pytest.mark.parametrize(("takes", "way"), [((720, 1280), "infer_frame"), ((480, 640), "infer"), (None, "infer")])
def test_every_figure_is_of_the_way_that_a_detector_takes(
    tiny: Path, clock: Clock, takes: tuple[int, int] | None, way: str
) -> None:
    """Frames of the made-up picture, 1280 x 720, are letterboxed by the session where it takes that size."""
    timed, session = pipeline(tiny, clock, 5, takes=takes)
    stages.warm_up(timed, pictures([]))
    found = stages.by_stage(timed, pictures([]), 5)
    stages.sustained(timed, pictures([]), 0.05)
    assert set(session.calls) == {way, "bare"}
    assert found.objects_per_frame == 1


def test_the_timed_pipeline_finds_what_the_detector_finds(tiny: Path) -> None:
    bundle = bundles.read(tiny)
    frame = np.zeros((72, 128, 3), np.uint8)
    ours = Pipeline(bundle, registry.open_session(bundle))(frame)
    with Detector(bundle) as detect:
        theirs = detect(frame)
    assert len(ours.xyxy) == 1
    np.testing.assert_array_equal(ours.xyxy, theirs.xyxy)
    np.testing.assert_array_equal(ours.class_id, theirs.class_id)


def test_a_sustained_run_that_slows_down_is_seen(tiny: Path, clock: Clock) -> None:
    timed, session = pipeline(tiny, clock, 100)
    infer = session.infer

    def warming(image: NDArray[np.uint8]) -> list[NDArray[Any]]:
        session.infer_ms = 100 if clock.now < 20 else 120
        return infer(image)

    session.infer = warming  # type: ignore[method-assign]
    found = stages.sustained(timed, pictures([]), 30).sustained
    assert found.seconds == pytest.approx(30, abs=0.2)
    assert found.frames == sum(found.timeline.n) == pytest.approx(200 + 10 / 0.12, abs=2)
    assert found.fps.range == (pytest.approx(1 / 0.12, rel=0.02), pytest.approx(10, rel=0.02))
    assert found.timeline.t[-1] == pytest.approx(29.7, abs=0.3)
    verdict = throttling.judge_throttling([], found.timeline.p50, found.seconds)
    assert verdict.verdict == "slower"
    assert verdict.drift_percent == pytest.approx(20, abs=0.5)


def test_a_sustained_run_has_one_frame_at_least(tiny: Path, clock: Clock) -> None:
    found = stages.sustained(pipeline(tiny, clock, 700)[0], pictures([]), 0.1).sustained
    assert found.frames == 1
    assert found.fps.median == pytest.approx(1 / 0.7, abs=1e-3)


def test_warm_up_stays_apart(tiny: Path, clock: Clock) -> None:
    assert stages.warm_up(pipeline(tiny, clock, 3)[0], pictures([])) == [pytest.approx(3)] * stages.WARM_UP


class Napping(registry.Session):
    """Takes a while, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    def infer(self, image: NDArray[np.uint8]) -> list[NDArray[Any]]:
        stages.time.sleep(0.02)
        if self._error is not None:
            raise self._error
        return []

    def bare(self) -> None: ...

    def close(self) -> None: ...


def pipelines(tiny: Path, count: int, error: Exception | None = None) -> list[Pipeline]:
    return [Pipeline(bundles.read(tiny), Napping(error)) for _ in range(count)]


def test_throughput_adds_up_sessions(tiny: Path) -> None:
    frame = np.zeros((8, 8, 3), np.uint8)
    one = stages.throughput(pipelines(tiny, 1), frame, 0.5)
    four = stages.throughput(pipelines(tiny, 4), frame, 0.5)
    assert four.sessions == 4
    assert one.fps.median <= 50
    assert 2 < four.fps.median / one.fps.median <= 6


def test_a_session_that_fails_in_its_thread_fails_the_measurement(tiny: Path) -> None:
    with pytest.raises(InferenceError, match="no power"):
        stages.throughput(pipelines(tiny, 2, InferenceError("no power")), np.zeros((8, 8, 3), np.uint8), 0.1)


def test_pictures_are_read_once_and_checked(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.jpg"
    cv2.imwrite(str(good), np.zeros((4, 6, 3), np.uint8))
    bad.write_bytes(b"not an image")
    assert len(pictures([good, good])) == 2
    for file, reason in ((bad, "does not decode"), (tmp_path / "none.jpg", "cannot read image")):
        with pytest.raises(SourceError, match=reason):
            pictures([file])
    made_up = cv2.imdecode(pictures([])[0], cv2.IMREAD_COLOR)
    assert made_up is not None
    assert made_up.shape == (720, 1280, 3)
    assert describe(pictures([good, good])) == Frames(2, ((6, 4),))


def test_summary_of_known_values() -> None:
    found = summary([*range(1, 100), 1000])
    assert (found.n, found.p50, found.max, found.iqr) == (100, 50.5, 1000, (25.75, 75.25))
    assert found.p99 == pytest.approx(np.percentile([*range(1, 100), 1000], 99), abs=1e-3)
    assert found.rounds == (10.5, 90.5)  # medians of five runs of neighbours
    assert sum(found.histogram.counts) == 100
    assert len(found.histogram.edges) == len(found.histogram.counts) + 1
    assert found.histogram.edges[-1] == 1000
    assert found.histogram.counts[-1] >= 1


def test_summary_of_one_and_of_equal_values() -> None:
    assert summary([3.0]).histogram == Histogram((3.0, 3.0), (1,))
    assert summary([3.0] * 7).histogram.counts == (7,)
    assert few([2.0, 1.0, 4.0]) == Few(3, 2.0, (1.0, 4.0))
    assert (rounded(1234.56789), rounded(0.00123456)) == (1234.568, 0.001235)
