"""From folded heads to a float32 ``.tflite`` file, in shapes that LiteRT runs well.

Four exact rewrites of a copy of the model come before the conversion:

* The first convolution takes BGR pixels from 0 to 255: its weights are flipped and divided by 255. Zero padding is
  black before and after, so the border does not change.
* A 3x3 convolution with stride 2 and one pixel of padding on an even-sized map becomes 4x4 with a last row and column
  of zeros. That is "same" padding in TFLite; the original would need a PAD of the whole map first.
* The 2x2 mean becomes a depthwise convolution: LiteRT runs an int8 AVERAGE_POOL_2D on one thread and splits the
  graph at it.
* Maps are NHWC at the border, so that no transpose remains.
"""

from __future__ import annotations

import copy
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_yolov9.compiler.job import OUTPUT_NAMES
from edge_yolov9.model import RawHeads
from edge_yolov9.model.blocks import AConv, ADown, CBLinear


class _Mean(nn.Module):
    """Average over 2x2, stride 1, as a depthwise convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 2, groups=width, bias=False)
        self.conv.weight = nn.Parameter(torch.full((width, 1, 2, 2), 0.25))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)  # type: ignore[no-any-return]


class _AConv(nn.Module):
    """AConv with a depthwise mean."""

    def __init__(self, like: AConv, width: int) -> None:
        super().__init__()
        self.mean = _Mean(width)
        self.conv = like.conv

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.mean(x))  # type: ignore[no-any-return]


class LoweredADown(nn.Module):
    """ADown with a depthwise mean."""

    def __init__(self, like: ADown, width: int) -> None:
        super().__init__()
        self.mean = _Mean(width)
        self.conv3, self.conv1 = like.conv3, like.conv1

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.mean(x).chunk(2, 1)
        return torch.cat((self.conv3(a), self.conv1(F.max_pool2d(b, 3, 2, 1))), 1)


class LoweredCBLinear(nn.Module):
    """CBLinear whose parts are slices: the converter fails on a split into one part."""

    def __init__(self, like: CBLinear) -> None:
        super().__init__()
        self.widths, self.conv = like.widths, like.conv

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x, starts = self.conv(x), accumulate(self.widths, initial=0)
        return tuple(x.narrow(1, start, width) for start, width in zip(starts, self.widths, strict=False))


class _Border(nn.Module):
    """``images`` (1, H, W, 3) BGR in [0, 255] -> the six raw tensors by name, each (1, H/s, W/s, C)."""

    def __init__(self, heads: RawHeads) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        raw = self.heads(images.permute(0, 3, 1, 2))
        return {name: tensor.permute(0, 2, 3, 1) for name, tensor in zip(OUTPUT_NAMES, raw, strict=True)}


def lower(heads: RawHeads, input_size: tuple[int, int]) -> nn.Module:
    """A new module, ``images`` (1, H, W, 3) BGR in [0, 255] -> ``{name: (1, H/s, W/s, C)}``; ``heads`` stays."""
    copied = copy.deepcopy(heads).eval()
    _replace(copied, _input_shapes(copied, input_size))
    for module in copied.modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == 3:
            module.weight.data = module.weight.data.flip(1) / 255
    for module in copied.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):  # the converter wants fresh leaves
            setattr(module, name, nn.Parameter(parameter.detach().clone(), requires_grad=False))
    return _Border(copied).eval()


def ungrouped(heads: RawHeads) -> RawHeads:
    """A new module that computes the same, its grouped convolutions dense with zeros off the diagonal.

    TFLite gives convolutions with groups a version that old compilers refuse. Depthwise ones are another operator.
    """
    copied = copy.deepcopy(heads).eval()
    for parent in list(copied.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d) and 1 < child.groups < child.in_channels:
                setattr(parent, name, without_groups(child))
    return copied


def convert(heads: RawHeads, input_size: tuple[int, int], path: Path) -> None:
    """Write the lowered float32 model; its signature names ``images`` and OUTPUT_NAMES."""
    import litert_torch
    from litert_torch import progress

    progress.config.show_progress = False
    example = torch.zeros(1, *input_size, 3)
    litert_torch.convert(lower(heads, input_size), sample_kwargs={"images": example}).export(str(path))


def _input_shapes(heads: RawHeads, input_size: tuple[int, int]) -> dict[nn.Module, tuple[int, ...]]:
    """Input shape (B, C, H, W) of every module whose rewriting depends on it."""
    seen: dict[nn.Module, tuple[int, ...]] = {}
    hooks = [
        module.register_forward_pre_hook(lambda module, given: seen.update({module: tuple(given[0].shape)}))
        for module in heads.modules()
        if isinstance(module, (AConv, ADown, nn.Conv2d))
    ]
    with torch.inference_mode():
        heads(torch.zeros(1, 3, *input_size))
    for hook in hooks:
        hook.remove()
    return seen


def _replace(module: nn.Module, shapes: dict[nn.Module, tuple[int, ...]]) -> None:
    for name, child in list(module.named_children()):
        _replace(child, shapes)
        if isinstance(child, AConv):
            setattr(module, name, _AConv(child, shapes[child][1]))
        elif isinstance(child, ADown):
            setattr(module, name, LoweredADown(child, shapes[child][1]))
        elif isinstance(child, CBLinear):
            setattr(module, name, LoweredCBLinear(child))
        elif isinstance(child, nn.Conv2d) and _needs_pad(child, shapes[child]):
            setattr(module, name, _widened(child))


def _needs_pad(conv: nn.Conv2d, shape: tuple[int, ...]) -> bool:
    geometry = (conv.kernel_size, conv.stride, conv.padding)
    return geometry == ((3, 3), (2, 2), (1, 1)) and shape[2] % 2 == 0 and shape[3] % 2 == 0


def _widened(conv: nn.Conv2d) -> nn.Conv2d:
    """``conv`` with a 4x4 kernel whose last row and column are zero."""
    wide = nn.Conv2d(conv.in_channels, conv.out_channels, 4, 2, 1, groups=conv.groups)
    wide.weight = nn.Parameter(F.pad(conv.weight.detach(), (0, 1, 0, 1)))
    wide.bias = conv.bias
    return wide


def without_groups(conv: nn.Conv2d) -> nn.Conv2d:
    """``conv`` without groups: the kernel is zero between them."""
    dense = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation)  # type: ignore[arg-type]
    weight = torch.zeros_like(dense.weight)
    for rows, columns, part in zip(
        weight.chunk(conv.groups),
        range(0, conv.in_channels, conv.weight.shape[1]),
        conv.weight.detach().chunk(conv.groups),
        strict=True,
    ):
        rows[:, columns : columns + part.shape[1]] = part
    dense.weight = nn.Parameter(weight)
    dense.bias = conv.bias
    return dense
