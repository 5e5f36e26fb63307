"""The plan: a range and a method for every tensor, float or INT8 for every layer, and the weights made ready for it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from edge_yolov9.compiler.quantization import qdq
from edge_yolov9.compiler.quantization.ranges import Range
from edge_yolov9.compiler.quantization.rules import Array, Graph, QuantizationScheme
from edge_yolov9.model import RawHeads


@dataclass(frozen=True)
class FineTuning:
    """What :func:`edge_yolov9.compiler.quantization.tune` learned."""

    weights: Mapping[str, Array]
    """Kernels and biases by initializer."""
    steps: int
    """Steps of the optimizer."""


@dataclass(frozen=True)
class Plan:
    """How one folded graph is quantized: all that a target needs to emit it. Made by a ``Study``."""

    graph: Graph
    """The graph with its weights as they will be rounded, biases corrected."""
    scheme: QuantizationScheme
    rule: str
    """Name of the rule that chose the ranges."""
    ranges: Mapping[str, Range]
    """Range of each group of tensors that share a scale."""
    floating: frozenset[str] = frozenset()
    """Groups that stay float, and with them every convolution that reads or writes one."""
    fine_tuning: FineTuning | None = None
    """Fine-tuned weights of the INT8 layers; layers in float keep their own."""

    @property
    def title(self) -> str:
        """Rule for ranges, and whether weights were fine-tuned."""
        return f"{self.rule}, fine-tuned" if self.fine_tuning else self.rule

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

    def float_layers(self) -> tuple[str, ...]:
        """Convolutions that stay float, by the name of their weights."""
        floats = self.graph.floats(self.floating)
        return tuple(
            node.input[1].removesuffix(".weight")
            for node in self.graph.convolutions
            if node.input[0] in floats or (self.scheme.everywhere and node.output[0] in floats)
        )


def with_weights(graph: Graph, changed: Mapping[str, Array]) -> Graph:
    """A copy of ``graph`` in which the initializers of ``changed`` have other values."""
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    for item in model.graph.initializer:
        if item.name in changed:
            item.CopyFrom(numpy_helper.from_array(changed[item.name], item.name))
    constants: dict[str, NDArray[np.generic]] = {**graph.constants, **changed}
    return replace(graph, model=model, constants=constants)
