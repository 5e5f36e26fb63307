"""Compile side: what a graph will cost on a board. Which convolutions run INT8, where a tensor changes its type or
scale, and a roofline: per convolution the larger of arithmetic at peak rate and memory traffic at full bandwidth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, numpy_helper

from edge_yolov9.compiler.quantization.rules import MOVES
from edge_yolov9.registry import Board

from ..board import JetsonBoard

MEMORY_BOUND = MOVES | {"AveragePool"}
"""Operators that read and write memory and compute next to nothing."""

UNKNOWN = "unknown: its profile has no {} rate"


class Layers:
    """Questions about a float or Q/DQ graph."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = onnx.shape_inference.infer_shapes(model).graph
        self.nodes: list[NodeProto] = list(graph.node)
        self.weights = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
        self.producer = {name: node for node in self.nodes for name in node.output}
        shapes = (*graph.value_info, *graph.input, *graph.output)
        self.size = {item.name: int(np.prod([d.dim_value for d in item.type.tensor_type.shape.dim])) for item in shapes}
        self.readers: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def pair(self, tensor: str) -> NodeProto | None:
        """The DequantizeLinear that makes a tensor, if one does."""
        node = self.producer.get(tensor)
        return node if node is not None and node.op_type == "DequantizeLinear" else None

    def scale(self, tensor: str) -> float | None:
        """Step of the pair that ends in a tensor; None for a float one."""
        pair = self.pair(tensor)
        return None if pair is None else float(self.weights[pair.input[1]])

    def result(self, conv: NodeProto) -> str:
        """What leaves a convolution's fused kernel: its output, or that of the activation behind it."""
        readers = self.readers.get(conv.output[0], [])
        products = [node for node in readers if node.op_type in ("Mul", "HardSwish", "Clip", "Relu")]
        return str(products[0].output[0]) if products else str(conv.output[0])

    def quantized(self, tensor: str) -> bool:
        """Whether anything reads the tensor as INT8."""
        return any(node.op_type == "QuantizeLinear" for node in self.readers.get(tensor, []))

    def convolutions(self) -> list[dict[str, Any]]:
        """Per convolution its name, whether it is INT8, multiply-accumulates, and values read and written."""
        listed = []
        for node in self.nodes:
            if node.op_type != "Conv":
                continue
            weight, result = self._kernel(node.input[1]), self.result(node)
            listed.append({
                "name": node.input[1].removesuffix("_dq").removesuffix(".weight"),
                "precision": "int8" if self.pair(node.input[0]) and self.pair(node.input[1]) else "float",
                "macs": self.size[node.output[0]] * weight.size // len(weight),
                "read": self.size[node.input[0]],
                "weights": int(weight.size),
                "written": self.size[result],
                "writes_int8": self.quantized(result),
            })  # fmt: skip
        return listed

    def _kernel(self, tensor: str) -> NDArray[Any]:
        pair = self.pair(tensor)
        return np.asarray(self.weights[tensor if pair is None else self.producer[pair.input[0]].input[0]])

    def moves(self) -> list[tuple[int, bool]]:
        """Per operator of MEMORY_BOUND: values read and written, and whether they are INT8."""
        listed = []
        for node in self.nodes:
            if node.op_type in MEMORY_BOUND:
                inputs = node.input if node.op_type == "Concat" else node.input[:1]
                count = sum(self.size[name] for name in (*inputs, *node.output))
                listed.append((count, all(self.pair(name) for name in inputs)))
        return listed

    def reformats(self) -> dict[str, int]:
        """Places where TensorRT must change type or scale: operands of Concat and other moves whose step is not the
        operator's own, and operands of Add that are float besides the one that comes straight from a kernel."""
        places: Counter[str] = Counter()
        for node in self.nodes:
            if node.op_type in MOVES:
                steps = [self.scale(name) for name in (node.input if node.op_type == "Concat" else node.input[:1])]
                after = [
                    float(self.weights[reader.input[1]])
                    for name in node.output
                    for reader in self.readers.get(name, [])
                    if reader.op_type == "QuantizeLinear"
                ]
                own = after[0] if after else steps[0]
                places[node.op_type] += sum(step != own for step in (*steps, *after))
            elif node.op_type == "Add":
                places["Add"] += max(0, sum(self.scale(name) is None for name in node.input) - 1)
        return {name: places[name] for name in ("Concat", "Add", *sorted(set(places) - {"Concat", "Add"}))}


def describe(model: onnx.ModelProto, precision: str, boards: Mapping[str, Board]) -> dict[str, Any]:
    """Figures for the manifest, without the list of convolutions (:meth:`Layers.convolutions`).

    Args:
        model: the bundle's portable graph.
        precision: int8, fp16 or fp32.
        boards: every board of the target; those that take the precision get an estimate.
    """
    layers = Layers(model)
    convolutions = layers.convolutions()
    figures: dict[str, Any] = {
        "convolutions": len(convolutions),
        "gmacs": round(sum(c["macs"] for c in convolutions) / 1e9, 3),
    }
    if precision == "int8":
        left = [conv["name"] for conv in convolutions if conv["precision"] != "int8"]
        figures |= {
            "int8": len(convolutions) - len(left),
            "float": left or "none",
            "reformat_points": layers.reformats(),
        }
    able = {name: board.own(JetsonBoard) for name, board in boards.items() if precision in board.precisions}
    unknown = UNKNOWN.format(precision.upper())
    figures["estimated_ms"] = {name: roofline(layers, precision, board) or unknown for name, board in able.items()}
    return figures


def roofline(layers: Layers, precision: str, board: JetsonBoard) -> float | None:
    """Milliseconds per frame: an estimate to compare boards and precisions by; None where a rate is not published.

    Every tensor counts as memory traffic, though a small one may stay in the GPU's cache; launches cost nothing.
    """
    rates = {"int8": board.int8_tops or 0.0, "fp16": board.fp16_tflops}
    if not rates.get(precision):
        return None
    bandwidth, plain = board.bandwidth_gbs * 1e9, 2
    seconds = 0.0
    for conv in layers.convolutions():
        int8 = conv["precision"] == "int8"
        rate = rates["int8" if int8 else "fp16"] * 1e12
        traffic = (conv["read"] + conv["weights"]) * (1 if int8 else plain)
        traffic += conv["written"] * (1 if conv["writes_int8"] else plain)
        seconds += max(2 * conv["macs"] / rate, traffic / bandwidth)
    seconds += sum(count * (1 if int8 else plain) / bandwidth for count, int8 in layers.moves())
    return float(f"{seconds * 1e3:.3g}")
