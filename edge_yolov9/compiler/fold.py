"""Fold BatchNorm and RepConv into plain convolutions.

    W' = W * gamma / sqrt(var + eps)        b' = beta - mean * gamma / sqrt(var + eps)

A RepConv becomes one 3x3 convolution: both branches folded, the 1x1 kernel padded to 3x3, kernels and biases added.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_yolov9.model import YOLOv9
from edge_yolov9.model.blocks import Conv, RepConv


def fold(model: YOLOv9) -> YOLOv9:
    """A new model in eval mode without BatchNorm and with RepConv merged; outputs agree to float32 rounding."""
    folded = copy.deepcopy(model).eval()
    _fold_children(folded)
    return folded


def _fold_children(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, RepConv):
            setattr(module, name, _merge(child))
        elif isinstance(child, Conv) and isinstance(child.bn, nn.BatchNorm2d):
            setattr(module, name, nn.Sequential(_convolution(child.conv, *_scaled(child)), child.act))
        else:
            _fold_children(child)


def _scaled(block: Conv) -> tuple[Tensor, Tensor]:
    """Kernel (out, in / groups, k, k) and bias (out,) of a convolution with its BatchNorm, in float64."""
    bn, weight = block.bn, block.conv.weight.detach().double()
    assert isinstance(bn, nn.BatchNorm2d)
    assert bn.running_var is not None
    assert bn.running_mean is not None
    gain = bn.weight.detach().double() / torch.sqrt(bn.running_var.double() + bn.eps)
    return weight * gain[:, None, None, None], bn.bias.detach().double() - bn.running_mean.double() * gain


def _merge(block: RepConv) -> nn.Sequential:
    (w3, b3), (w1, b1) = _scaled(block.conv3), _scaled(block.conv1)
    return nn.Sequential(_convolution(block.conv3.conv, w3 + F.pad(w1, (1, 1, 1, 1)), b3 + b1), block.act)


def _convolution(like: nn.Conv2d, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """A biased convolution with the geometry of ``like``."""
    conv = copy.deepcopy(like)
    conv.weight = nn.Parameter(weight.to(like.weight.dtype), requires_grad=False)
    conv.bias = nn.Parameter(bias.to(like.weight.dtype), requires_grad=False)
    return conv
