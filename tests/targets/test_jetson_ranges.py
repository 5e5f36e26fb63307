"""Activation ranges for the jetson target."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from edge_yolov9.targets.jetson import qdq, ranges
from numpy.typing import NDArray

from edge_yolov9.errors import CompileError
from tests.targets.jobs import frames, make_job


def test_a_histogram_grows_without_losing_counts() -> None:
    rng = np.random.default_rng(0)
    histogram = ranges.Histogram()
    parts = [rng.normal(0, scale, 1000).astype(np.float32) for scale in (0.01, 1, 30)]
    for part in parts:
        histogram.add(part)
    values = np.abs(np.concatenate(parts))
    assert histogram.counts.sum() == 3000
    assert histogram.largest == values.max()
    edges = np.linspace(0, histogram.top, ranges.BINS + 1)
    np.testing.assert_array_equal(histogram.counts, np.histogram(values, edges)[0])


def test_large_tensors_are_thinned_but_their_largest_value_counts() -> None:
    histogram = ranges.Histogram()
    values = np.full(1 << 20, 0.5, np.float32)
    values[12345] = -9
    histogram.add(values)
    assert histogram.largest == 9
    assert histogram.counts.sum() <= 2 * ranges.SAMPLES


def test_rules_treat_an_outlier_as_they_should() -> None:
    histogram = ranges.Histogram()
    values = np.random.default_rng(0).normal(0, 1, 16000).astype(np.float32)
    values[0] = 100
    histogram.add(values)
    found = {rule: s["t"] * 127 for rule, s in ranges.candidates({"t": histogram}, {"t": "t"}).items()}
    assert found["min-max"] == pytest.approx(100, rel=1e-3)
    assert found["percentile 99.99"] < 6
    assert 4 < found["mse"] < 100


def test_a_group_takes_the_largest_limit_of_its_members() -> None:
    small, large, dead = ranges.Histogram(), ranges.Histogram(), ranges.Histogram()
    small.add(np.linspace(-1, 1, 100, dtype=np.float32))
    large.add(np.linspace(-3, 3, 100, dtype=np.float32))
    dead.add(np.zeros(100, np.float32))
    group = {"a": "g", "b": "g", "c": "c"}
    for scales in ranges.candidates({"a": small, "b": large, "c": dead}, group).values():
        assert scales["g"] == pytest.approx(3 / 127, rel=0.02)
        assert scales["c"] == pytest.approx(qdq.SMALLEST_SCALE)


def test_steps_are_float16_numbers_that_never_clip() -> None:
    wanted = np.random.default_rng(0).uniform(1e-6, 0.2, 1000)
    steps = qdq.round_up(wanted)
    assert (steps >= wanted).all()
    np.testing.assert_array_equal(steps, steps.astype(np.float16))
    assert (steps <= wanted * 1.04 + 1e-6).all()


def test_a_model_that_gives_nan_is_not_calibrated() -> None:
    with pytest.raises(CompileError, match="NaN or infinity"):
        ranges.Histogram().add(np.array([1, np.nan], np.float32))


def test_measuring_holds_one_image_at_a_time(tmp_path: Path) -> None:
    model = onnx.load(make_job(tmp_path, "fp32").onnx)
    plan = qdq.plan(model)
    alive: list[Any] = []

    def stream() -> Iterator[NDArray[np.float32]]:
        for image in frames(5):
            copy = image[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 255
            alive.append(weakref.ref(copy))
            assert sum(reference() is not None for reference in alive) <= 2
            yield copy
            del copy

    found = ranges.measure(model, plan.measured, stream())
    assert set(found) == set(plan.measured)
    assert found["images"].largest <= 1
    assert {histogram.counts.nbytes for histogram in found.values()} == {ranges.BINS * 8}
