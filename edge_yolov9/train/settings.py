"""Every number of the training recipe, as one value. Defaults: Wang, Yeh, Liao, arXiv 2402.13616, 5.1 and appendix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from edge_yolov9.errors import InputError
from edge_yolov9.variants import GraphOptions

ASSIGNERS = ("own", "lead")
AMP = ("auto", "off", "bf16", "fp16")
RUNTIME = ("workers", "cache", "save_minutes")
"""Settings that may differ between a run and its continuation: they do not change any result."""


def _option(default: Any, text: str) -> Any:
    """A setting: its default, and what it means."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Settings:
    """One training run. Every field is an option of ``edge-yolov9 train`` under its own name.

    Stored in every checkpoint of the run; ``--resume`` refuses others than the run began with.
    """

    model: str = _option(
        "yolov9-t",
        "Training graph ``yolov9-t|s|m|c|e``, or ``gelan-*`` to train without auxiliary branch.",
    )
    auxiliary: str = _option(
        "published",
        "Where the auxiliary head hangs: as ``published``, ``none``, on the backbone itself (``pfh``), on a second "
        "top-down neck (``fpn``), on a reversible second backbone (``icn``).",
    )
    block: str = _option("csp", "Computational block of GELAN, where the published model has CSP.")
    elan_depth: int = _option(2, "Stages of every ELAN.")
    csp_depth: int | None = _option(None, "Blocks in a row in every stage; None: as published for the model.")
    activation: str = _option(
        "silu",
        "After every convolution: ``silu`` as published; ``relu6`` costs less in INT8, ``hardswish`` only on OpenVINO "
        "(docs/int8-speed.md). With ``--pretrained`` a SiLU model is fine-tuned to them.",
    )
    epochs: int = _option(500, "Passes over the training images.")
    imgsz: int = _option(640, "Side of the square network input, pixels, a multiple of 32.")
    batch: int = _option(16, "Images per iteration, summed over all processes.")
    nominal_batch: int = _option(
        64,
        "Gradients of round(nominal_batch / batch) iterations are added up before the optimizer moves.",
    )
    seed: int = _option(0, "Start of the weights, of the data order and of every augmentation.")

    lr: float = _option(0.01, "Learning rate after the warm-up.")
    final_lr: float = _option(0.01, "The rate falls linearly, epoch by epoch, towards this fraction of ``lr``.")
    momentum: float = _option(0.937, "Nesterov momentum of SGD.")
    weight_decay: float = _option(5e-4, "On convolution kernels only; BatchNorm and biases have none.")
    warmup_epochs: float = _option(
        3.0,
        "Per iteration the rate rises from 0 (see ``warmup_bias_lr``) and the momentum from ``warmup_momentum``.",
    )
    warmup_iterations: int = _option(100, "The warm-up has at least this many iterations.")
    warmup_bias_lr: float = _option(0.1, "The rate of biases falls from here instead of rising from 0.")
    warmup_momentum: float = _option(0.8, "Momentum at the first iteration.")
    clip_norm: float = _option(10.0, "Upper limit of the norm of all gradients together.")
    ema_decay: float = _option(0.9999, "Decay of the moving average of the weights after many updates; 0 at the first.")
    ema_updates: float = _option(2000.0, "Updates after which the decay has come to 63 % of ``ema_decay``.")

    mosaic: float = _option(1.0, "Probability that an image is a mosaic of four.")
    close_mosaic: int = _option(
        15,
        "In the last epochs, this many, images are letterboxed only: no mosaic, affine or MixUp.",
    )
    mixup: float = _option(0.15, "Probability that a mosaic is blended with a second one.")
    mixup_beta: float = _option(32.0, "The share of each is drawn from Beta(mixup_beta, mixup_beta).")
    copy_paste: float = _option(
        0.3, "Probability that an object is pasted once more, mirrored, into its image; needs outlines in the labels."
    )
    translate: float = _option(0.1, "Largest shift, as a fraction of the input, either way.")
    scale: float = _option(0.9, "Images are resized by a factor from 1 - scale to 1 + scale.")
    degrees: float = _option(0.0, "Largest rotation, either way.")
    shear: float = _option(0.0, "Largest shear, degrees, either way.")
    hue: float = _option(0.015, "Largest relative change of the hue, either way.")
    saturation: float = _option(0.7, "Largest relative change of the saturation, either way.")
    value: float = _option(0.4, "Largest relative change of the brightness, either way.")
    flip: float = _option(0.5, "Probability of a left-right flip.")

    assign: str = _option(
        "own",
        "Targets of the auxiliary head: by its ``own`` predictions, or those of the main head (``lead``).",
    )
    topk: int = _option(10, "Cells per object that may become positive.")
    alpha: float = _option(0.5, "Exponent of the class score in the alignment of a cell with an object.")
    beta: float = _option(6.0, "Exponent of the CIoU in the alignment.")
    box_gain: float = _option(7.5, "Weight of the CIoU loss.")
    class_gain: float = _option(0.5, "Weight of the class loss (binary cross-entropy).")
    dfl_gain: float = _option(1.5, "Weight of the distribution focal loss.")
    auxiliary_weight: float = _option(0.25, "Weight of the auxiliary head's loss; the main head's is 1.")

    patience: int = _option(100, "Epochs without a better AP after which the run stops; 0 never stops.")
    freeze: int = _option(
        0,
        "Levels of the backbone, from the image on, that keep their weights and statistics: 0 to 5.",
    )
    freeze_bn: bool = _option(
        False,
        "Keep the statistics of every BatchNorm as they are: for fine-tuning with few images per batch.",
    )
    sync_bn: bool = _option(False, "BatchNorm statistics over all processes (GPU only).")
    amp: str = _option(
        "auto",
        "Precision of the forward pass: ``auto`` is bf16 (else fp16) on a GPU and float32 on a CPU.",
    )
    compile: bool = _option(False, "Run the model through ``torch.compile``.")

    workers: int | None = _option(None, "Processes that prepare images; None: none on a CPU, up to 8 on a GPU.")
    cache: bool = _option(True, "Keep decoded images in memory when they fit in half of what is free.")
    save_minutes: float = _option(
        15.0,
        "Save the state inside an epoch when the last saving is this long ago; the end of an epoch always saves.",
    )

    def __post_init__(self) -> None:
        _in_range(self)

    @property
    def graph(self) -> GraphOptions:
        """How the model differs from the published one."""
        return GraphOptions(self.auxiliary, self.block, self.elan_depth, self.csp_depth, self.activation)

    @property
    def accumulate(self) -> int:
        """Iterations per step of the optimizer, after the warm-up."""
        return max(1, round(self.nominal_batch / self.batch))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Settings:
        """The inverse of :meth:`as_dict`; unknown keys are ignored, missing ones take their default."""
        known = {f.name for f in fields(cls)}
        return cls(**{key: value for key, value in data.items() if key in known})

    def differences(self, other: Settings) -> list[str]:
        """``"lr: 0.01 there, 0.02 here"`` for every setting of ``other`` that would change a result."""
        mine, theirs = asdict(self), asdict(other)
        return [
            f"{key}: {mine[key]} there, {theirs[key]} here"
            for key in mine
            if key not in RUNTIME and mine[key] != theirs[key]
        ]


def _in_range(s: Settings) -> None:
    """Raise InputError for the first value that cannot be."""
    for name in ("epochs", "batch", "nominal_batch", "topk"):
        _require(getattr(s, name) >= 1, name, "at least 1", getattr(s, name))
    for name in ("mosaic", "mixup", "copy_paste", "flip", "final_lr", "momentum", "warmup_momentum", "ema_decay"):
        _require(0 <= getattr(s, name) <= 1, name, "between 0 and 1", getattr(s, name))
    for name in ("weight_decay", "warmup_epochs", "warmup_iterations", "warmup_bias_lr", "close_mosaic", "patience"):
        _require(getattr(s, name) >= 0, name, "0 or more", getattr(s, name))
    for name in ("lr", "clip_norm", "mixup_beta", "ema_updates"):
        _require(getattr(s, name) > 0, name, "over 0", getattr(s, name))
    _require(0 <= s.scale < 1, "scale", "0 or more and under 1", s.scale)
    _require(0 <= s.freeze <= 5, "freeze", "0 to 5", s.freeze)
    _require(s.imgsz >= 32 and s.imgsz % 32 == 0, "imgsz", "a positive multiple of 32", s.imgsz)
    if s.model.startswith("gelan-") and s.auxiliary not in ("published", "none"):
        raise InputError(f"{s.model} has no auxiliary branch; for --auxiliary {s.auxiliary} set --model to yolov9-*")
    _ = s.graph  # refuses what no graph can be
    _require(s.assign in ASSIGNERS, "assign", f"one of {', '.join(ASSIGNERS)}", s.assign)
    _require(s.amp in AMP, "amp", f"one of {', '.join(AMP)}", s.amp)


def _require(holds: bool, name: str, expected: str, found: object) -> None:
    if not holds:
        raise InputError(f"--{name.replace('_', '-')} must be {expected}, got {found}")
