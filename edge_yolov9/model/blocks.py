"""The computational blocks of GELAN. Every map is (B, C, H, W); every activation is SiLU
until :func:`activate` puts another in its place.

Attribute names say what a part does. Where the published checkpoints call a part otherwise, the block's
``published_names`` gives their name, so that one walk over the modules maps every key (see ``published.py``).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_yolov9.variants import ElanPlan

ACTIVATIONS: dict[str, type[nn.SiLU | nn.Hardswish | nn.ReLU6]] = {
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
    "relu6": nn.ReLU6,
}


def activate(model: nn.Module, name: str) -> None:
    """Put the activation ``name``, a key of ``ACTIVATIONS``, in the place of every SiLU of ``model``."""
    for module in list(model.modules()):
        for attribute, child in list(module.named_children()):
            if isinstance(child, nn.SiLU):
                setattr(module, attribute, ACTIVATIONS[name](inplace=True))


class Conv(nn.Module):
    """Convolution without bias, "same" padding, BatchNorm, SiLU."""

    def __init__(self, cin: int, cout: int, k: int = 1, s: int = 1, groups: int = 1, act: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, k, s, k // 2, groups=groups, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(cout, eps=1e-3, momentum=0.03)
        self.act: nn.Module = nn.SiLU(inplace=True) if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))  # type: ignore[no-any-return]


class RepConv(nn.Module):
    """Two branches in training, one 3x3 convolution after folding: SiLU(BN(conv3x3) + BN(conv1x1))."""

    published_names = {"conv3": "conv1", "conv1": "conv2"}

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.conv3 = Conv(cin, cout, 3, act=False)
        self.conv1 = Conv(cin, cout, 1, act=False)
        self.act = nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.conv3(x) + self.conv1(x))  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """x + Conv3x3(RepConv(x)), equal widths throughout."""

    published_names = {"rep": "cv1", "conv": "cv2"}

    def __init__(self, width: int) -> None:
        super().__init__()
        self.rep: nn.Module = RepConv(width, width)
        self.conv = Conv(width, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(self.rep(x))  # type: ignore[no-any-return]


class CSP(nn.Module):
    """Half of the channels go through ``depth`` bottlenecks, half past them."""

    published_names = {"through": "cv1", "past": "cv2", "merge": "cv3", "blocks": "m"}

    def __init__(self, cin: int, cout: int, depth: int) -> None:
        super().__init__()
        hidden = cout // 2
        self.through = Conv(cin, hidden)
        self.past = Conv(cin, hidden)
        self.merge = Conv(2 * hidden, cout)
        self.blocks = nn.Sequential(*(Bottleneck(hidden) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        return self.merge(torch.cat((self.blocks(self.through(x)), self.past(x)), 1))  # type: ignore[no-any-return]


class Residual(nn.Module):
    """x + Conv3x3(Conv(x)), equal widths at both ends: ResNet's block, or Darknet's with a narrow 1x1 in front."""

    def __init__(self, width: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.first = Conv(width, hidden, kernel)
        self.second = Conv(hidden, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))  # type: ignore[no-any-return]


SINGLE: dict[str, Callable[[int], nn.Module]] = {
    "conv": lambda width: Conv(width, width, 3),
    "res": lambda width: Residual(width, width, 3),
    "dark": lambda width: Residual(width, width // 2, 1),
}
"""Blocks other than CSP, by the width that goes in and comes out."""


def chain(cin: int, cout: int, plan: ElanPlan) -> list[nn.Module]:
    """``plan.depth`` blocks in a row; where the widths differ, a 1x1 convolution comes before all but CSP."""
    if plan.block == "csp":
        return [CSP(cin, cout, plan.depth)]
    fit = [] if cin == cout or not plan.depth else [Conv(cin, cout)]
    return [*fit, *(SINGLE[plan.block](cout) for _ in range(plan.depth))]


class ELAN(nn.Module):
    """Split in two, push one half through a chain of stages, concatenate everything that was seen on the way.

    With convolutions as stages this is ELAN; GELAN lets any block stand there, CSP in the published models.
    """

    def __init__(self, cin: int, plan: ElanPlan) -> None:
        super().__init__()
        half = plan.hidden // 2
        self.entry = Conv(cin, plan.hidden)
        widths = [half] + [plan.stage] * plan.stages
        self.stages = nn.ModuleList(self._stage(a, b, plan) for a, b in itertools.pairwise(widths))
        self.exit = Conv(plan.hidden + plan.stage * plan.stages, plan.out)
        names = {f"stages.{i}": f"cv{i + 2}" for i in range(plan.stages)}
        self.published_names = {"entry": "cv1", **names, "exit": f"cv{plan.stages + 2}"}

    @staticmethod
    def _stage(cin: int, cout: int, plan: ElanPlan) -> nn.Module:
        blocks = chain(cin, cout, plan)
        return nn.Sequential(*blocks, Conv(cout, cout, 3)) if blocks else Conv(cin, cout, 3)

    def forward(self, x: Tensor) -> Tensor:
        seen = list(self.entry(x).chunk(2, 1))
        for stage in self.stages:
            seen.append(stage(seen[-1]))
        return self.exit(torch.cat(seen, 1))  # type: ignore[no-any-return]


class AConv(nn.Module):
    """Halve the size: average over 2x2, then Conv3x3 with stride 2."""

    published_names = {"conv": "cv1"}

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.conv = Conv(cin, cout, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.avg_pool2d(x, 2, 1))  # type: ignore[no-any-return]


class ADown(nn.Module):
    """Halve the size: average over 2x2, then half of the channels by Conv3x3 and half by max pooling and Conv1x1."""

    published_names = {"conv3": "cv1", "conv1": "cv2"}

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.conv3 = Conv(cin // 2, cout // 2, 3, 2)
        self.conv1 = Conv(cin // 2, cout // 2)

    def forward(self, x: Tensor) -> Tensor:
        a, b = F.avg_pool2d(x, 2, 1).chunk(2, 1)
        return torch.cat((self.conv3(a), self.conv1(F.max_pool2d(b, 3, 2, 1))), 1)


class SPPELAN(nn.Module):
    """A chain of three 5x5 max pools between two 1x1 convolutions; all four stations are concatenated."""

    published_names = {"entry": "cv1", "exit": "cv5"}

    def __init__(self, cin: int, cout: int, hidden: int) -> None:
        super().__init__()
        self.entry = Conv(cin, hidden)
        self.exit = Conv(4 * hidden, cout)

    def forward(self, x: Tensor) -> Tensor:
        seen = [self.entry(x)]
        for _ in range(3):
            seen.append(F.max_pool2d(seen[-1], 5, 1, 2))
        return self.exit(torch.cat(seen, 1))  # type: ignore[no-any-return]


class CBLinear(nn.Module):
    """One biased 1x1 convolution whose output is split into ``widths``: what this feature tells each finer level."""

    def __init__(self, cin: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.widths = list(widths)
        self.conv = nn.Conv2d(cin, sum(widths), 1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.conv(x).split(self.widths, 1)  # type: ignore[no-any-return]


def cb_fuse(x: Tensor, others: Sequence[Tensor]) -> Tensor:
    """Resize ``others`` to the size of ``x`` by nearest neighbour and add them all to it."""
    for other in others:
        x = x + F.interpolate(other, size=x.shape[2:], mode="nearest")
    return x
