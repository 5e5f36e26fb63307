"""Weight equalization: channels that dwarf the rest of their tensor are scaled down, their readers' weights up.

A SiLU lies between, silu(s y) / s is not silu(y); the scale is kept only where the measured noise, that difference
included, falls well below the noise of clipping. That is the case of large channels, on which SiLU is all but a ReLU.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from edge_yolov9.compiler.quantization.ranges import Range, choose
from edge_yolov9.compiler.quantization.rules import Array, Graph, QuantizationScheme, activation, slices, widths
from edge_yolov9.compiler.quantization.stats import TensorStats

OUTLIER = 4.0
"""A channel this many times as large as the group's ninth decile is a candidate."""

GAIN = 0.5
"""Share of the noise that a scale may leave at most, to be worth having."""

Readers = dict[tuple[str, int], list[tuple[str, int]]]
"""(tensor, channel) -> (weights, input channel) of every convolution that reads it."""


def equalize(
    graph: Graph, stats: Mapping[str, TensorStats], matters: Mapping[str, Array], scheme: QuantizationScheme
) -> tuple[dict[str, Array], int]:
    """``{initializer: new value}`` of kernels and biases, and how many channels were scaled.

    Args:
        graph: the float graph.
        stats: its tensors on calibration images.
        matters: importance of every tensor's channels.
        scheme: what the runtime computes in.
    """
    producers = {graph.inner.get(node.output[0], node.output[0]): node for node in graph.convolutions}
    readers, mixed = trace(graph)
    changed: dict[str, Array] = {}
    count = 0
    ranges = choose(graph, stats, matters, scheme)["per tensor"]
    groups: dict[str, list[str]] = defaultdict(list)
    for name in graph.measured:
        groups[graph.group[name]].append(name)
    for group, names in groups.items():
        peaks = {name: np.maximum(stats[name].high, -stats[name].low) for name in names}
        usual = float(np.quantile(np.concatenate(list(peaks.values())), 0.9)) or 1.0
        for name in names:
            node = producers.get(name)
            large = np.flatnonzero(peaks[name] > OUTLIER * usual)
            if node is None or name in mixed or node.output[0] not in graph.inner or len(node.input) < 3:
                continue
            for channel in large:
                scale = np.float32(usual / peaks[name][channel])
                if not readers.get((name, int(channel))) or not _helps(
                    graph, stats, node.output[0], int(channel), scale, ranges[group], usual, scheme
                ):
                    continue
                _scale(graph, changed, [(node.input[1], int(channel)), (node.input[2], int(channel))], scale)
                for kernel, index in readers[name, int(channel)]:
                    _scale_reader(graph, changed, kernel, index, scale)
                count += 1
    return changed, count


def _helps(
    graph: Graph,
    stats: Mapping[str, TensorStats],
    tensor: str,
    channel: int,
    scale: np.float32,
    chosen: Range,
    usual: float,
    scheme: QuantizationScheme,
) -> bool:
    before = stats[tensor].samples[:, channel]
    function = activation(graph, tensor)
    wanted = function(before)
    clipped = chosen.rounded(wanted, scheme) - wanted
    narrow = Range(chosen.low if scheme.symmetric else max(chosen.low, -usual), usual, "min-max")
    scaled = narrow.rounded(function(before * scale), scheme) / scale - wanted
    return bool(scaled.var() < GAIN * clipped.var())


def trace(graph: Graph) -> tuple[Readers, set[str]]:
    """Who reads each channel through moves alone, and the tensors that something else reads too."""
    origin: dict[str, list[tuple[str, int]]] = {}
    readers: Readers = defaultdict(list)
    mixed = set(graph.outputs)

    def channels(name: str, count: int) -> list[tuple[str, int]]:
        return origin.setdefault(name, [(name, index) for index in range(count)])

    width = widths(graph)
    for node in graph.nodes:
        if node.op_type == "Concat":
            origin[node.output[0]] = [item for name in node.input for item in channels(name, width[name])]
        elif node.op_type in ("Slice", "Split"):
            source = channels(node.input[0], width[node.input[0]])
            for name, part in zip(node.output, slices(graph, node, len(source)), strict=True):
                origin[name] = source[part]
        elif node.op_type in ("MaxPool", "AveragePool", "Resize"):
            origin[node.output[0]] = channels(node.input[0], width[node.input[0]])
        elif node.op_type == "Conv":
            for index, item in enumerate(channels(node.input[0], width[node.input[0]])):
                readers[item].append((node.input[1], index))
        elif node.op_type == "Add":
            for name in node.input:
                mixed |= {root for root, _ in channels(name, width[name])}
    return readers, mixed


def _scale(graph: Graph, changed: dict[str, Array], rows: list[tuple[str, int]], scale: np.float32) -> None:
    for name, row in rows:
        changed.setdefault(name, np.array(graph.constants[name], np.float32))[row] *= scale


def _scale_reader(graph: Graph, changed: dict[str, Array], kernel: str, channel: int, scale: np.float32) -> None:
    value = changed.setdefault(kernel, np.array(graph.constants[kernel], np.float32))
    node = next(node for node in graph.convolutions if node.input[1] == kernel)
    groups = next((int(item.i) for item in node.attribute if item.name == "group"), 1)
    group, within = divmod(channel, value.shape[1])
    value[group * len(value) // groups : (group + 1) * len(value) // groups, within] /= scale
