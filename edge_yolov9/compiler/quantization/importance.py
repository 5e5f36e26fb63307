"""How much noise in each channel of a tensor matters to the raw maps: by the weights of everything that reads it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from edge_yolov9.compiler.quantization.rules import Array, Graph, slices, widths


def importance(graph: Graph, variance: Mapping[str, float]) -> dict[str, Array]:
    """How much a unit of noise in each channel of a tensor matters, (C,), summed over everything that reads it.

    A convolution's share is the noise power that it makes of one unit, over the power of its own output: kernels and
    measured outputs decide, so that a channel which nobody listens to counts for nothing however large it is.

    Args:
        graph: the float graph.
        variance: of every convolution's output, summed over channels.
    """
    matters: dict[str, Array] = {}

    def add(name: str, weight: Array) -> None:
        if name not in graph.constants:
            matters[name] = matters[name] + weight if name in matters else weight

    width = widths(graph)
    for node in reversed(graph.nodes):
        if node.op_type == "Conv":
            kernel = graph.constants[node.input[1]]
            power = max(variance[node.output[0]], 1e-12)
            if node.output[0] in graph.outputs:
                add(node.output[0], np.full(len(kernel), 1 / power, np.float32))
            add(node.input[0], (channel_sums(kernel, width[node.input[0]], 2) / power).sum(axis=0))
        elif (weight := matters.get(node.output[0])) is not None or node.op_type in ("Slice", "Split"):
            for name, share in _passed_on(graph, node, weight, matters, width):
                add(name, share)
    return matters


def channel_sums(kernel: NDArray[np.generic], channels: int, power: int = 1) -> Array:
    """(out, in / groups, k, k) -> (out, in) sums over the window of the weights to ``power``; zero across groups."""
    per = (kernel.astype(np.float64) ** power).sum(axis=(2, 3))
    out, inner = per.shape
    groups = channels // inner
    full = np.zeros((out, channels), np.float32)
    for group in range(groups):
        rows = slice(group * out // groups, (group + 1) * out // groups)
        full[rows, group * inner : (group + 1) * inner] = per[rows]
    return full


def _passed_on(
    graph: Graph, node: NodeProto, weight: Array | None, matters: Mapping[str, Array], width: Mapping[str, int]
) -> list[tuple[str, Array]]:
    """What each input of an operator without weights inherits from its outputs."""
    if node.op_type in ("Slice", "Split"):
        whole = np.zeros(width[node.input[0]], np.float32)
        for name, part in zip(node.output, slices(graph, node, len(whole)), strict=True):
            whole[part] += matters.get(name, 0.0)
        return [(node.input[0], whole)]
    assert weight is not None
    if node.op_type == "Concat":
        ends = np.cumsum([width[name] for name in node.input])[:-1]
        return list(zip(node.input, np.split(weight, ends), strict=True))
    return [(name, weight) for name in node.input if name and name not in graph.constants]
