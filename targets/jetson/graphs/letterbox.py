"""Compile side: the letterbox as ONNX, with the numbers of :class:`edge_yolov9.geometry.Letterbox` within a grey level.

Each axis is a weighted sum of a few taps, which TensorRT does with gathers and one fused pointwise kernel: two taps
where the frame is enlarged (OpenCV's INTER_LINEAR), the pixels under each output pixel where it shrinks (INTER_AREA).
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from edge_yolov9.geometry import PAD_VALUE, Letterbox

from ..names import FRAME

OPSET = 17
IR_VERSION = 8


def taps(source: int, target: int, area: bool) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """How ``source`` pixels become ``target`` pixels along one axis: indices and weights, both (taps, target)."""
    scale, places = source / target, np.arange(target)
    if area:
        starts, count = np.floor(places * scale + 1e-9).astype(np.int64), int(np.ceil(scale)) + 1
        index = starts + np.arange(count)[:, None]
        overlap = np.minimum((places + 1) * scale, index + 1) - np.maximum(places * scale, index)
        weight = np.clip(overlap, 0, None)
        weight[index >= source] = 0
    else:
        centre = (places + 0.5) * scale - 0.5
        index = np.floor(centre).astype(np.int64) + np.arange(2)[:, None]
        weight = np.stack([1 - (centre - np.floor(centre)), centre - np.floor(centre)])
    weight = weight / weight.sum(axis=0)
    keep = (weight > 1e-6).any(axis=1)
    return np.clip(index, 0, source - 1)[keep], weight[keep].astype(np.float32)


class _Builder:
    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def resample(self, tensor: str, axis: int, source: int, target: int, area: bool) -> str:
        """One axis of (3, height, width)."""
        total = ""
        for step, (index, weight) in enumerate(zip(*taps(source, target, area), strict=True)):
            name = f"axis{axis}_tap{step}"
            shape = (1, target, 1) if axis == 1 else (1, 1, target)
            rows = self.node("Gather", [tensor, self.constant(f"{name}_index", index)], name, axis=axis)
            part = self.node("Mul", [rows, self.constant(f"{name}_weight", weight.reshape(shape))], f"{name}_part")
            total = self.node("Add", [total, part], f"{name}_sum") if total else part
        return total


def build(frame_size: tuple[int, int], input_size: tuple[int, int], output: str) -> onnx.ModelProto:
    """``frame`` (H, W, 3) uint8 BGR -> ``output`` (1, 3, height, width) float32 RGB in [0, 1], letterboxed.

    Args:
        frame_size: (H, W), pixels.
        input_size: (height, width) of the model's input, pixels.
        output: name of the model's input.
    """
    placed = Letterbox.fit(frame_size, input_size)
    (h, w), (height, width), (rows, columns) = frame_size, input_size, placed.resized
    make = _Builder()
    tensor = make.node("Cast", [FRAME], "pixels", to=TensorProto.FLOAT)
    tensor = make.node("Transpose", [tensor], "planes", perm=[2, 0, 1])
    tensor = make.node("Gather", [tensor, make.constant("rgb_order", np.array([2, 1, 0]))], "rgb", axis=0)
    if placed.resized != frame_size:
        area = rows * columns < h * w
        tensor = make.resample(tensor, 1, h, rows, area)
        tensor = make.node("Round", [make.resample(tensor, 2, w, columns, area)], "whole")
    below, right = height - rows - placed.top, width - columns - placed.left
    if (rows, columns) != input_size:
        edges = make.constant("edges", np.array([0, placed.top, placed.left, 0, below, right]))
        grey = make.constant("grey", np.array(PAD_VALUE, np.float32))
        tensor = make.node("Pad", [tensor, edges, grey], "padded")
    tensor = make.node("Mul", [tensor, make.constant("scaling", np.array(1 / 255, np.float32))], "scaled")
    make.node("Reshape", [tensor, make.constant("shape", np.array([1, 3, height, width]))], output)
    graph = helper.make_graph(
        make.nodes,
        "letterbox",
        [helper.make_tensor_value_info(FRAME, TensorProto.UINT8, [h, w, 3])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, 3, height, width])],
        make.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model
