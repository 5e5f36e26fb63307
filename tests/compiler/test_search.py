"""The search for an artifact within the budget: what is tried, in which order, and what is said when nothing helps."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from edge_yolov9.bundle import read
from edge_yolov9.bundle.record import AttemptRecord, LatencyRecord, SensitivityRecord
from edge_yolov9.checkpoint import save
from edge_yolov9.cli import main
from edge_yolov9.compiler.gate import Gate
from edge_yolov9.compiler.search import Search
from edge_yolov9.data import ImageRecord, Split
from edge_yolov9.data.labels import make_objects
from edge_yolov9.errors import AccuracyError, ParityError
from edge_yolov9.model.session import TorchSession
from tests.compiler.fragile import fragile
from tests.conftest import DATA

GROUPS = [f"g{index}" for index in range(12)]


@dataclass(frozen=True)
class FakePlan:
    """A plan of twenty convolutions; each group in float is one of them."""

    rule: str
    floating: frozenset[str] = frozenset()
    fine_tuned: bool = False

    @property
    def graph(self) -> Any:
        return SimpleNamespace(convolutions=range(20))

    @property
    def title(self) -> str:
        return f"{self.rule}, fine-tuned" if self.fine_tuned else self.rule

    def float_layers(self) -> list[str]:
        return sorted(self.floating)


@dataclass(frozen=True)
class FakeStudy:
    """``hurts[group]`` points are lost while a group is INT8, ``base[rule]`` in any case; fine-tuning wins ``gain``."""

    hurts: dict[str, float]
    base: dict[str, float]
    errors: dict[str, float]
    gain: float = 0.0

    def best(self) -> FakePlan:
        return FakePlan("mse")

    def plan(self, rule: str) -> FakePlan:
        return FakePlan(rule)

    def keep_float(self, plan: FakePlan, groups: list[str]) -> FakePlan:
        return replace(plan, floating=plan.floating | frozenset(groups))

    def sensitivity(self, plan: FakePlan) -> dict[str, float]:
        """Signal to noise does not know what matters: the group that hurts most comes third."""
        order = sorted(GROUPS, key=lambda group: (group != "g7", group != "g9", -self.hurts.get(group, 0.0)))
        return {group: 10.0 + place for place, group in enumerate(order)}


class FakeCompilation:
    """Artifacts are plans; those that lose more than ``broken`` points compute something else."""

    runtime, target = None, "onnx"

    def __init__(self, study: FakeStudy | None, max_drop: float, broken: float = float("inf"), steps: int = 0) -> None:
        before = SimpleNamespace(ap=0.6)
        self.gate = SimpleNamespace(
            max_drop=max_drop, before=before, file=Path("bccd.yaml"), drop=lambda points: points
        )
        self.study, self.broken, self.fine_tuning = study, broken, steps
        self.lines: list[str] = []
        self.report = self.lines.append

    def stage(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()

    def emit(self, plan: FakePlan | None) -> Any:
        return SimpleNamespace(plan=plan, manifest=SimpleNamespace(precision="int8" if plan else "fp16"))

    def vouch(self, draft: Any) -> Any:
        if self.score(draft) > self.broken:
            raise ParityError("box_p3 is noise; no bundle was written")
        return draft

    def score(self, draft: Any) -> float:
        if draft.plan is None or self.study is None:
            return 0.3
        hurts = sum(points for group, points in self.study.hurts.items() if group not in draft.plan.floating)
        return self.study.base[draft.plan.rule] + hurts - self.study.gain * draft.plan.fine_tuned

    def drop_alone(self, study: FakeStudy, plan: FakePlan, group: str) -> float:
        return study.hurts.get(group, 0.0)

    def tune(self, study: FakeStudy, plan: FakePlan) -> FakePlan:
        return replace(plan, fine_tuned=True)

    def latency(self, *drafts: Any) -> list[float]:
        return [10.0, 10.7]


def searching(study: FakeStudy | None, max_drop: float, **more: Any) -> tuple[Search, list[str]]:
    """A search over artifacts that are made up, and the lines that it prints."""
    compilation: Any = FakeCompilation(study, max_drop, **more)
    return Search(compilation), compilation.lines


ONE = {"mse": 0.02}


def tried(search: Search) -> list[tuple[str, int | None]]:
    """Name and float layers of every attempt."""
    return [(attempt.ranges, attempt.float_layers) for attempt in search.record().attempts]


def test_the_first_that_is_good_is_taken() -> None:
    study = FakeStudy({}, {"mse": 0.1, "min-max": 0.0}, {"mse": 0.02, "min-max": 0.021})
    search, lines = searching(study, 0.5)
    best, scored = search.run()
    assert (best.name, scored.drop, len(tried(search)), len(lines)) == ("mse", 0.1, 1, 1)


def test_a_float_precision_has_one_attempt() -> None:
    search, _ = searching(None, 0.5)
    best, scored = search.run()
    assert (best.name, best.plan, scored.drop) == ("fp16", None, 0.3)
    assert search.record().attempts == (AttemptRecord("fp16", 0.3),)
    search, _ = searching(None, 0.2)
    with pytest.raises(AccuracyError, match=r"fp16 loses 0\.30 AP points .* in the best of 1 attempts"):
        search.run()
    search, _ = searching(None, 0.5, broken=0.1)
    with pytest.raises(ParityError):
        search.run()


def test_rules_that_are_nearly_as_good_are_tried_before_anything_costs() -> None:
    base = {"mse": 0.6, "per tensor": 0.4, "percentile 99.99": 0.2, "min-max": 0.0}
    errors = {"mse": 0.02, "per tensor": 0.021, "percentile 99.99": 0.029, "min-max": 0.031}
    search, _ = searching(FakeStudy({}, base, errors), 0.5)
    best, _ = search.run()
    assert [name for name, _ in tried(search)] == ["mse", "per tensor", "percentile 99.99"]
    assert (best.name, best.record().float_layers) == ("percentile 99.99", 0)


def test_weights_are_fine_tuned_before_layers_go_back_to_float() -> None:
    search, lines = searching(FakeStudy({}, {"mse": 0.6}, ONE, gain=0.3), 0.5, steps=70)
    _, scored = search.run()
    assert (tried(search), scored.drop) == ([("mse", 0), ("mse, fine-tuned", 0)], pytest.approx(0.3))
    assert "attempt 2: mse, fine-tuned: loses 0.30 AP points" in lines
    search, _ = searching(FakeStudy({"g0": 4.0}, {"mse": 0.3}, ONE, gain=0.1), 0.5, steps=70)
    search.run()
    assert tried(search) == [("mse", 0), ("mse, fine-tuned", 0), ("mse, fine-tuned", 1)]
    base, errors = {"mse": 0.9, "per tensor": 0.6, "min-max": 0.3}, {"mse": 0.02, "per tensor": 0.022, "min-max": 0.03}
    search, _ = searching(FakeStudy({}, base, errors, gain=0.55), 0.1, steps=70)
    search.run()  # 0.3 points are noise, 0.6 are not
    last = search.record().attempts[3]
    assert (last.ranges, last.drop_points) == ("per tensor, fine-tuned", pytest.approx(0.05))
    search, _ = searching(FakeStudy({}, {"mse": 0.4}, ONE, gain=-0.2), 0.5, steps=70)
    assert search.run()[0].name == "mse"  # it made it worse
    search, _ = searching(FakeStudy({"g0": 9.0}, {"mse": 0.3}, ONE, gain=0.1), 0.5, steps=70)
    search.run()  # beyond mending
    assert tried(search) == [("mse", 0), ("mse", 1)]
    search, _ = searching(FakeStudy({}, {"mse": 0.1}, ONE), 0.5, steps=70)
    search.run()
    assert len(tried(search)) == 1  # nothing to win


def test_the_fewest_groups_go_back_to_float() -> None:
    hurts = {"g0": 9.0, "g1": 5.0, "g2": 3.0, "g7": 0.1, "g9": 0.2, "g3": 2.0, "g4": 1.0}
    search, lines = searching(FakeStudy(hurts, {"mse": 0.0}, ONE), 1.5)
    best, _ = search.run()
    assert best.plan is not None
    assert best.plan.float_layers() == ["g0", "g1", "g2", "g3"]
    assert [layers for _, layers in tried(search)] == [0, 1, 2, 4, 3]
    record = search.record()
    assert record.latency == LatencyRecord("onnx", 10.0, 10.7, 7.0)
    assert record.sensitivity["g0"] == SensitivityRecord(12.0, 9.0)
    assert any("attempt 4: mse, 4 convolutions in float: loses 1.30 AP points" in line for line in lines)


def test_an_artifact_that_computes_something_else_is_an_attempt_that_failed() -> None:
    search, lines = searching(FakeStudy({"g0": 9.0, "g1": 4.0}, {"mse": 0.0}, ONE), 0.5, broken=5.0)
    best, _ = search.run()
    assert best.plan is not None
    assert best.plan.float_layers() == ["g0", "g1"]
    assert search.record().attempts[0] == AttemptRecord("mse", None, 0, "box_p3 is noise")
    assert "box_p3 is noise" in lines[0]


def test_when_nothing_helps_the_attempts_are_shown() -> None:
    hopeless = FakeStudy({}, {"mse": 3.0}, ONE)
    search, lines = searching(hopeless, 0.5)
    with pytest.raises(
        AccuracyError, match=r"loses 3\.00 AP points .* in the best of 6 attempts, more than the budget"
    ):
        search.run()
    assert max(layers for _, layers in tried(search) if layers is not None) == 10  # half of the convolutions
    assert len([line for line in lines if line.startswith("attempt")]) == 2 * len(tried(search))
    search, _ = searching(FakeStudy({"g0": 9.0}, {"mse": 3.0}, ONE), 0.5, broken=5.0)
    with pytest.raises(AccuracyError, match=r"loses 3\.00 AP points .* in the best of 6 attempts"):
        search.run()  # all-INT8 is noise, the best has a layer in float
    search, _ = searching(hopeless, 0.5, broken=1.0)
    with pytest.raises(AccuracyError, match="box_p3 is noise; no bundle was written"):
        search.run()


def test_sensitivity_is_judged_on_images_that_show_something() -> None:
    """A camera's val split may be mostly empty, and every other image may be."""
    shown, empty = make_objects([(0, 1, 1, 9, 9, 0, 64)]), make_objects([])
    records = (ImageRecord(Path("a.jpg"), i, 1, annotated=shown if i % 2 else empty) for i in range(300))
    gate = Gate(TorchSession(lambda images: ()), ("a",), (32, 32), DATA, Split("val", ("a",), tuple(records)), 0.5)
    assert [record.image_id for record in gate.few(100).split.images[:3]] == [1, 5, 9]
    assert len(gate.few(100).split) == 75
    assert gate.few(300) is gate


REPAIRED = [("kernels", "onnx"), ("scaled", "jetson"), ("several", "tflite"), ("paths", "openvino")]
"""The first in every run; EDGE_YOLOV9_ALL_FRAGILE=1 runs all, some ten minutes."""


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "target"), REPAIRED if os.environ.get("EDGE_YOLOV9_ALL_FRAGILE") else REPAIRED[:1])
def test_fragile_checkpoints_are_repaired(kind: str, target: str, tmp_path: Path) -> None:
    save(fragile(kind), tmp_path / "fragile.safetensors")
    words = ["compile", tmp_path / "fragile.safetensors", "--target", target, "--precision", "int8"]
    words += ["--calibration", DATA, "--calibration-images", 48, "--max-drop", 0.5, "-o", tmp_path / "bundle"]
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.stderr
    manifest = read(tmp_path / "bundle").manifest
    assert manifest.accuracy is not None
    assert manifest.accuracy["drop_points"] <= 0.5
    assert manifest.accuracy["float"]["AP"] > 0.61
    search, plan = manifest.compilation.search, manifest.compilation.plan
    assert search is not None
    assert plan is not None
    floats = plan.float_layers
    assert (search.attempts[-1].float_layers or 0) >= len(floats)
    if kind == "kernels":
        assert search.attempts[0].drop_points is None or search.attempts[0].drop_points > 3
        assert floats
        assert f"{len(floats)} convolutions left in float (" in result.stdout
        assert search.latency is not None
        assert search.latency.ms is not None
        assert search.latency.ms > 0
