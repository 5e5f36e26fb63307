"""Compile side: which operators of a float graph NVIDIA documents for the DLA, and what must be refused.

By "DLA Supported Layers and Restrictions" of the TensorRT guide and the operator table of
github.com/NVIDIA/Deep-Learning-Accelerator-SW. Untested on hardware; on the device TensorRT itself has the last word
about every layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx
from onnx import NodeProto, numpy_helper

from edge_yolov9.errors import TargetError

NATIVE = frozenset(
    {"Conv", "Sigmoid", "Mul", "Add", "Concat", "Slice", "Split", "Clip", "Relu", "MaxPool", "AveragePool"}
)
"""Operators that run there; Split becomes slices."""

LARGEST = 8192
"""Of every dimension but the batch."""


def check(precision: str, board: Mapping[str, Any]) -> None:
    """Refuse what cannot run on a DLA at all.

    Raises:
        TargetError: the board has no DLA, or the precision does not run on it.
    """
    if not board.get("dla_cores"):
        able = "orin-nx, agx-orin, xavier-nx, agx-xavier"
        raise TargetError(f"{board.get('name', 'this board')} has no DLA that TensorRT supports; --dla takes {able}")
    if precision != "fp16":
        raise TargetError(
            f"--dla takes --precision fp16, not {precision}: the DLA does not compute in FP32, and explicit INT8 "
            "quantization, which is what this compiler makes, is not supported there"
        )


def assign(model: onnx.ModelProto, precision: str, board: Mapping[str, Any]) -> dict[str, Any]:
    """Where each operator goes, by the documentation: ``{"dla": count, "gpu": {operator: reason}}``.

    Raises:
        TargetError: as for :func:`check`.
    """
    check(precision, board)
    shapes = {
        item.name: [d.dim_value for d in item.type.tensor_type.shape.dim]
        for item in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
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
    kernel, strides = attributes.get("kernel_shape", [1]), attributes.get("strides", [1])
    if any(side > LARGEST for name in node.output for side in shapes.get(name, [])[1:]):
        return f"a dimension is over {LARGEST}"
    if node.op_type == "Conv" and (max(kernel) > 32 or max(strides) > 8):
        return "kernels go up to 32 and strides up to 8"
    if node.op_type in ("MaxPool", "AveragePool") and (max(kernel) > 8 or max(strides) > 16):
        return "pooling windows go up to 8 and strides up to 16"
    if node.op_type == "AveragePool" and not attributes.get("count_include_pad") and any(attributes.get("pads", [0])):
        return "average pooling that leaves the padding out is not supported"
    if node.op_type == "Resize":
        return _resize(node, attributes, constants)
    return "" if node.op_type in NATIVE else f"{node.op_type} is not in NVIDIA's list"


def _resize(node: NodeProto, attributes: Mapping[str, Any], constants: Mapping[str, Any]) -> str:
    """Nearest neighbour by whole factors up to 32, with the rounding that the DLA has."""
    scales = constants.get(node.input[2]) if len(node.input) > 2 else None
    if attributes.get("mode", b"nearest") != b"nearest":
        return "only nearest-neighbour resizing is taken here"
    if scales is None or len(scales) != 4 or any(scale != int(scale) or not 1 <= scale <= 32 for scale in scales):
        return "resize factors must be four whole numbers from 1 to 32"
    return ""
