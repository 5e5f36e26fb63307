"""Bias correction: what rounding shifts a convolution's output by, on average, is taken off its bias.

b' = b + sum(W) E[x] - sum(Wq) E[Q(x)]        sums over the window, means over samples; borders are neglected
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge_yolov9.compiler.quantization.measure import Seen
from edge_yolov9.compiler.quantization.qdq import rounded_weights
from edge_yolov9.compiler.quantization.ranges import Range
from edge_yolov9.compiler.quantization.rules import Array, Graph, Scheme, channel_sums


def biases(
    graph: Graph,
    seen: Mapping[str, Seen],
    ranges: Mapping[str, Range],
    scheme: Scheme,
    floating: frozenset[str] = frozenset(),
) -> dict[str, Array]:
    """``{initializer: corrected bias}`` of every convolution that computes in INT8."""
    found: dict[str, Array] = {}
    for node in graph.convolutions:
        source, name = node.input[0], node.input[1]
        if graph.group[source] in floating:
            continue
        kernel, values = graph.constants[name], seen[source].samples
        channels = values.shape[1]
        rounded = ranges[graph.group[source]].rounded(values, scheme)
        wanted = channel_sums(kernel, channels) @ values.mean(axis=0)
        got = channel_sums(rounded_weights(kernel, scheme), channels) @ rounded.mean(axis=0)
        found[node.input[2]] = (graph.constants[node.input[2]] + wanted - got).astype(np.float32)
    return found
