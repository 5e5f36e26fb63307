"""Explicit symmetric INT8 for TensorRT: where QuantizeLinear/DequantizeLinear pairs go in a float ONNX graph.

One pair per tensor, shared by everything that reads it in INT8:

    every convolution's input    INT8, its weights INT8 per output channel, its bias float
    convolution's output         float: Conv -> Sigmoid -> Mul fuse into one kernel, which the next pair closes
    residual Add                 pair on the skip operand only; the other comes straight out of the fused kernel
    concat, slice, max pool, resize   between two pairs of one scale: they only move values, so INT8 is just copied
    average pool                 between two pairs, each with its own scale
    the six raw maps             float

All int8, all zero points 0. Needs the ``onnx`` package, nothing from NVIDIA.

Own scales for the inputs of a concat would cost requantization on the device and bring nothing: on BCCD (YOLOv9-T,
320 px, mean of three range rules; 72 val and 164 other images; float AP .6068 and .6443) one scale per concat gives
AP .6046 and .6441, own scales .6035 and .6433.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

from edge_yolov9.errors import CompileError

LEVELS = 127
"""Largest integer used: the range is [-127, 127]."""

SMALLEST_SCALE = 2.0**-20
"""Below it float16 keeps too few bits of a scale."""

MOVES = frozenset({"Concat", "Slice", "Split", "Resize", "MaxPool"})
"""Operators whose outputs hold values of their inputs and nothing else."""

KNOWN = MOVES | {"AveragePool", "Conv", "Add", "Sigmoid", "Mul", "Constant"}


@dataclass(frozen=True)
class Plan:
    """Which edges carry INT8."""

    edges: frozenset[tuple[int, int]]
    """(node, input) positions that read a dequantized tensor; a convolution's weights are not among them."""
    group: Mapping[str, str]
    """Each quantized tensor, in graph order, and the name of the group that shares its scale."""
    measured: tuple[str, ...]
    """The quantized tensors whose range must be measured; the others hold values of these."""


def plan(model: onnx.ModelProto) -> Plan:
    """Apply the rules above to a float graph of folded convolutions.

    Raises:
        CompileError: the graph holds an operator that the rules do not cover.
    """
    nodes = list(model.graph.node)
    strange = sorted({node.op_type for node in nodes} - KNOWN)
    if strange:
        raise CompileError(f"the INT8 rules cover {', '.join(sorted(KNOWN))}; this graph also has {', '.join(strange)}")
    constants = {item.name for item in model.graph.initializer}
    constants |= {node.output[0] for node in nodes if node.op_type == "Constant"}
    readers = count_readers(nodes)
    producer = {name: node for node in nodes for name in node.output}
    edges = {
        (index, slot)
        for index, node in enumerate(nodes)
        for slot in _quantized_inputs(node, producer, readers)
        if node.input[slot] not in constants
    }
    read = {nodes[index].input[slot] for index, slot in edges}
    order = [item.name for item in model.graph.input] + [name for node in nodes for name in node.output]
    moved = {name for node in nodes if node.op_type in MOVES for name in node.output}
    root = _shared_scales(nodes, constants)
    group = {name: root.get(name, name) for name in order if name in read}
    return Plan(frozenset(edges), group, tuple(name for name in group if name not in moved))


def count_readers(nodes: list[NodeProto]) -> dict[str, int]:
    """How many inputs read each tensor."""
    readers: dict[str, int] = defaultdict(int)
    for node in nodes:
        for name in node.input:
            readers[name] += 1
    return readers


def _quantized_inputs(
    node: NodeProto, producer: Mapping[str, NodeProto], readers: Mapping[str, int]
) -> tuple[int, ...]:
    if node.op_type == "Concat":
        return tuple(range(len(node.input)))
    if node.op_type in ("Conv", "AveragePool") or node.op_type in MOVES:
        return (0,)
    if node.op_type == "Add":
        return (skip_operand(node, producer, readers),)
    return ()


def skip_operand(node: NodeProto, producer: Mapping[str, NodeProto], readers: Mapping[str, int]) -> int:
    """Which operand of a residual Add does not come straight out of the kernel that the Add fuses into."""

    def straight(name: str) -> bool:
        return readers[name] == 1 and name in producer and producer[name].op_type in ("Conv", "Mul", "Add")

    return 1 if straight(node.input[0]) else 0


def _shared_scales(nodes: list[NodeProto], constants: set[str]) -> dict[str, str]:
    """``{tensor: group}`` for the tensors that moving operators join."""
    members: dict[str, set[str]] = {}
    for node in nodes:
        if node.op_type in MOVES:
            joined = {name for name in (*node.input, *node.output) if name and name not in constants}
            together = set().union(*(members.get(name, {name}) for name in joined))
            members.update(dict.fromkeys(together, together))
    return {name: min(together) for name, together in members.items()}


def insert(model: onnx.ModelProto, chosen: Plan, scales: Mapping[str, float]) -> onnx.ModelProto:
    """A copy of the float ``model`` with the pairs of the plan and every convolution's weights in INT8.

    Args:
        model: the graph that was planned.
        chosen: the plan.
        scales: real value of one step of each group.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    nodes, weights = list(graph.node), {item.name: item for item in graph.initializer}
    for index, slot in chosen.edges:
        nodes[index].input[slot] += "_dq"
    placed: list[NodeProto] = []
    for name in (item.name for item in graph.input):
        placed += _pair(graph, name, chosen, scales)
    for node in nodes:
        if node.op_type == "Conv":
            placed += _weights(graph, node, weights)
        placed.append(node)
        for name in node.output:
            placed += _pair(graph, name, chosen, scales)
    del graph.node[:]
    graph.node.extend(placed)
    _drop_unused(graph)
    onnx.checker.check_model(result)
    return result


def _pair(graph: onnx.GraphProto, name: str, chosen: Plan, scales: Mapping[str, float]) -> Iterator[NodeProto]:
    if name not in chosen.group:
        return
    scale = _add(graph, f"{name}_scale", np.asarray(scales[chosen.group[name]], np.float32))
    zero = _add(graph, f"{name}_zero", np.asarray(0, np.int8))
    yield helper.make_node("QuantizeLinear", [name, scale, zero], [f"{name}_q"], name=f"{name}_Q")
    yield helper.make_node("DequantizeLinear", [f"{name}_q", scale, zero], [f"{name}_dq"], name=f"{name}_DQ")


def _weights(graph: onnx.GraphProto, conv: NodeProto, weights: Mapping[str, onnx.TensorProto]) -> Iterator[NodeProto]:
    """Pair on the kernel, per output channel. It stays float, already rounded: TensorRT 8 takes no int8 constant."""
    name = conv.input[1]
    conv.input[1] = f"{name}_dq"
    kernel = numpy_helper.to_array(weights[name])
    step = weight_scales(kernel)
    steps = step.reshape(-1, *[1] * (kernel.ndim - 1))
    weights[name].CopyFrom(numpy_helper.from_array(np.rint(kernel / steps) * steps, name))
    scale = _add(graph, f"{name}_scale", step)
    zero = _add(graph, f"{name}_zero", np.zeros(len(step), np.int8))
    for kind, source, target in (("Quantize", name, f"{name}_q"), ("Dequantize", f"{name}_q", f"{name}_dq")):
        yield helper.make_node(f"{kind}Linear", [source, scale, zero], [target], name=f"{name}_{kind[0]}Q", axis=0)


def weight_scales(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """(out, in / groups, k, k) -> (out,) steps that just reach the largest weight of each output channel."""
    return round_up(np.abs(kernel).reshape(len(kernel), -1).max(axis=1) / LEVELS)


def round_up(steps: NDArray[np.floating]) -> NDArray[np.float32]:
    """The next steps that float16 can hold, so that both flavours use the same grid."""
    wanted = np.maximum(np.asarray(steps, np.float64), SMALLEST_SCALE)
    half = wanted.astype(np.float16)
    return np.where(half < wanted, np.nextafter(half, np.float16(np.inf)), half).astype(np.float32)


def _add(graph: onnx.GraphProto, name: str, value: NDArray[np.generic]) -> str:
    graph.initializer.append(numpy_helper.from_array(value, name))
    return name


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [item for item in graph.initializer if item.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
