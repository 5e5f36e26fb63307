"""The operators that the INT8 rules cover, in PyTorch: a folded graph that gradients can flow through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor
from torch.nn import functional as F

Operator = Callable[..., Any]
"""Takes the inputs of a node (None where one is left out) and its attributes; gives one tensor, or one per output."""


def run(model: onnx.ModelProto, feed: Mapping[str, Tensor], operators: Mapping[str, Operator]) -> list[Tensor]:
    """The outputs of ``model``, on the device of ``feed``.

    Args:
        model: operators in topological order.
        feed: inputs, and whatever initializers shall have another value.
        operators: by type.
    """
    graph, device = model.graph, next(iter(feed.values())).device
    values = {item.name: _tensor(item, device) for item in graph.initializer if item.name not in feed} | dict(feed)
    for node in graph.node:
        attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        if node.op_type == "Constant":
            values[node.output[0]] = _tensor(attributes["value"], device)
            continue
        result = operators[node.op_type](*(values[name] if name else None for name in node.input), **attributes)
        values |= zip(node.output, [result] if isinstance(result, Tensor) else result, strict=True)
    return [values[item.name] for item in graph.output]


def _tensor(item: onnx.TensorProto, device: torch.device) -> Tensor:
    return torch.from_numpy(np.array(onnx.numpy_helper.to_array(item))).to(device)


def _both_sides(pads: list[int]) -> list[int]:
    half = len(pads) // 2
    assert pads[:half] == pads[half:], pads
    return pads[:half]


def _conv(x: Tensor, weight: Tensor, bias: Tensor | None = None, **attributes: Any) -> Tensor:
    pads = _both_sides(attributes.get("pads", [0, 0, 0, 0]))
    strides, dilations = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    return F.conv2d(x, weight, bias, strides, pads, dilations, attributes.get("group", 1))


def _slice(x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor, steps: Tensor | None = None) -> Tensor:
    assert steps is None or bool((steps == 1).all())
    for start, end, axis in zip(starts.tolist(), ends.tolist(), axes.tolist(), strict=True):
        first, last, _ = slice(start, end).indices(x.shape[axis])
        x = x.narrow(axis, first, last - first)
    return x


def _split(x: Tensor, sizes: Tensor | None = None, axis: int = 0, num_outputs: int = 2) -> tuple[Tensor, ...]:
    return torch.split(x, sizes.tolist() if sizes is not None else -(-x.shape[axis] // num_outputs), axis)


def _pool(function: Operator, x: Tensor, **attributes: Any) -> Tensor:
    assert not attributes.get("ceil_mode")
    assert set(attributes.get("dilations", [1])) == {1}
    extra = {"count_include_pad": bool(attributes["count_include_pad"])} if "count_include_pad" in attributes else {}
    pooled: Tensor = function(
        x, attributes["kernel_shape"], attributes["strides"], _both_sides(attributes["pads"]), **extra
    )
    return pooled


def _resize(x: Tensor, _: Tensor | None, scales: Tensor, **attributes: Any) -> Tensor:
    kind = (attributes["mode"], attributes["coordinate_transformation_mode"], attributes["nearest_mode"])
    assert kind == (b"nearest", b"asymmetric", b"floor"), kind
    for axis, scale in enumerate(scales.tolist()):
        assert scale == int(scale), scales
        x = x.repeat_interleave(int(scale), axis)
    return x


OPERATORS: dict[str, Operator] = {
    "Add": torch.add,
    "AveragePool": lambda x, **attributes: _pool(F.avg_pool2d, x, **attributes),
    "Clip": lambda x, low, high: x.clamp(float(low), float(high)),
    "Concat": lambda *parts, axis: torch.cat(parts, axis),
    "Conv": _conv,
    "HardSigmoid": lambda x, alpha=0.2, beta=0.5: (alpha * x + beta).clamp(0, 1),
    "HardSwish": F.hardswish,
    "MaxPool": lambda x, **attributes: _pool(F.max_pool2d, x, **attributes),
    "Mul": torch.mul,
    "Resize": _resize,
    "Sigmoid": torch.sigmoid,
    "Slice": _slice,
    "Split": _split,
}
