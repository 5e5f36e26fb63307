"""A small ONNX interpreter in PyTorch, on any of its devices: the operators of the jetson target's graphs only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor
from torch.nn import functional

TYPES = {onnx.TensorProto.FLOAT: torch.float32, onnx.TensorProto.FLOAT16: torch.float16}


def run(model: onnx.ModelProto, feed: Mapping[str, Tensor]) -> list[Tensor]:
    """The outputs of ``model``, on the device of its inputs; no TensorFloat-32."""
    graph, device = model.graph, next(iter(feed.values())).device
    values = dict(feed)
    for item in graph.initializer:
        values[item.name] = tensor(item, device)
    with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
        for node in graph.node:
            given = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
            inputs = [values[name] if name else None for name in node.input]
            if node.op_type == "Constant":
                values[node.output[0]] = tensor(given["value"], device)
            else:
                values[node.output[0]] = OPERATORS[node.op_type](*inputs, **given)
    return [values[item.name] for item in graph.output]


def tensor(item: onnx.TensorProto, device: torch.device) -> Tensor:
    return torch.from_numpy(np.array(onnx.numpy_helper.to_array(item))).to(device)


def symmetric(pads: list[int]) -> list[int]:
    half = len(pads) // 2
    assert pads[:half] == pads[half:], pads
    return pads[:half]


def conv(x: Tensor, weight: Tensor, bias: Tensor | None = None, **given: Any) -> Tensor:
    pads = symmetric(given.get("pads", [0, 0, 0, 0]))
    strides, dilations = given.get("strides", [1, 1]), given.get("dilations", [1, 1])
    return functional.conv2d(x, weight, bias, strides, pads, dilations, given.get("group", 1))


def per_axis(x: Tensor, steps: Tensor, axis: int) -> Tensor:
    return steps.reshape([-1 if i == axis else 1 for i in range(x.ndim)]) if steps.ndim else steps


def quantize(x: Tensor, step: Tensor, zero: Tensor, axis: int = 1) -> Tensor:
    assert zero.dtype == torch.int8
    return (x / per_axis(x, step, axis)).round().add(per_axis(x, zero, axis)).clamp(-128, 127).to(torch.int8)


def dequantize(x: Tensor, step: Tensor, zero: Tensor, axis: int = 1) -> Tensor:
    assert x.dtype == zero.dtype == torch.int8
    return (x.to(step.dtype) - per_axis(x, zero, axis)) * per_axis(x, step, axis)


def cut(x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor, steps: Tensor | None = None) -> Tensor:
    assert steps is None or bool((steps == 1).all())
    for start, end, axis in zip(starts.tolist(), ends.tolist(), axes.tolist(), strict=True):
        x = x.narrow(axis, start, min(end, x.shape[axis]) - start)
    return x


def pool(function: Callable[..., Tensor], x: Tensor, extra: dict[str, Any], **given: Any) -> Tensor:
    assert not given.get("ceil_mode")
    assert set(given.get("dilations", [1])) == {1}
    return function(x, given["kernel_shape"], given["strides"], symmetric(given["pads"]), **extra)


def resize(x: Tensor, roi: Tensor | None, scales: Tensor, **given: Any) -> Tensor:
    kind = (given["mode"], given["coordinate_transformation_mode"], given["nearest_mode"])
    assert kind == (b"nearest", b"asymmetric", b"floor")
    for axis, scale in enumerate(scales.tolist()):
        assert scale == int(scale)
        x = x.repeat_interleave(int(scale), axis)
    return x


def pad(x: Tensor, pads: Tensor, value: Tensor) -> Tensor:
    before, after = pads.reshape(2, -1).tolist()
    both = [size for pair in zip(before, after, strict=True) for size in pair[::-1]]
    return functional.pad(x, both[::-1], value=float(value))


OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Add": torch.add,
    "AveragePool": lambda x, **given: pool(
        functional.avg_pool2d, x, {"count_include_pad": bool(given["count_include_pad"])}, **given
    ),
    "Cast": lambda x, to: x.to(TYPES[to]),
    "Concat": lambda *parts, axis: torch.cat(parts, axis),
    "Conv": conv,
    "DequantizeLinear": dequantize,
    "Gather": lambda x, index, axis: x.index_select(axis, index),
    "MaxPool": lambda x, **given: pool(functional.max_pool2d, x, {}, **given),
    "Mul": torch.mul,
    "Pad": pad,
    "QuantizeLinear": quantize,
    "Reshape": lambda x, shape: x.reshape(shape.tolist()),
    "Resize": resize,
    "Round": torch.round,
    "Sigmoid": torch.sigmoid,
    "Slice": cut,
    "Transpose": lambda x, perm: x.permute(perm),
}
