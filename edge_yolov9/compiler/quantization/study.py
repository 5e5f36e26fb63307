"""The study: everything that is measured of a float graph on calibration images, and the plans that follow from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import onnx

from edge_yolov9.bundle.record import PlanRecord, RangeRecord
from edge_yolov9.compiler.calibration import CalibrationSet
from edge_yolov9.compiler.floatgraph import raw_maps
from edge_yolov9.compiler.quantization import correct
from edge_yolov9.compiler.quantization.equalize import equalize
from edge_yolov9.compiler.quantization.importance import importance
from edge_yolov9.compiler.quantization.plan import FineTuning, Plan, with_weights
from edge_yolov9.compiler.quantization.ranges import Range, choose
from edge_yolov9.compiler.quantization.rawmaps import relative_bins, relative_error
from edge_yolov9.compiler.quantization.rules import Array, Graph, QuantizationScheme, read
from edge_yolov9.compiler.quantization.stats import TensorStats, collect_stats
from edge_yolov9.decode import sqnr_db
from edge_yolov9.geometry import planes

JUDGES = 8
"""Calibration images on which the rules for ranges compete."""


@dataclass(frozen=True)
class Study:
    """A float graph, what was measured of it, and what was chosen from that."""

    model: onnx.ModelProto
    """The float graph as it was exported."""
    graph: Graph
    """``model`` with its outlier channels scaled down, biases not yet corrected: what plans are made of."""
    scheme: QuantizationScheme
    images: CalibrationSet
    stats: Mapping[str, TensorStats] = field(repr=False)
    """Statistics of the tensors of ``graph`` on ``images``."""
    candidates: Mapping[str, Mapping[str, Range]] = field(repr=False)
    """The range of each group under each rule."""
    limited: Mapping[str, Array] = field(default_factory=dict, repr=False)
    """Kernels whose weights on silent channels are cut while they are INT8."""
    equalized: int = 0
    """Channels whose scale was moved into the next layer."""

    @cached_property
    def errors(self) -> Mapping[str, float]:
        """Relative error of the raw maps on calibration images under each rule, measured on first use."""
        judges = [planes(image) for image in self.images.few(JUDGES)]
        wanted = raw_maps(self.model, judges)
        return {
            rule: round(relative_error(raw_maps(self.plan(rule).insert(), judges), wanted), 5)
            for rule in self.candidates
        }

    def best(self) -> Plan:
        """The plan, all INT8, under the rule with the least error."""
        return self.plan(min(self.errors, key=lambda rule: self.errors[rule]))

    def plan(self, rule: str, floating: frozenset[str] = frozenset(), fine_tuning: FineTuning | None = None) -> Plan:
        """A plan with its biases corrected.

        Args:
            rule: one of ``candidates``.
            floating: groups that stay float.
            fine_tuning: kernels and biases for the layers that are INT8.
        """
        ranges = self.candidates[rule]
        changed = correct.biases(self.graph, self.stats, ranges, self.scheme, floating, self.limited)
        if fine_tuning:
            integer = [node for node in self.graph.convolutions if node.input[2] in changed]
            changed = {name: fine_tuning.weights[name] for node in integer for name in node.input[1:]}
        return Plan(with_weights(self.graph, changed), self.scheme, rule, ranges, floating, fine_tuning)

    def keep_float(self, plan: Plan, groups: Iterable[str]) -> Plan:
        """``plan`` with more groups in float."""
        return self.plan(plan.rule, plan.floating | frozenset(groups), plan.fine_tuning)

    def alone(self, plan: Plan, group: str) -> Plan:
        """``plan`` with everything in float but one group and what lies inside its activation."""
        group_of = self.graph.group
        inner = {
            group_of[name]
            for name, output in self.graph.inner.items()
            if name in group_of and group_of.get(output) == group
        }
        return self.keep_float(plan, frozenset(group_of.values()) - {group} - inner - plan.floating)

    def sensitivity(self, plan: Plan, count: int = 2) -> dict[str, float]:
        """Signal to noise ratio (dB) of the raw maps when one group of ``plan`` alone is quantized, the worst first.

        Args:
            plan: the plan.
            count: calibration images that it is measured on.
        """
        judges = [planes(image) for image in self.images.few(count)]
        wanted = relative_bins(raw_maps(self.graph.model, judges))
        outer = {group for name, group in self.graph.group.items() if name not in self.graph.inner} - plan.floating
        ratios: dict[str, float] = {}
        for group in sorted(outer):
            maps = relative_bins(raw_maps(self.alone(plan, group).insert(), judges))
            ratios[group] = round(sqnr_db(1, relative_error(maps, wanted) ** 2), 2)
        return dict(sorted(ratios.items(), key=lambda item: item[1]))

    def describe(self, plan: Plan) -> PlanRecord:
        """What the manifest keeps of a plan."""
        return PlanRecord(
            rule=plan.rule,
            relative_error=dict(self.errors),
            weight_levels=self.scheme.weight_levels,
            symmetric=self.scheme.symmetric,
            equalized_channels=self.equalized,
            limited_kernels=len(self.limited),
            bias_correction=True,
            fine_tuning_steps=plan.fine_tuning.steps if plan.fine_tuning else 0,
            float_layers=plan.float_layers(),
            tensors={
                name: RangeRecord(round(item.low, 6), round(item.high, 6), item.method)
                for name, item in plan.ranges.items()
            },
        )


def study(model: onnx.ModelProto, images: CalibrationSet, scheme: QuantizationScheme) -> Study:
    """Measure a float graph on calibration images, and choose ranges under every rule.

    Raises:
        CompileError: an operator that the rules do not cover, or a value that is not finite.
    """
    graph = read(model, scheme)
    stats = collect_stats(graph, map(planes, images), len(images))
    scaled, equalized = equalize(graph, stats, importance(graph, _variance(graph, stats)), scheme)
    if scaled:
        graph = with_weights(graph, scaled)
        stats = collect_stats(graph, map(planes, images), len(images))
    limited = correct.limit(graph, stats, scheme)
    matters = importance(with_weights(graph, limited), _variance(graph, stats))
    candidates = choose(graph, stats, matters, scheme)
    return Study(model, graph, scheme, images, stats, candidates, limited, equalized)


def _variance(graph: Graph, stats: Mapping[str, TensorStats]) -> dict[str, float]:
    """Variance of every convolution's output, summed over channels."""
    return {node.output[0]: float(stats[node.output[0]].samples.var(axis=0).sum()) for node in graph.convolutions}
