"""What a graph costs: parameters, and floating-point operations of one image."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

PUBLISHED_SIZE = (640, 640)
"""(height, width) at which the published tables count."""


def parameters(model: nn.Module) -> int:
    """Number of learned values, BatchNorm's running statistics apart."""
    return sum(parameter.numel() for parameter in model.parameters())


def gflops(model: nn.Module, input_size: tuple[int, int] = PUBLISHED_SIZE) -> float:
    """Billions of operations for one image of ``input_size`` (height, width), at 2 per multiply-add of a convolution.

    The neck's upsampling counts 2 per output value, as layer-wise counters have it (without it E comes to 188.9, not
    to the published 189.0); the links' resizing, activations, pooling and normalization count nothing. Nothing is
    computed: the shapes are traced on torch's meta device.
    """
    state = {name: value.to("meta") for name, value in (*model.named_parameters(), *model.named_buffers())}
    images = torch.empty(2, 3, *input_size, device="meta")  # two, because BatchNorm in training mode refuses one
    counter = _Counter()  # type: ignore[no-untyped-call]
    with torch.no_grad(), counter:
        functional_call(model, state, (images,))
    return 2 * counter.multiply_adds / len(images) / 1e9


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operation of torch while it is active."""

    multiply_adds = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        aten = torch.ops.aten
        if func is aten.convolution.default:
            self.multiply_adds += out.numel() * args[1][0].numel()
        elif func is aten.upsample_nearest2d.default and len(args) > 2:  # by a factor; links resize to a size
            self.multiply_adds += out.numel()
        return out
