"""The published YOLOv9 family as data: T, S, M, C and E, with and without the PGI auxiliary branch.

Source: Wang, Yeh, Liao, arXiv 2402.13616. Widths are channels. ``yolov9-*`` names the training graph
(main + auxiliary branch), ``gelan-*`` the deployed one. No torch here: the tables are read on the device too.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from edge_yolov9.errors import InputError

REG_MAX = 16
"""Bins of the distribution over each box side."""

STRIDES = (8, 16, 32)
"""Pixels per cell of P3, P4, P5."""

Block = Literal["conv", "res", "dark", "csp"]
Down = Literal["aconv", "adown"]
AuxiliaryKind = Literal["pfh", "fpn", "icn"]

BLOCKS = ("csp", "conv", "res", "dark")
"""Blocks that may stand where ELAN had convolutions (paper, table 2)."""

AUXILIARIES = ("published", "none", "pfh", "fpn", "icn")
"""Features that the auxiliary head may hang on (paper, table 4); ``published`` is the variant's own."""

ACTIVATIONS = ("silu", "hardswish", "relu6")
"""Activations that may follow every convolution but the heads' last; the published models have SiLU, the others cost
less in INT8."""

HEADS = ("published", "dense")
"""The detection head: as published, whose box branch has 4 groups, or with a dense box branch, as Ultralytics builds
YOLOv9. They differ in the width of the class branch too, see ``model/heads.py``."""

MAX_DEPTH = 16
"""Largest depth of an ELAN and of a CSP block; the paper's table 3 goes to 4."""


@dataclass(frozen=True)
class ElanPlan:
    """One (CSP-)ELAN: output width, width after the entry convolution, stage width, blocks in a row, their kind.

    ``depth`` is the CSP depth where the blocks are CSP; ``stages`` is the ELAN depth. Every stage ends in a Conv3x3.
    """

    out: int
    hidden: int
    stage: int
    depth: int
    block: Block = "csp"
    stages: int = 2


@dataclass(frozen=True)
class BackbonePlan:
    """Five levels of stride 2, 4, 8, 16, 32: ``reduce[i]`` halves the size, then ``blocks[i]`` (none at level 0)."""

    reduce: tuple[int, int, int, int, int]
    blocks: tuple[ElanPlan, ElanPlan, ElanPlan, ElanPlan]
    down: Down


@dataclass(frozen=True)
class NeckPlan:
    """Top-down path N5, N4, P3, then bottom-up P4, P5 (the two ``down`` widths come before them)."""

    spp: tuple[int, int]
    n4: ElanPlan
    p3: ElanPlan
    down4: int
    p4: ElanPlan
    down5: int
    p5: ElanPlan


@dataclass(frozen=True)
class Published:
    """Figures of the reference, deployed graph."""

    params: float
    """Parameters, millions."""
    gflops: float
    """Billions of operations at 640 x 640 pixels."""
    ap: float
    """AP on COCO val2017 at 640 x 640 pixels, points."""


@dataclass(frozen=True)
class Variant:
    """One size of the family.

    ``auxiliary`` says what the auxiliary head of the published training graph hangs on: ``fpn``, a second top-down
    neck, or ``icn``, a reversible second backbone linked by CBLinear/CBFuse (``pfh``, the backbone itself, was only
    studied). ``dual_backbone`` marks E, which deploys both backbones.
    """

    size: str
    backbone: BackbonePlan
    neck: NeckPlan
    auxiliary: AuxiliaryKind
    published: Published
    dual_backbone: bool = False
    head: str = "published"
    """One of ``HEADS``."""

    @property
    def identity_offset(self) -> int:
        """1 where the published training graph starts with an identity layer."""
        return 1 if self.auxiliary == "icn" or self.dual_backbone else 0


@dataclass(frozen=True)
class GraphOptions:
    """How a graph differs from the published one: the ablations of the paper's tables 2 to 5, and the
    activation. Defaults: not at all."""

    auxiliary: str = "published"
    """One of ``AUXILIARIES``; of the training graph only."""
    block: str = "csp"
    """One of ``BLOCKS``, in place of every CSP block."""
    elan_depth: int = 2
    """Stages of every ELAN."""
    csp_depth: int | None = None
    """Blocks in a row within a stage; None: 3 in T and S, 1 in M and C, 2 in E."""
    activation: str = "silu"
    """One of ``ACTIVATIONS``."""
    head: str = "published"
    """One of ``HEADS``; of the auxiliary head too."""

    def __post_init__(self) -> None:
        choices = {"auxiliary": AUXILIARIES, "block": BLOCKS, "activation": ACTIVATIONS, "head": HEADS}
        for name, known in choices.items():
            if (value := getattr(self, name)) not in known:
                raise InputError(f"unknown {name} {value!r}; expected one of {', '.join(known)}")
        depths = (self.elan_depth, 1 if self.csp_depth is None else self.csp_depth)
        if not all(type(depth) is int and 1 <= depth <= MAX_DEPTH for depth in depths):
            raise InputError(f"ELAN and CSP depth must be 1 to {MAX_DEPTH}, got {depths[0]} and {depths[1]}")

    def changed(self) -> dict[str, Any]:
        """The options that differ from the published graph."""
        mine, published = asdict(self), asdict(GraphOptions())
        return {key: value for key, value in mine.items() if value != published[key]}

    def elan(self, plan: ElanPlan) -> ElanPlan:
        """One ELAN of the published plan, as these options have it."""
        plan = replace(plan, stages=self.elan_depth)
        if plan.block != "csp":
            return plan
        block: Block = self.block  # type: ignore[assignment]
        return replace(plan, block=block, depth=self.csp_depth or plan.depth)

    def apply(self, variant: Variant) -> Variant:
        """The variant with every plan as these options have it."""
        first, b3, b4, b5 = (self.elan(plan) for plan in variant.backbone.blocks)
        neck = variant.neck
        n4, p3, p4, p5 = (self.elan(plan) for plan in (neck.n4, neck.p3, neck.p4, neck.p5))
        return replace(
            variant,
            backbone=replace(variant.backbone, blocks=(first, b3, b4, b5)),
            neck=replace(neck, n4=n4, p3=p3, p4=p4, p5=p5),
            head=self.head,
        )


def _tiny(w: int, published: Published, size: str) -> Variant:
    """T (``w = 1``) and S (``w = 2``) share one plan."""
    b3, b4, b5 = (ElanPlan(c * w, c * w, c * w // 2, 3) for c in (64, 96, 128))
    stem = ElanPlan(32 * w, 32 * w, 16 * w, 0, "conv")
    backbone = BackbonePlan((16 * w, 32 * w, 64 * w, 96 * w, 128 * w), (stem, b3, b4, b5), "aconv")
    neck = NeckPlan((128 * w, 64 * w), b4, b3, 48 * w, b4, 64 * w, b5)
    return Variant(size, backbone, neck, "fpn", published)


def _medium() -> Variant:
    stem, b3, b4, b5 = (ElanPlan(c, c, c // 2, 1) for c in (128, 240, 360, 480))
    backbone = BackbonePlan((32, 64, 240, 360, 480), (stem, b3, b4, b5), "aconv")
    # 184, not 180: the published checkpoint rounds this one width up to a multiple of 8.
    neck = NeckPlan((480, 240), b4, b3, 184, b4, 240, b5)
    return Variant("m", backbone, neck, "icn", Published(20.0, 76.3, 51.4))


def _compact() -> Variant:
    stem, b3 = ElanPlan(256, 128, 64, 1), ElanPlan(512, 256, 128, 1)
    wide = ElanPlan(512, 512, 256, 1)
    backbone = BackbonePlan((64, 128, 256, 512, 512), (stem, b3, wide, wide), "adown")
    neck = NeckPlan((512, 256), wide, ElanPlan(256, 256, 128, 1), 256, wide, 512, wide)
    return Variant("c", backbone, neck, "icn", Published(25.3, 102.1, 53.0))


def _extended() -> Variant:
    stem, b3 = ElanPlan(256, 128, 64, 2), ElanPlan(512, 256, 128, 2)
    wide = ElanPlan(1024, 512, 256, 2)
    backbone = BackbonePlan((64, 128, 256, 512, 1024), (stem, b3, wide, wide), "adown")
    n4 = ElanPlan(512, 512, 256, 2)
    neck = NeckPlan((512, 256), n4, ElanPlan(256, 256, 128, 2), 256, n4, 512, ElanPlan(512, 1024, 512, 2))
    return Variant("e", backbone, neck, "fpn", Published(57.3, 189.0, 55.6), dual_backbone=True)


VARIANTS: dict[str, Variant] = {
    "t": _tiny(1, Published(2.0, 7.7, 38.3), "t"),
    "s": _tiny(2, Published(7.1, 26.4, 46.8), "s"),
    "m": _medium(),
    "c": _compact(),
    "e": _extended(),
}


def parse_name(name: str) -> tuple[Variant, bool]:
    """``"yolov9-t"`` -> (variant T, True); ``"gelan-t"`` -> (variant T, False). The flag says "with auxiliary branch".

    Raises:
        InputError: the name is not one of the ten known ones.
    """
    family, _, size = name.partition("-")
    if family not in ("yolov9", "gelan") or size not in VARIANTS:
        known = ", ".join(f"{f}-{s}" for f in ("yolov9", "gelan") for s in VARIANTS)
        raise InputError(f"unknown model {name!r}; expected one of {known}")
    return VARIANTS[size], family == "yolov9"
