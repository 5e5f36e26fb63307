"""A range for every group of tensors, by the noise that it makes in what reads them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.compiler.quantization.rawmaps import LEAST_LOGIT, SURE_LOGIT
from edge_yolov9.compiler.quantization.rules import GATES, Array, Graph, QuantizationScheme, activation
from edge_yolov9.compiler.quantization.stats import TensorStats

PREFERENCE = 0.9
"""A rule that clips must bring the noise under this share of what min-max makes: unseen images are wider."""

SMALLEST_STEP = 2.0**-20
"""Below it float16 keeps too few bits of a scale."""


@dataclass(frozen=True)
class Range:
    """Real values between which a group of tensors is rounded, and the rule that chose them."""

    low: float
    high: float
    method: str

    def step(self, scheme: QuantizationScheme) -> float:
        """Real value of one integer, held exactly by float16 so that every flavour uses the same grid."""
        if scheme.symmetric:
            return float(round_up(np.asarray(max(self.high, -self.low) / 127)))
        return max((self.high - self.low) / 255, SMALLEST_STEP)

    def zero(self, scheme: QuantizationScheme) -> int:
        """The unsigned integer that stands for 0 (signed where symmetric)."""
        return 0 if scheme.symmetric else int(np.clip(np.rint(-self.low / self.step(scheme)), 0, 255))

    def rounded(self, values: Array, scheme: QuantizationScheme) -> Array:
        """``values`` after quantization and dequantization."""
        step, zero = np.float32(self.step(scheme)), self.zero(scheme)
        least, most = (-127, 127) if scheme.symmetric else (-zero, 255 - zero)
        return np.asarray(np.clip(np.rint(values / step), least, most) * step, np.float32)


def round_up(steps: NDArray[np.floating]) -> NDArray[np.float32]:
    """The next steps that float16 can hold."""
    wanted = np.clip(np.asarray(steps, np.float64), SMALLEST_STEP, 65504.0)
    half = wanted.astype(np.float16)
    return np.where(half < wanted, np.nextafter(half, np.float16(np.inf)), half).astype(np.float32)


def choose(
    graph: Graph, stats: Mapping[str, TensorStats], importance: Mapping[str, Array], scheme: QuantizationScheme
) -> dict[str, dict[str, Range]]:
    """``{rule: {group: range}}`` for min-max, percentile 99.99, MSE, and the best of them for each group on its own.

    Raw maps are not clipped under any rule: their rare large values are the objects.

    The noise of a range is measured on the samples: variance of what is lost per channel (its mean goes into the
    biases, see ``correct``), behind the activation where the tensor goes into one, times the channel's importance.
    A group is the tensors that share a scale; ``importance`` is (channels,) by the name of a tensor.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for name in graph.measured:
        members[graph.group[name]].append(name)
    by_rule: dict[str, dict[str, Range]] = defaultdict(dict)
    for group, names in members.items():
        low, high = extremes(graph, stats, names)
        noise = _Noise(graph, stats, importance, names, scheme)
        widest = Range(low, high, "min-max")
        rules = {"min-max": widest, "percentile 99.99": widest, "mse": widest}
        if not fixed(graph, names[0]) and names[0] not in graph.outputs:
            rules["percentile 99.99"] = _percentile(stats, names, low, high)
            rules["mse"] = min(_clipped(low, high, _usual(stats, names)), key=noise)
        best = min(rules.values(), key=noise)
        rules["per tensor"] = best if noise(best) < PREFERENCE * noise(widest) else widest
        for rule, chosen in rules.items():
            by_rule[rule][group] = chosen
    return dict(by_rule)


def fixed(graph: Graph, name: str) -> bool:
    """Whether a tensor holds pixels or gates, whose range is known to be [0, 1]."""
    return name in graph.inputs or any(node.op_type in GATES and name in node.output for node in graph.nodes)


def extremes(graph: Graph, stats: Mapping[str, TensorStats], names: list[str]) -> tuple[float, float]:
    """Least and largest value of a group, 0 included; [0, 1] for pixels and gates, [-7, 7] or more for class logits."""
    if fixed(graph, names[0]):
        return 0.0, 1.0
    low = min(0.0, *(float(stats[name].low.min()) for name in names))
    if names[0] in graph.classes:  # few cells of a calibration image hold an object, perhaps none
        return LEAST_LOGIT, max(SURE_LOGIT, *(float(stats[name].high.max()) for name in names))
    high = max(0.0, *(float(stats[name].high.max()) for name in names))
    return low, max(high, low + 1e-6)


class _Noise:
    """Noise of one group as a function of its range."""

    def __init__(
        self,
        graph: Graph,
        stats: Mapping[str, TensorStats],
        importance: Mapping[str, Array],
        names: list[str],
        scheme: QuantizationScheme,
    ) -> None:
        self._scheme = scheme
        self._parts = [_part(graph, stats, importance, name) for name in names]

    def __call__(self, candidate: Range) -> float:
        total = 0.0
        for samples, function, after, matters in self._parts:
            lost = function(candidate.rounded(samples, self._scheme)) - after
            total += float(lost.var(axis=0) @ matters)
        return total


def _part(
    graph: Graph, stats: Mapping[str, TensorStats], importance: Mapping[str, Array], name: str
) -> tuple[Array, Callable[[Array], Array], Array, Array]:
    """A tensor's samples (N, channels), the activation behind it, what that gives, and (channels,) importance."""
    samples = stats[name].samples
    function = activation(graph, name)
    matters = importance.get(graph.inner.get(name, name))
    if matters is None:
        matters = np.ones(samples.shape[1], np.float32)
    return samples, function, function(samples), matters


def _percentile(
    stats: Mapping[str, TensorStats], names: list[str], low: float, high: float, share: float = 99.99
) -> Range:
    values = np.concatenate([stats[name].samples.ravel() for name in names])
    least, most = np.percentile(values, [100 - share, share])
    return Range(max(low, min(0.0, float(least))), max(min(high, float(most)), low + 1e-6, 1e-6), "percentile 99.99")


def _usual(stats: Mapping[str, TensorStats], names: list[str]) -> float:
    """The median over a group's channels of the largest absolute value."""
    return float(np.median(np.concatenate([np.maximum(stats[name].high, -stats[name].low) for name in names])))


def _clipped(low: float, high: float, usual: float) -> Iterator[Range]:
    """Ranges cut at ever smaller magnitudes, from the extremes to a 2048th, or a tenth of a usual channel if less."""
    top = max(high, -low)
    share = min(1 / 2048, 0.1 * usual / top) or 1 / 2048
    for limit in top * np.geomspace(1, share, round(100 * np.log(share) / np.log(1 / 2048))):
        yield Range(max(low, -float(limit)), max(min(high, float(limit)), 1e-6), "mse")
