"""The decoupled, anchor-free detection head."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edge_yolov9.model.blocks import Conv
from edge_yolov9.variants import REG_MAX, STRIDES

GROUPS = {"published": 4, "dense": 1}
"""Kind of head (``variants.HEADS``) -> groups of the box branch's last two convolutions."""


def branch_widths(p3_width: int, num_classes: int, kind: str = "published") -> tuple[int, int]:
    """Hidden widths of the box branch (a multiple of 4, for its groups) and of the class branch."""
    box = max(p3_width // 4, 4 * REG_MAX, 16)
    widest = min(num_classes, 100) if kind == "dense" else min(2 * num_classes, 128)
    return math.ceil(box / 4) * 4, max(p3_width, widest)


class Head(nn.Module):
    """Raw maps of three levels. ``widths`` are the channels of P3, P4, P5; ``kind`` is one of ``variants.HEADS``."""

    def __init__(self, widths: Sequence[int], num_classes: int, kind: str = "published") -> None:
        super().__init__()
        self.num_classes = num_classes
        box, cls = branch_widths(widths[0], num_classes, kind)
        groups = GROUPS[kind]
        self.box = nn.ModuleList(
            nn.Sequential(
                Conv(w, box, 3), Conv(box, box, 3, groups=groups), nn.Conv2d(box, 4 * REG_MAX, 1, groups=groups)
            )
            for w in widths
        )
        self.cls = nn.ModuleList(
            nn.Sequential(Conv(w, cls, 3), Conv(cls, cls, 3), nn.Conv2d(cls, num_classes, 1)) for w in widths
        )
        self._start_biases()

    def _start_biases(self) -> None:
        """Boxes start two and a half bins wide; about five objects are expected on a 640 x 640 image."""
        for box, cls, stride in zip(self.box, self.cls, STRIDES, strict=True):
            nn.init.constant_(box.get_parameter("2.bias"), 1.0)
            nn.init.constant_(cls.get_parameter("2.bias"), math.log(5 / self.num_classes / (640 / stride) ** 2))

    def split(self, features: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Per level the box bins (B, 4*16, H/s, W/s) and the class logits (B, nc, H/s, W/s), apart."""
        return [(box(f), cls(f)) for box, cls, f in zip(self.box, self.cls, features, strict=True)]

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Per level box bins and class logits in one map (B, 4*16 + nc, H/s, W/s)."""
        return [torch.cat(pair, 1) for pair in self.split(features)]
