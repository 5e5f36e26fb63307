"""Where INT8 goes in a float ONNX graph of folded convolutions. A pair is QuantizeLinear and DequantizeLinear.

    every convolution's input    INT8, its weights INT8 per output channel, its bias float (or int32)
    residual Add                 pair on the skip operand only; the other comes straight out of the fused kernel
    concat, slice, max pool, resize   between two pairs of one scale: they only move values, so INT8 is just copied
    average pool                 between two pairs, each with its own scale
    the activation               float between a convolution and the next pair, or, where the scheme says
                                 ``everywhere``, its input and output INT8 too; ReLU6 is part of the convolution

Own scales for the inputs of a concat would cost requantization on the device and bring nothing: on BCCD (YOLOv9-T,
320 px, mean of three range rules; 72 val and 164 other images; float AP .6068 and .6443) one scale per concat gives
AP .6046 and .6441, own scales .6035 and .6433.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, numpy_helper

from edge_yolov9.compiler.quantization.rawmaps import floor_logits
from edge_yolov9.errors import CompileError

MOVES = frozenset({"Concat", "Slice", "Split", "Resize", "MaxPool"})
"""Operators whose outputs hold values of their inputs and nothing else."""

GATES = frozenset({"Sigmoid", "HardSigmoid"})
"""First half of an activation x * gate(x); the other is Mul."""

KNOWN = MOVES | GATES | {"AveragePool", "Conv", "Add", "Mul", "Clip", "HardSwish", "Constant"}

Array = NDArray[np.float32]


@dataclass(frozen=True)
class QuantizationScheme:
    """What a runtime computes INT8 in."""

    symmetric: bool = False
    """Activations are int8 with zero point 0; else any 8-bit zero point."""
    weight_levels: int = 127
    """Largest integer of a weight. 63 where a CPU without VNNI adds two products in 16 bits."""
    everywhere: bool = False
    """Every tensor between two operators is INT8, not only what a convolution or a move reads."""
    outputs: bool = False
    """The raw maps are INT8 too."""
    moves: bool = True
    """Outputs of operators that only move values get a pair of their own, though their inputs have the same one."""
    integers: bool = True
    """Weights are stored as integers; TensorRT 8 takes no int8 constant, there they are rounded floats."""


@dataclass(frozen=True)
class Graph:
    """A float graph and the tensors of it that INT8 touches."""

    model: onnx.ModelProto
    edges: frozenset[tuple[int, int]]
    """(node, input) positions that read a dequantized tensor; a convolution's weights are not among them."""
    group: Mapping[str, str]
    """Each quantized tensor, in graph order, and the name of the group that shares its scale."""
    measured: tuple[str, ...]
    """The quantized tensors whose range must be measured; the others hold values of these."""
    constants: Mapping[str, NDArray[np.generic]]
    inner: Mapping[str, str]
    """Tensors inside an activation (what goes in, the gate) and what comes out of it."""

    @property
    def nodes(self) -> list[NodeProto]:
        """In execution order."""
        return list(self.model.graph.node)

    @property
    def inputs(self) -> list[str]:
        """Names of the graph's inputs."""
        return [item.name for item in self.model.graph.input]

    @property
    def outputs(self) -> list[str]:
        """Names of the raw maps."""
        return [item.name for item in self.model.graph.output]

    @property
    def classes(self) -> list[str]:
        """Names of the raw maps that hold class logits."""
        return self.outputs[1::2]

    @property
    def convolutions(self) -> list[NodeProto]:
        """In execution order."""
        return [node for node in self.nodes if node.op_type == "Conv"]

    def floats(self, floating: frozenset[str]) -> frozenset[str]:
        """The tensors that stay float when the groups ``floating`` do: their members, and the activations' insides."""
        members = {name for name, group in self.group.items() if group in floating}
        return frozenset(members | {name for name, result in self.inner.items() if result in members})


def read(model: onnx.ModelProto, scheme: QuantizationScheme) -> Graph:
    """Apply the rules above.

    Raises:
        CompileError: the graph holds an operator that the rules do not cover.
    """
    nodes = list(model.graph.node)
    if strange := sorted({node.op_type for node in nodes} - KNOWN):
        raise CompileError(f"the INT8 rules cover {', '.join(sorted(KNOWN))}; this graph also has {', '.join(strange)}")
    constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    constants |= {
        node.output[0]: numpy_helper.to_array(node.attribute[0].t) for node in nodes if node.op_type == "Constant"
    }
    readers = count_readers(nodes)
    producer = {name: node for node in nodes for name in node.output}
    edges = {
        (index, slot)
        for index, node in enumerate(nodes)
        for slot in _quantized_inputs(node, producer, readers, scheme)
        if node.input[slot] and node.input[slot] not in constants
    }
    touched = {nodes[index].input[slot] for index, slot in edges}
    if scheme.outputs:
        touched |= {item.name for item in model.graph.output}
    order = [item.name for item in model.graph.input] + [name for node in nodes for name in node.output]
    moved = {name for node in nodes if node.op_type in MOVES for name in node.output}
    root = _shared_scales(nodes, constants)
    group = {name: root.get(name, name) for name in order if name in touched}
    measured = tuple(name for name in group if name not in moved)
    return Graph(model, frozenset(edges), group, measured, constants, _activations(nodes))


def count_readers(nodes: list[NodeProto]) -> dict[str, int]:
    """How many inputs read each tensor."""
    readers: dict[str, int] = defaultdict(int)
    for node in nodes:
        for name in node.input:
            readers[name] += 1
    return readers


def _quantized_inputs(
    node: NodeProto, producer: Mapping[str, NodeProto], readers: Mapping[str, int], scheme: QuantizationScheme
) -> tuple[int, ...]:
    if node.op_type == "Concat" or (scheme.everywhere and node.op_type in ("Add", "Mul")):
        return tuple(range(len(node.input)))
    if node.op_type in ("Conv", "AveragePool") or node.op_type in MOVES:
        return (0,)
    if node.op_type == "Add":
        return (skip_operand(node, producer, readers),)
    return (0,) if scheme.everywhere and node.op_type not in ("Constant", "Clip") else ()


def skip_operand(node: NodeProto, producer: Mapping[str, NodeProto], readers: Mapping[str, int]) -> int:
    """Which operand of a residual Add does not come straight out of the kernel that the Add fuses into."""

    def straight(name: str) -> bool:
        return readers[name] == 1 and name in producer and producer[name].op_type not in MOVES

    return 1 if straight(node.input[0]) else 0


def _shared_scales(nodes: list[NodeProto], constants: Mapping[str, NDArray[np.generic]]) -> dict[str, str]:
    """``{tensor: group}`` for the tensors that moving operators join."""
    members: dict[str, set[str]] = {}
    for node in nodes:
        if node.op_type in MOVES:
            joined = {name for name in (*node.input, *node.output) if name and name not in constants}
            together = set().union(*(members.get(name, {name}) for name in joined))
            members.update(dict.fromkeys(together, together))
    return {name: min(together) for name, together in members.items()}


def _activations(nodes: list[NodeProto]) -> dict[str, str]:
    """``{tensor inside an activation: what comes out of it}``: what goes in, and the gate."""
    gates = {node.output[0]: node.input[0] for node in nodes if node.op_type in GATES}
    inner: dict[str, str] = {}
    for node in nodes:
        if node.op_type == "Mul":
            for name in node.input:
                if name in gates:
                    inner |= {name: node.output[0], gates[name]: node.output[0]}
        elif node.op_type in ("HardSwish", "Clip"):
            inner[node.input[0]] = node.output[0]
    return inner


def activation(graph: Graph, tensor: str) -> Callable[[Array], Array]:
    """The function that turns ``tensor``, which goes into an activation, into what comes out of it."""
    if tensor in graph.classes:
        return floor_logits
    kinds = {node.op_type for node in graph.nodes if tensor in node.input}
    if "Sigmoid" in kinds:
        return lambda x: (x / (1 + np.exp(-np.clip(x, -60, 60)))).astype(np.float32)
    if "Clip" in kinds:
        return lambda x: np.clip(x, 0, 6).astype(np.float32)
    if kinds & {"HardSigmoid", "HardSwish"}:
        return lambda x: (x * np.clip(x / 6 + 0.5, 0, 1)).astype(np.float32)
    return lambda x: x


def slices(graph: Graph, node: NodeProto, channels: int) -> list[slice]:
    """Which input channels each output of a Slice or Split holds."""
    if node.op_type == "Slice":
        start, end = (int(graph.constants[name].ravel()[0]) for name in node.input[1:3])
        return [slice(*slice(start, end).indices(channels))]
    sizes = graph.constants[node.input[1]].tolist() if len(node.input) > 1 else []
    sizes = sizes or [channels // len(node.output)] * len(node.output)
    ends = np.cumsum(sizes)
    return [slice(int(end - size), int(end)) for size, end in zip(sizes, ends, strict=True)]


def widths(graph: Graph) -> dict[str, int]:
    """Channels of every tensor."""
    known = {item.name: item.type.tensor_type.shape.dim[1].dim_value for item in graph.model.graph.input}
    for node in graph.nodes:
        if node.op_type == "Constant":
            continue
        if node.op_type == "Conv":
            width = [len(graph.constants[node.input[1]])]
        elif node.op_type == "Concat":
            width = [sum(known[name] for name in node.input)]
        elif node.op_type in ("Slice", "Split"):
            width = [part.stop - part.start for part in slices(graph, node, known[node.input[0]])]
        else:
            width = [next(known[name] for name in node.input if name in known)]
        known |= dict(zip(node.output, width, strict=True))
    return known
