"""What the jetson target's graphs have beyond the INT8 rules, for the package's interpreter, on any PyTorch device."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import torch
from torch import Tensor
from torch.nn import functional

from edge_yolov9.compiler.quantization import interpret

TYPES = {onnx.TensorProto.FLOAT: torch.float32, onnx.TensorProto.FLOAT16: torch.float16}


def run(model: onnx.ModelProto, feed: Mapping[str, Tensor]) -> list[Tensor]:
    """The outputs of ``model``, on the device of its inputs; no TensorFloat-32."""
    with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
        return interpret.run(model, feed, OPERATORS)


def per_axis(x: Tensor, steps: Tensor, axis: int) -> Tensor:
    return steps.reshape([-1 if i == axis else 1 for i in range(x.ndim)]) if steps.ndim else steps


def quantize(x: Tensor, step: Tensor, zero: Tensor, axis: int = 1) -> Tensor:
    assert zero.dtype == torch.int8
    return (x / per_axis(x, step, axis)).round().add(per_axis(x, zero, axis)).clamp(-128, 127).to(torch.int8)


def dequantize(x: Tensor, step: Tensor, zero: Tensor, axis: int = 1) -> Tensor:
    assert x.dtype == zero.dtype == torch.int8
    return (x.to(step.dtype) - per_axis(x, zero, axis)) * per_axis(x, step, axis)


def pad(x: Tensor, pads: Tensor, value: Tensor) -> Tensor:
    before, after = pads.reshape(2, -1).tolist()
    both = [size for pair in zip(before, after, strict=True) for size in pair[::-1]]
    return functional.pad(x, both[::-1], value=float(value))


OPERATORS: dict[str, interpret.Operator] = interpret.OPERATORS | {
    "Cast": lambda x, to: x.to(TYPES[to]),
    "DequantizeLinear": dequantize,
    "Gather": lambda x, index, axis: x.index_select(axis, index),
    "Pad": pad,
    "QuantizeLinear": quantize,
    "Reshape": lambda x, shape: x.reshape(shape.tolist()),
    "Round": torch.round,
    "Transpose": lambda x, perm: x.permute(perm),
}
