"""What a manifest keeps of its compilation: the INT8 plan, the search for it, what ``auto`` compared, seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class RangeRecord:
    """Real values between which a group of tensors is rounded."""

    low: float
    high: float
    method: str
    """Name of the rule that chose them."""


@dataclass(frozen=True)
class PlanRecord:
    """How the graph was quantized."""

    rule: str
    """Name of the rule for ranges."""
    relative_error: dict[str, float]
    """Relative error of the raw maps on calibration images, by rule."""
    weight_levels: int
    """Largest integer of a weight."""
    symmetric: bool
    """Whether activations are int8 with zero point 0; else they have any 8-bit zero point."""
    equalized_channels: int
    """Channels whose scale was moved into the next layer."""
    limited_kernels: int
    """Kernels whose weights on silent channels are cut."""
    bias_correction: bool
    """Whether biases make up for what rounding shifts on average."""
    fine_tuning_steps: int
    """Steps in which weights were fine-tuned; 0 for none."""
    float_layers: tuple[str, ...]
    """Convolutions that stay float, by the name of their weights."""
    tensors: dict[str, RangeRecord]
    """Range of each group of tensors that share a scale."""


@dataclass(frozen=True)
class AttemptRecord:
    """One artifact that was made, and what it lost."""

    ranges: str
    """Rule for ranges and whether weights were fine-tuned; the precision of a float artifact."""
    drop_points: float | None
    """AP points lost against the float model; None where it was not worth scoring."""
    float_layers: int | None = None
    """How many convolutions stay float; None for a float precision."""
    failure: str | None = None
    """Why it was not worth scoring."""


@dataclass(frozen=True)
class SensitivityRecord:
    """What is lost when one group of tensors alone is quantized."""

    sqnr_db: float
    """Signal to noise ratio of the raw maps, dB."""
    drop_points: float
    """AP points lost."""


@dataclass(frozen=True)
class LatencyRecord:
    """What layers in float cost on the machine that compiled."""

    runtime: str
    """Runtime that was timed."""
    int8_ms: float | None = None
    """Milliseconds of the artifact that is all INT8."""
    ms: float | None = None
    """Milliseconds of the artifact that was taken."""
    cost_percent: float | None = None
    """How much longer the latter takes."""
    failure: str | None = None
    """Why nothing could be timed."""


@dataclass(frozen=True)
class SearchRecord:
    """The attempts until one held the budget."""

    attempts: tuple[AttemptRecord, ...]
    sensitivity: dict[str, SensitivityRecord] = field(default_factory=dict)
    """By group of tensors, of the noisiest; empty where no layer had to go back to float."""
    latency: LatencyRecord | None = None
    """None where no layer stays float."""


@dataclass(frozen=True)
class CandidateRecord:
    """One precision that --precision auto compared."""

    drop_points: float | None = None
    """AP points lost; None where AP was not measured."""
    ms: float | None = None
    """Milliseconds of one inference, median over the rounds; None where the precision is out."""
    least_ms: float | None = None
    """Milliseconds of the fastest round."""
    most_ms: float | None = None
    """Milliseconds of the slowest round."""
    out: str | None = None
    """Why the precision is out."""


@dataclass(frozen=True)
class AutoRecord:
    """What --precision auto compared and took."""

    chosen: str
    """Precision that was taken."""
    machine: str
    """Processor family of the machine that measured."""
    candidates: dict[str, CandidateRecord]
    """By precision."""


@dataclass(frozen=True)
class CompilationRecord:
    """How a bundle was made; nothing that a device needs to run it."""

    seconds: dict[str, float] = field(default_factory=dict)
    """Seconds of each stage."""
    plan: PlanRecord | None = None
    """None for a float precision."""
    search: SearchRecord | None = None
    """None where AP was not measured."""
    auto: AutoRecord | None = None
    """None where the precision was given."""


_MOVED = {"plan": "plan", "search": "search", "auto": "auto", "compile_seconds": "seconds"}
"""Keys that stood in ``extra`` before there was a record of the compilation, and their names in it."""


def with_compilation(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest's JSON with its ``compilation``: of an older bundle, whose ``extra`` holds it, what stands there."""
    extra = manifest.get("extra")
    if "compilation" in manifest or not isinstance(extra, Mapping):
        return dict(manifest)
    record = {name: extra[key] for key, name in _MOVED.items() if key in extra}
    own = {key: value for key, value in extra.items() if key not in _MOVED}
    return {**manifest, "extra": own, "compilation": record}
