"""GELAN backbone, neck and head, and the PGI auxiliary branch that trains them.

image ─> backbone ─> B3 B4 B5 ─> neck ─> P3 P4 P5 ─> head ──────────> main
           │                                                    (deployed)
           └─> auxiliary branch ─> A3 A4 A5 ─> auxiliary head ──> auxiliary
                                                           (training only)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_yolov9.errors import InputError
from edge_yolov9.model.blocks import ELAN, SPPELAN, AConv, ADown, CBLinear, Conv, activate, cb_fuse
from edge_yolov9.model.heads import Head
from edge_yolov9.variants import BackbonePlan, GraphOptions, NeckPlan, Variant, parse_name

Levels = list[Tensor]
"""Maps (B, C, H/s, W/s) from fine to coarse."""

PUBLISHED = GraphOptions()

DOWN: dict[str, type[nn.Module]] = {"aconv": AConv, "adown": ADown}


class Backbone(nn.Module):
    """Five levels of stride 2 to 32. ``links`` adds what an earlier backbone saw to every level it covers."""

    def __init__(self, plan: BackbonePlan) -> None:
        super().__init__()
        stem, second, *rest = plan.reduce
        outs = [second, *(block.out for block in plan.blocks)]  # outs[i] enters reduce[i + 1], for i >= 1
        self.reduce = nn.ModuleList([Conv(3, stem, 3, 2), Conv(stem, second, 3, 2)])
        self.reduce.extend(DOWN[plan.down](cin, cout) for cin, cout in zip(outs[1:], rest, strict=False))
        self.blocks = nn.ModuleList([nn.Identity()])
        self.blocks.extend(ELAN(cin, block) for cin, block in zip(plan.reduce[1:], plan.blocks, strict=True))
        self.widths = [stem, *(block.out for block in plan.blocks)]

    def forward(self, image: Tensor, links: Links | None = None, seen: Levels | None = None) -> Levels:
        added = links(seen) if links is not None and seen is not None else {}
        features: Levels = []
        x = image
        for level, (reduce, block) in enumerate(zip(self.reduce, self.blocks, strict=True)):
            x = block(cb_fuse(reduce(x), added.get(level, [])))
            features.append(x)
        return features


class Links(nn.Module):
    """DHLC links: each level of one backbone, from ``first`` up, tells its own and every finer level of the next."""

    def __init__(self, widths: Sequence[int], plan: BackbonePlan, first: int) -> None:
        super().__init__()
        self.first = first
        self.taps = nn.ModuleList(
            CBLinear(widths[level], plan.reduce[first : level + 1]) for level in range(first, len(widths))
        )

    def forward(self, seen: Levels) -> dict[int, list[Tensor]]:
        """What is to be added at each level of the next backbone."""
        added: dict[int, list[Tensor]] = {}
        for tap, feature in zip(self.taps, seen[self.first :], strict=True):
            for level, part in enumerate(tap(feature), self.first):
                added.setdefault(level, []).append(part)
        return added


class DualBackbone(nn.Module):
    """E: two backbones that both stay in deployment, linked at all five levels."""

    def __init__(self, plan: BackbonePlan) -> None:
        super().__init__()
        self.first = Backbone(plan)
        self.links = Links(self.first.widths, plan, first=0)
        self.second = Backbone(plan)
        self.widths = self.second.widths

    def forward(self, image: Tensor) -> tuple[Levels, Levels]:
        seen = self.first(image)
        return self.second(image, self.links, seen), seen


class TopDown(nn.Module):
    """N5, N4 and the finest level: the upper half of the neck, and the auxiliary neck of T, S and E."""

    def __init__(self, widths: Sequence[int], plan: NeckPlan) -> None:
        super().__init__()
        w3, w4, w5 = widths[-3:]
        n5, hidden = plan.spp
        self.spp = SPPELAN(w5, n5, hidden)
        self.n4 = ELAN(n5 + w4, plan.n4)
        self.p3 = ELAN(plan.n4.out + w3, plan.p3)
        self.widths = [plan.p3.out, plan.n4.out, n5]

    def forward(self, features: Levels) -> Levels:
        b3, b4, b5 = features[-3:]
        n5 = self.spp(b5)
        n4 = self.n4(torch.cat((F.interpolate(n5, scale_factor=2.0, mode="nearest"), b4), 1))
        p3 = self.p3(torch.cat((F.interpolate(n4, scale_factor=2.0, mode="nearest"), b3), 1))
        return [p3, n4, n5]


class Neck(nn.Module):
    """Path aggregation: top-down, then bottom-up."""

    def __init__(self, widths: Sequence[int], plan: NeckPlan, down: str) -> None:
        super().__init__()
        self.top_down = TopDown(widths, plan)
        p3, n4, n5 = self.top_down.widths
        self.down4 = DOWN[down](p3, plan.down4)
        self.p4 = ELAN(plan.down4 + n4, plan.p4)
        self.down5 = DOWN[down](plan.p4.out, plan.down5)
        self.p5 = ELAN(plan.down5 + n5, plan.p5)
        self.widths = [p3, plan.p4.out, plan.p5.out]

    def forward(self, features: Levels) -> Levels:
        p3, n4, n5 = self.top_down(features)
        p4 = self.p4(torch.cat((self.down4(p3), n4), 1))
        p5 = self.p5(torch.cat((self.down5(p4), n5), 1))
        return [p3, p4, p5]


class DeepSupervision(nn.Module):
    """PFH: nothing between the (first) backbone and the auxiliary head."""

    def __init__(self, widths: Sequence[int], variant: Variant, num_classes: int) -> None:
        super().__init__()
        self.head = Head(widths[-3:], num_classes, variant.head)

    def forward(self, image: Tensor, seen: Levels) -> Levels:
        return self.head(seen[-3:])  # type: ignore[no-any-return]


class AuxiliaryNeck(nn.Module):
    """FPN; published for T, S, E: a second top-down path of its own on the (first) backbone."""

    def __init__(self, widths: Sequence[int], variant: Variant, num_classes: int) -> None:
        super().__init__()
        self.neck = TopDown(widths, variant.neck)
        self.head = Head(self.neck.widths, num_classes, variant.head)

    def forward(self, image: Tensor, seen: Levels) -> Levels:
        return self.head(self.neck(seen))  # type: ignore[no-any-return]


class ReversibleBranch(nn.Module):
    """ICN; published for M, C: a second backbone from the image, told by the first what it saw at strides 8, 16, 32."""

    def __init__(self, widths: Sequence[int], variant: Variant, num_classes: int) -> None:
        super().__init__()
        self.links = Links(widths, variant.backbone, first=2)
        self.backbone = Backbone(variant.backbone)
        self.head = Head(self.backbone.widths[-3:], num_classes, variant.head)

    def forward(self, image: Tensor, seen: Levels) -> Levels:
        return self.head(self.backbone(image, self.links, seen)[-3:])  # type: ignore[no-any-return]


Auxiliary = DeepSupervision | AuxiliaryNeck | ReversibleBranch
AUXILIARY: dict[str, type[Auxiliary]] = {"pfh": DeepSupervision, "fpn": AuxiliaryNeck, "icn": ReversibleBranch}


class YOLOv9(nn.Module):
    """A detector of the family; ``auxiliary`` is None in a deployed graph."""

    def __init__(
        self, variant: Variant, num_classes: int, auxiliary: str | None, options: GraphOptions = PUBLISHED
    ) -> None:
        """``auxiliary`` is a key of ``AUXILIARY``; ``options`` are those that made ``variant``."""
        super().__init__()
        self.variant = variant
        self._options = options
        self.num_classes = num_classes
        self.backbone: Backbone | DualBackbone = (
            DualBackbone(variant.backbone) if variant.dual_backbone else Backbone(variant.backbone)
        )
        self.neck = Neck(self.backbone.widths, variant.neck, variant.backbone.down)
        self.head = Head(self.neck.widths, num_classes, variant.head)
        self.auxiliary: Auxiliary | None = None
        if auxiliary is not None:
            self.auxiliary = AUXILIARY[auxiliary](self.backbone.widths, variant, num_classes)
        activate(self, options.activation)

    @property
    def name(self) -> str:
        """``yolov9-t`` with the auxiliary branch, ``gelan-t`` without."""
        return f"{'gelan' if self.auxiliary is None else 'yolov9'}-{self.variant.size}"

    @property
    def options(self) -> GraphOptions:
        """How the graph differs from the published one; without a branch there is none of another kind."""
        return self._options if self.auxiliary is not None else replace(self._options, auxiliary="published")

    def features(self, images: Tensor) -> tuple[Levels, Levels]:
        """Five levels for the neck, and five for the auxiliary branch (the first backbone's)."""
        if isinstance(self.backbone, DualBackbone):
            return self.backbone(images)  # type: ignore[no-any-return]
        seen = self.backbone(images)
        return seen, seen

    def forward(self, images: Tensor) -> tuple[Levels, Levels | None]:
        """Raw maps of the main and of the auxiliary head.

        Args:
            images: (B, 3, H, W) RGB in [0, 1], H and W multiples of 32.

        Returns:
            Two lists of three maps (B, 4*16 + nc, H/s, W/s), P3, P4, P5; the second is None for a deployed graph.
        """
        images = images.contiguous(memory_format=torch.channels_last)  # no slower, and how the recordings were made
        features, seen = self.features(images)
        auxiliary = self.auxiliary(images, seen) if self.auxiliary is not None else None
        return self.head(self.neck(features)), auxiliary


class RawHeads(nn.Module):
    """What is exported: image -> box_p3, class_p3, box_p4, class_p4, box_p5, class_p5, each (B, C, H/s, W/s)."""

    def __init__(self, model: YOLOv9) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features, _ = self.model.features(images)
        pairs = self.model.head.split(self.model.neck(features))
        return tuple(tensor for pair in pairs for tensor in pair)


def build(name: str, num_classes: int = 80, options: GraphOptions = PUBLISHED) -> YOLOv9:
    """A fresh model: ``yolov9-t|s|m|c|e`` for training, ``gelan-*`` for deployment.

    Args:
        name: with ``options.auxiliary == "none"``, ``yolov9-*`` is the same graph as ``gelan-*``.
        num_classes: at least one.
        options: how the graph differs from the published one.

    Raises:
        InputError: unknown name, or fewer than one class.
    """
    if num_classes < 1:
        raise InputError(f"num_classes must be at least 1, got {num_classes}")
    variant, with_auxiliary = parse_name(name)
    kind: str | None = variant.auxiliary if options.auxiliary == "published" else options.auxiliary
    if not with_auxiliary or kind == "none":
        kind = None
    return YOLOv9(options.apply(variant), num_classes, kind, options)
