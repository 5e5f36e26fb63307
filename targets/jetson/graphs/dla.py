"""Compile side: which operators of a float graph NVIDIA documents for the DLA, and what must be refused.

By docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/dla-layer-restrictions.html ("DLA Supported Layers and
Restrictions"), by what TensorRT 8 and 10 say of each layer in NvInfer.h and in their Python docstrings, and by the
operator table of github.com/NVIDIA/Deep-Learning-Accelerator-SW. What holds for Xavier alone is asked of Orin too.
Untested on hardware; on the device TensorRT itself has the last word about every layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx
from onnx import NodeProto, numpy_helper

from edge_yolov9.errors import TargetError
from edge_yolov9.registry import Board

from ..board import JetsonBoard

NATIVE = frozenset(
    {"Conv", "Sigmoid", "Mul", "Add", "Concat", "Slice", "Split", "Clip", "Relu", "MaxPool", "AveragePool"}
)
"""Operators that run there; Split becomes slices."""

LARGEST = 8192
"""Largest size of every dimension but the batch."""

LIMITS: dict[str, dict[str, tuple[int, int]]] = {
    "Conv": {"kernel_shape": (1, 32), "strides": (1, 8), "pads": (0, 31), "dilations": (1, 32)},
    "MaxPool": {"kernel_shape": (1, 8), "strides": (1, 16), "pads": (0, 7), "dilations": (1, 1)},
    "AveragePool": {"kernel_shape": (1, 8), "strides": (1, 16), "pads": (0, 7)},
}
"""Limits of the DLA for IConvolutionLayer and IPoolingLayer, which has no dilation."""

TITLES = {"kernel_shape": "windows", "strides": "strides", "pads": "paddings", "dilations": "dilations"}

ROUNDINGS = (
    (b"asymmetric", b"floor"),
    (b"half_pixel", b"round_prefer_floor"),
    (b"half_pixel", b"round_prefer_ceil"),
)
"""Rounding modes that the DLA has for IResizeLayer; TensorRT calls the last two HALF_DOWN and HALF_UP."""


def check(precision: str, board: Board) -> None:
    """Refuse what cannot run on a DLA at all.

    Raises:
        TargetError: the board has no DLA, or the precision does not run on it.
    """
    if not board.own(JetsonBoard).dla_cores:
        able = "orin-nx, agx-orin, xavier-nx, agx-xavier"
        raise TargetError(f"{board.name} has no DLA that TensorRT supports; --dla takes {able}")
    if precision != "fp16":
        raise TargetError(
            f"--dla takes --precision fp16, not {precision}: the DLA does not compute in FP32, and explicit INT8 "
            "quantization, which is what this compiler makes, is not supported there"
        )


def assign(model: onnx.ModelProto, precision: str, board: Board) -> dict[str, Any]:
    """Where each operator goes, by the documentation: ``{"dla": count, "gpu": {operator: reason}}``.

    Raises:
        TargetError: as for :func:`check`.
    """
    check(precision, board)
    graph = onnx.shape_inference.infer_shapes(model).graph
    tensors = (*graph.input, *graph.value_info, *graph.output)
    shapes = {item.name: [d.dim_value for d in item.type.tensor_type.shape.dim] for item in tensors}
    constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    constants |= {
        node.output[0]: numpy_helper.to_array(node.attribute[0].t)
        for node in model.graph.node
        if node.op_type == "Constant"
    }
    gpu: dict[str, str] = {}
    count = 0
    for node in model.graph.node:
        if node.op_type == "Constant":
            continue
        reason = _refused(node, shapes, constants)
        if reason:
            gpu[node.name] = reason
        else:
            count += 1
    return {"tested": "never on hardware", "dla": count, "gpu": gpu}


def _refused(node: NodeProto, shapes: Mapping[str, list[int]], constants: Mapping[str, Any]) -> str:
    """Why an operator cannot run on the DLA; "" when it can."""
    attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    if any(side > LARGEST for name in (*node.input, *node.output) for side in shapes.get(name, [])[1:]):
        return f"a dimension is over {LARGEST}"
    limits = LIMITS.get(node.op_type, {})
    for name, (least, most) in limits.items():
        if any(not least <= value <= most for value in attributes.get(name, [])):
            return f"{TITLES[name]} of {node.op_type} go from {least} to {most}"
    if node.op_type == "AveragePool" and not attributes.get("count_include_pad") and any(attributes.get("pads", [0])):
        return "average pooling that leaves the padding out is not supported on Xavier"
    if node.op_type == "Concat" and attributes.get("axis") != 1:
        return "concatenation is along the channels only"
    if node.op_type == "Slice":
        return _slice(node, constants)
    if node.op_type == "Resize":
        return _resize(node, attributes, constants)
    return "" if node.op_type in NATIVE else f"{node.op_type} is not in NVIDIA's list"


def _slice(node: NodeProto, constants: Mapping[str, Any]) -> str:
    """ISliceLayer: constant, in steps of one, and not along the batch; inputs are data, starts, ends, axes, steps."""
    given = [constants[name] for name in node.input[1:] if name in constants]
    if len(given) < max(3, len(node.input) - 1):
        return "slices must be constant and name their axes"
    if 0 in given[2] or any(step != 1 for steps in given[3:] for step in steps):
        return "slices are in steps of 1 and not along the batch"
    return ""


def _resize(node: NodeProto, attributes: Mapping[str, Any], constants: Mapping[str, Any]) -> str:
    """IResizeLayer: nearest neighbour by whole factors from 1 to 32 of height and width, with the DLA's rounding."""
    if attributes.get("mode", b"nearest") != b"nearest":
        return "only nearest-neighbour resizing is taken here"
    rounding = (
        attributes.get("coordinate_transformation_mode", b"half_pixel"),
        attributes.get("nearest_mode", b"round_prefer_floor"),
    )
    if rounding not in ROUNDINGS:
        return "nearest-neighbour resizing has another rounding there"
    scales = list(constants.get(node.input[2], ())) if len(node.input) > 2 else []
    if len(scales) != 4 or scales[:2] != [1, 1] or not all(scale in range(1, 33) for scale in scales):
        return "resize factors must be 1, 1 and two whole numbers from 1 to 32"
    return ""
