"""A plan as explicit QuantizeLinear/DequantizeLinear pairs: one per tensor, shared by everything that reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

from edge_yolov9.compiler.quantization.ranges import Range, round_up
from edge_yolov9.compiler.quantization.rules import MOVES, Graph, QuantizationScheme


def insert(
    graph: Graph, ranges: Mapping[str, Range], scheme: QuantizationScheme, floating: frozenset[str] = frozenset()
) -> onnx.ModelProto:
    """A copy of the float graph with pairs on its tensors and every convolution's weights in INT8.

    Args:
        graph: the float graph and where INT8 goes.
        ranges: of each group.
        scheme: symmetric pairs are int8 with zero point 0, others uint8.
        floating: groups that get no pair, nor do the weights of convolutions that read, or everywhere write, them.
    """
    result = onnx.ModelProto()
    result.CopyFrom(graph.model)
    out = result.graph
    nodes, weights = list(out.node), {item.name: item for item in out.initializer}
    floats = graph.floats(floating)
    edges = {(index, slot) for index, slot in graph.edges if nodes[index].input[slot] not in floats}
    integer = {index for index, slot in edges if nodes[index].op_type == "Conv"}
    if scheme.everywhere:  # what gives a float tensor computes in float
        integer = {index for index in integer if nodes[index].output[0] not in floats}
    if not scheme.moves:
        moved = {name for node in nodes if node.op_type in MOVES for name in node.output}
        edges = {(index, slot) for index, slot in edges if nodes[index].input[slot] not in moved}
    paired = {nodes[index].input[slot] for index, slot in edges}
    for index, slot in edges:
        nodes[index].input[slot] += "_dq"
    placed: list[NodeProto] = []
    for name in graph.inputs:
        placed += _pair(out, name, ranges[graph.group[name]], scheme) if name in paired else ()
    for index, node in enumerate(nodes):
        if index in integer:
            placed += _weights(out, node, weights, scheme)
        placed.append(node)
        for slot, name in enumerate(node.output):
            if scheme.outputs and name in graph.outputs and name not in floats:  # the map keeps its name
                node.output[slot] = f"{name}_exact"
                quantize, dequantize = _pair(out, f"{name}_exact", ranges[graph.group[name]], scheme)
                dequantize.output[0] = name
                placed += (quantize, dequantize)
            elif name in paired:
                placed += _pair(out, name, ranges[graph.group[name]], scheme)
    del out.node[:]
    out.node.extend(placed)
    _drop_unused(out)
    onnx.checker.check_model(result)
    return result


def _pair(graph: onnx.GraphProto, name: str, chosen: Range, scheme: QuantizationScheme) -> Iterator[NodeProto]:
    kind: type[np.generic] = np.int8 if scheme.symmetric else np.uint8
    scale = _add(graph, f"{name}_scale", np.asarray(chosen.step(scheme), np.float32))
    zero = _add(graph, f"{name}_zero", np.asarray(chosen.zero(scheme), kind))
    yield helper.make_node("QuantizeLinear", [name, scale, zero], [f"{name}_q"], name=f"{name}_Q")
    yield helper.make_node("DequantizeLinear", [f"{name}_q", scale, zero], [f"{name}_dq"], name=f"{name}_DQ")


def _weights(
    graph: onnx.GraphProto, conv: NodeProto, weights: Mapping[str, onnx.TensorProto], scheme: QuantizationScheme
) -> Iterator[NodeProto]:
    """Pair on the kernel, per output channel; only the second half of it where weights are stored as integers."""
    name = conv.input[1]
    conv.input[1] = f"{name}_dq"
    kernel = numpy_helper.to_array(weights[name])
    step = weight_steps(kernel, scheme)
    if scheme.integers:
        scale = _add(graph, f"{name}_scale", step)
        zero = _add(graph, f"{name}_zero", np.zeros(len(step), np.int8))
        stored = _add(graph, f"{name}_q", np.rint(kernel / step.reshape(-1, 1, 1, 1)).astype(np.int8))
        yield helper.make_node("DequantizeLinear", [stored, scale, zero], [f"{name}_dq"], name=f"{name}_DQ", axis=0)
        return
    weights[name].CopyFrom(numpy_helper.from_array(rounded_weights(kernel, scheme), name))
    scale = _add(graph, f"{name}_scale", step)
    zero = _add(graph, f"{name}_zero", np.zeros(len(step), np.int8))
    for kind, source, target in (("Quantize", name, f"{name}_q"), ("Dequantize", f"{name}_q", f"{name}_dq")):
        yield helper.make_node(f"{kind}Linear", [source, scale, zero], [target], name=f"{name}_{kind[0]}Q", axis=0)


def weight_steps(kernel: NDArray[np.generic], scheme: QuantizationScheme) -> NDArray[np.float32]:
    """(out, in / groups, k, k) -> (out,) steps that just reach the largest weight of each output channel."""
    return round_up(np.abs(kernel).reshape(len(kernel), -1).max(axis=1) / scheme.weight_levels)


def rounded_weights(kernel: NDArray[np.generic], scheme: QuantizationScheme) -> NDArray[np.float32]:
    """The kernel after quantization and dequantization."""
    steps = weight_steps(kernel, scheme).reshape(-1, 1, 1, 1)
    return np.asarray(np.rint(kernel / steps) * steps, np.float32)  # type: ignore[operator]


def _add(graph: onnx.GraphProto, name: str, value: NDArray[np.generic]) -> str:
    graph.initializer.append(numpy_helper.from_array(value, name))
    return name


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [item for item in graph.initializer if item.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
