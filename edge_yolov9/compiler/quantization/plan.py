"""The plan: a range and a method for every tensor, float or INT8 for every layer, and the weights made ready for it."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from edge_yolov9.compiler.calibration import CalibrationSet
from edge_yolov9.compiler.floatgraph import raw_maps
from edge_yolov9.compiler.quantization import correct, qdq
from edge_yolov9.compiler.quantization.equalize import equalize
from edge_yolov9.compiler.quantization.measure import Seen, Tensors, heard, measure, relative_error
from edge_yolov9.compiler.quantization.ranges import Range, choose
from edge_yolov9.compiler.quantization.rules import Array, Graph, Scheme, importance, read
from edge_yolov9.decode import sqnr_db
from edge_yolov9.model import RawHeads

JUDGES = 8
"""Calibration images on which the rules compete."""


@dataclass(frozen=True)
class Plan:
    """How one folded graph is quantized. ``graph`` holds the weights as they will be rounded, biases corrected."""

    graph: Graph
    scheme: Scheme
    ranges: Mapping[str, Range]
    """Of each group of tensors that share a scale."""
    floating: frozenset[str] = frozenset()
    """Groups that stay float, and with them every convolution that reads or writes one."""
    rule: str = ""
    errors: Mapping[str, float] = field(default_factory=dict)
    """Relative error of the raw maps on calibration images under each rule for ranges."""
    equalized: int = 0
    """Channels whose scale was moved into the next layer."""
    limited: Mapping[str, Array] = field(default_factory=dict, repr=False)
    """Kernels whose weights on silent channels are cut while they are INT8."""
    candidates: Mapping[str, Mapping[str, Range]] = field(default_factory=dict, repr=False)
    """The ranges under each rule."""
    seen: Mapping[str, Seen] = field(default_factory=dict, repr=False)
    floats: Graph | None = None
    """The graph before its biases were corrected."""
    images: Tensors | None = None
    learned: Mapping[str, Array] = field(default_factory=dict, repr=False)
    """Kernels and biases of fine-tuning, see ``tune``; layers in float keep their own."""
    tuned: int = 0
    """Steps of it."""

    @property
    def title(self) -> str:
        """Rule for ranges, and whether weights were fine-tuned."""
        return f"{self.rule}, fine-tuned" if self.tuned else self.rule

    def range_of(self, tensor: str) -> Range:
        """The range of a quantized tensor."""
        return self.ranges[self.graph.group[tensor]]

    def insert(self) -> onnx.ModelProto:
        """The graph with explicit pairs."""
        return qdq.insert(self.graph, self.ranges, self.scheme, self.floating)

    def prepared(self, heads: RawHeads) -> RawHeads:
        """A copy of ``heads`` with the plan's weights."""
        ready = copy.deepcopy(heads)
        state = ready.state_dict()
        for name, value in self.graph.constants.items():
            if name in state:
                state[name].copy_(torch.from_numpy(np.array(value)))
        return ready

    def with_rule(self, rule: str) -> Plan:
        """The same plan under another rule for ranges, all INT8."""
        plan = replace(self, rule=rule, ranges=self.candidates[rule], floating=frozenset(), learned={}, tuned=0)
        return plan.keep_float(())

    def with_learned(self, learned: Mapping[str, Array], steps: int) -> Plan:
        """The same plan with fine-tuned kernels and biases."""
        return replace(self, learned=learned, tuned=steps).keep_float(())

    def keep_float(self, groups: Iterable[str]) -> Plan:
        """The same plan with more groups in float."""
        assert self.floats is not None
        floating = self.floating | frozenset(groups)
        changed = correct.biases(self.floats, self.seen, self.ranges, self.scheme, floating, self.limited)
        if self.learned:
            integer = [node for node in self.graph.convolutions if node.input[2] in changed]
            changed = {name: self.learned[name] for node in integer for name in node.input[1:]}
        return replace(self, floating=floating, graph=with_weights(self.floats, changed))

    def alone(self, group: str) -> Plan:
        """The same plan with everything in float but one group and what lies inside its activation."""
        groups = frozenset(self.graph.group.values())
        inner = {self.graph.group[name] for name, out in self._inner() if self.graph.group[out] == group}
        return self.keep_float(groups - {group} - inner - self.floating)

    def float_layers(self) -> list[str]:
        """Convolutions that stay float, by the name of their weights."""
        floats = self.graph.floats(self.floating)
        return [
            node.input[1].removesuffix(".weight")
            for node in self.graph.convolutions
            if node.input[0] in floats or (self.scheme.everywhere and node.output[0] in floats)
        ]

    def sensitivity(self, count: int = 2) -> dict[str, float]:
        """Signal to noise ratio (dB) of the raw maps when one group alone is quantized, the worst first.

        Args:
            count: calibration images that it is measured on.
        """
        assert self.floats is not None
        assert self.images is not None
        judges = list(self.images.few(count))
        wanted = heard(raw_maps(self.floats.model, judges))
        outer = {group for name, group in self.graph.group.items() if name not in self.graph.inner} - self.floating
        found: dict[str, float] = {}
        for group in sorted(outer):
            error = relative_error(heard(raw_maps(self.alone(group).insert(), judges)), wanted)
            found[group] = round(sqnr_db(1, error**2), 2)
        return dict(sorted(found.items(), key=lambda item: item[1]))

    def _inner(self) -> list[tuple[str, str]]:
        group = self.graph.group
        return [(name, out) for name, out in self.graph.inner.items() if name in group and out in group]

    def describe(self) -> dict[str, Any]:
        """What the manifest keeps."""
        tensors = {
            name: {"low": round(item.low, 6), "high": round(item.high, 6), "method": item.method}
            for name, item in self.ranges.items()
        }
        return {
            "rule": self.rule,
            "relative_error": dict(self.errors),
            "weight_levels": self.scheme.weight_levels,
            "symmetric": self.scheme.symmetric,
            "equalized_channels": self.equalized,
            "limited_kernels": len(self.limited),
            "bias_correction": True,
            "fine_tuning_steps": self.tuned,
            "float_layers": self.float_layers(),
            "tensors": tensors,
        }


def make(model: onnx.ModelProto, images: CalibrationSet, scheme: Scheme) -> Plan:
    """Measure the float graph on calibration images and choose.

    Raises:
        CompileError: an operator that the rules do not cover, or a value that is not finite.
    """
    tensors = Tensors(images)
    graph = read(model, scheme)
    seen = measure(graph, tensors, len(images))
    weights = importance(graph, _variance(graph, seen))
    judges = list(tensors.few(JUDGES))
    wanted = raw_maps(model, judges)
    scaled, equalized = equalize(graph, seen, weights, scheme)
    if scaled:
        graph = with_weights(graph, scaled)
        seen = measure(graph, tensors, len(images))
    limited = correct.limit(graph, seen, scheme)
    weights = importance(with_weights(graph, limited), _variance(graph, seen))
    candidates = choose(graph, seen, weights, scheme)
    plan = Plan(graph, scheme, {}, candidates=candidates, seen=seen, floats=graph, images=tensors)
    plan = replace(plan, equalized=equalized, limited=limited)
    errors: dict[str, float] = {}
    for rule in candidates:
        errors[rule] = round(relative_error(raw_maps(plan.with_rule(rule).insert(), judges), wanted), 5)
    return replace(plan, errors=errors).with_rule(min(errors, key=lambda rule: errors[rule]))


def _variance(graph: Graph, seen: Mapping[str, Seen]) -> dict[str, float]:
    return {node.output[0]: float(seen[node.output[0]].samples.var(axis=0).sum()) for node in graph.convolutions}


def with_weights(graph: Graph, changed: Mapping[str, Array]) -> Graph:
    """The same graph with other values of some initializers."""
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    for item in model.graph.initializer:
        if item.name in changed:
            item.CopyFrom(numpy_helper.from_array(changed[item.name], item.name))
    constants: dict[str, NDArray[np.generic]] = {**graph.constants, **changed}
    return replace(graph, model=model, constants=constants)
