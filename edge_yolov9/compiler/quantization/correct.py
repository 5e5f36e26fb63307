"""Bias correction: what rounding shifts a convolution's output by, on average, is taken off its bias.

b' = b + sum(W) E[x] - sum(Wq) E[Q(x)]        sums over the window, means over samples; borders are neglected

Before that, weights that read silent channels are limited: they change nothing, yet the largest weight of an output
channel sets the rounding step of all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from edge_yolov9.compiler.quantization.importance import channel_sums
from edge_yolov9.compiler.quantization.qdq import rounded_weights
from edge_yolov9.compiler.quantization.ranges import Range
from edge_yolov9.compiler.quantization.rules import Array, Graph, QuantizationScheme
from edge_yolov9.compiler.quantization.stats import TensorStats

LIMITS = 2.0 ** -np.arange(1, 15)
"""Shares of an output channel's largest weight at which its weights may be cut."""

GAIN = 0.1
"""Share of the rounding noise that a cut may leave at most, to be worth having."""


def limit(graph: Graph, stats: Mapping[str, TensorStats], scheme: QuantizationScheme) -> dict[str, Array]:
    """``{initializer: kernel}`` of the convolutions some of whose output channels are better off with weights cut."""
    kernels: dict[str, Array] = {}
    for node in graph.convolutions:
        kernel, source = np.asarray(graph.constants[node.input[1]], np.float32), stats[node.input[0]]
        out, per = kernel.shape[:2]
        first = np.arange(out) * (len(source.low) // per) // out * per  # input channel at which a group begins
        power = np.maximum(source.high, -source.low)[first[:, None] + np.arange(per)] ** 2
        largest = np.abs(kernel).max(axis=(1, 2, 3), keepdims=True)
        best, least = kernel, GAIN * _noise(kernel, kernel, power, scheme)
        for share in LIMITS:
            cut = np.clip(kernel, -largest * np.float32(share), largest * np.float32(share))
            noise = _noise(cut, kernel, power, scheme)
            best = np.where((noise < least).reshape(-1, 1, 1, 1), cut, best)
            least = np.minimum(least, noise)
        if not np.array_equal(best, kernel):
            kernels[node.input[1]] = best
    return kernels


def _noise(cut: Array, kernel: Array, power: Array, scheme: QuantizationScheme) -> Array:
    """(out,) noise of weights that are cut and rounded; ``power`` (out, in / groups): the largest square they read."""
    lost = (rounded_weights(cut, scheme) - kernel) ** 2
    return np.asarray((lost.sum(axis=(2, 3)) * power).sum(axis=1), np.float32)


def biases(
    graph: Graph,
    stats: Mapping[str, TensorStats],
    ranges: Mapping[str, Range],
    scheme: QuantizationScheme,
    floating: frozenset[str] = frozenset(),
    limited: Mapping[str, Array] = MappingProxyType({}),
) -> dict[str, Array]:
    """``{initializer: corrected bias}`` of every convolution that computes in INT8, and its kernel if it is limited."""
    changed: dict[str, Array] = {}
    floats = graph.floats(floating)
    for node in graph.convolutions:
        source, name = node.input[0], node.input[1]
        if source in floats or (scheme.everywhere and node.output[0] in floats):
            continue
        kernel, values = graph.constants[name], stats[source].samples
        channels = values.shape[1]
        rounded = ranges[graph.group[source]].rounded(values, scheme)
        wanted = channel_sums(kernel, channels) @ values.mean(axis=0)
        got = channel_sums(rounded_weights(limited.get(name, kernel), scheme), channels) @ rounded.mean(axis=0)
        bias = graph.constants[node.input[2]].astype(np.float32)
        changed[node.input[2]] = np.asarray(bias + wanted - got, np.float32)
        changed |= {name: limited[name]} if name in limited else {}
    return changed
