"""Every number of the training recipe, as one value. Defaults: Wang, Yeh, Liao, arXiv 2402.13616, 5.1 and appendix."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from edge_yolov9.errors import InputError
from edge_yolov9.variants import ACTIVATIONS, AUXILIARIES, BLOCKS, HEADS, GraphOptions

RUNTIME = ("workers", "cache", "save_minutes")
"""Settings that may differ between a run and its continuation: they do not change any result."""


Bound = tuple[str, Callable[[Any], bool]]
"""What a value must be, in words and as a test."""


def _option(default: Any, text: str, bound: Bound | None = None, choices: Sequence[str] = ()) -> Any:
    """A setting: its default, what it means, and the values that it takes."""
    if choices:
        bound = f"one of {', '.join(choices)}", lambda value: value in choices
    return field(default=default, metadata={"help": text, "bound": bound, "choices": choices})


def at_least(least: float) -> Bound:
    """``least`` or more."""
    return f"{least:g} or more", lambda value: value >= least


AT_LEAST_1 = at_least(1)
NOT_NEGATIVE = at_least(0)
POSITIVE: Bound = ("over 0", lambda value: value > 0)
FRACTION: Bound = ("between 0 and 1", lambda value: 0 <= value <= 1)


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
        choices=AUXILIARIES,
    )
    block: str = _option("csp", "Computational block of GELAN, where the published model has CSP.", choices=BLOCKS)
    elan_depth: int = _option(2, "Stages of every ELAN.")
    csp_depth: int | None = _option(None, "Blocks in a row in every stage; None: as published for the model.")
    activation: str = _option(
        "silu",
        "Activation after every convolution: ``silu`` as published; ``relu6`` costs less in INT8, ``hardswish`` only "
        "on OpenVINO (docs/int8-speed.md). With ``--pretrained`` a SiLU model is fine-tuned to them.",
        choices=ACTIVATIONS,
    )
    head: str = _option(
        "auto",
        "Detection head: as ``published``, or with a ``dense`` box branch as Ultralytics builds YOLOv9; ``auto`` is "
        "that of ``--pretrained``, else published.",
        choices=("auto", *HEADS),
    )
    epochs: int = _option(500, "Passes over the training images.", AT_LEAST_1)
    imgsz: int = _option(
        640,
        "Side of the square network input, pixels, a multiple of 32.",
        ("a positive multiple of 32", lambda side: side >= 32 and side % 32 == 0),
    )
    batch: int = _option(16, "Images per iteration, summed over all processes.", AT_LEAST_1)
    nominal_batch: int = _option(
        64,
        "Images per step of the optimizer: gradients of round(nominal_batch / batch) iterations are added up.",
        AT_LEAST_1,
    )
    seed: int = _option(0, "Start of the weights, of the data order and of every augmentation.")

    lr: float = _option(0.01, "Learning rate after the warm-up.", POSITIVE)
    final_lr: float = _option(
        0.01, "Fraction of ``lr`` towards which the rate falls linearly, epoch by epoch.", FRACTION
    )
    momentum: float = _option(0.937, "Nesterov momentum of SGD.", FRACTION)
    weight_decay: float = _option(
        5e-4, "Weight decay of convolution kernels; BatchNorm and biases have none.", NOT_NEGATIVE
    )
    warmup_epochs: float = _option(
        3.0,
        "Epochs of the warm-up, in which the rate rises from 0 (see ``warmup_bias_lr``) and the momentum from "
        "``warmup_momentum``, iteration by iteration.",
        NOT_NEGATIVE,
    )
    warmup_iterations: int = _option(100, "Least iterations of the warm-up.", NOT_NEGATIVE)
    warmup_bias_lr: float = _option(
        0.1, "Rate of biases at the first iteration: it falls from here instead of rising from 0.", NOT_NEGATIVE
    )
    warmup_momentum: float = _option(0.8, "Momentum at the first iteration.", FRACTION)
    clip_norm: float = _option(10.0, "Upper limit of the norm of all gradients together.", POSITIVE)
    ema_decay: float = _option(
        0.9999, "Decay of the moving average of the weights after many updates; 0 at the first.", FRACTION
    )
    ema_updates: float = _option(2000.0, "Updates after which the decay has come to 63 % of ``ema_decay``.", POSITIVE)

    mosaic: float = _option(1.0, "Probability that an image is a mosaic of four.", FRACTION)
    close_mosaic: int = _option(
        15, "Last epochs in which images are letterboxed only: no mosaic, affine or MixUp.", NOT_NEGATIVE
    )
    mixup: float = _option(0.15, "Probability that a mosaic is blended with a second one.", FRACTION)
    mixup_beta: float = _option(
        32.0, "Parameter of MixUp: the share of each image is drawn from Beta(mixup_beta, mixup_beta).", POSITIVE
    )
    copy_paste: float = _option(
        0.3,
        "Probability that an object is pasted once more, mirrored, into its image; needs outlines in the labels.",
        FRACTION,
    )
    translate: float = _option(0.1, "Largest shift, as a fraction of the input, either way.")
    scale: float = _option(
        0.9,
        "Largest change of size: images are resized by a factor from 1 - scale to 1 + scale.",
        ("0 or more and under 1", lambda scale: 0 <= scale < 1),
    )
    degrees: float = _option(0.0, "Largest rotation, degrees, either way.")
    shear: float = _option(0.0, "Largest shear, degrees, either way.")
    hue: float = _option(0.015, "Largest relative change of the hue, either way.")
    saturation: float = _option(0.7, "Largest relative change of the saturation, either way.")
    value: float = _option(0.4, "Largest relative change of the brightness, either way.")
    flip: float = _option(0.5, "Probability of a left-right flip.", FRACTION)

    assign: str = _option(
        "own",
        "Targets of the auxiliary head: by its ``own`` predictions, or those of the main head (``lead``).",
        choices=("own", "lead"),
    )
    topk: int = _option(10, "Cells per object that may become positive.", AT_LEAST_1)
    alpha: float = _option(0.5, "Exponent of the class score in the alignment of a cell with an object.")
    beta: float = _option(6.0, "Exponent of the CIoU in the alignment.")
    box_gain: float = _option(7.5, "Weight of the CIoU loss.")
    class_gain: float = _option(0.5, "Weight of the class loss (binary cross-entropy).")
    dfl_gain: float = _option(1.5, "Weight of the distribution focal loss.")
    auxiliary_weight: float = _option(0.25, "Weight of the auxiliary head's loss; the main head's is 1.")

    patience: int = _option(100, "Epochs without a better AP after which the run stops; 0 never stops.", NOT_NEGATIVE)
    freeze: int = _option(
        0,
        "Levels of the backbone, from the image on, that keep their weights and statistics: 0 to 5.",
        ("0 to 5", lambda levels: 0 <= levels <= 5),
    )
    freeze_bn: bool = _option(
        False,
        "Keep the statistics of every BatchNorm as they are: for fine-tuning with few images per batch.",
    )
    sync_bn: bool = _option(False, "Take BatchNorm statistics over all processes (GPU only).")
    amp: str = _option(
        "auto",
        "Precision of the forward pass: ``auto`` is bf16 (else fp16) on a GPU and float32 on a CPU.",
        choices=("auto", "off", "bf16", "fp16"),
    )
    compile: bool = _option(False, "Run the model through ``torch.compile``.")

    workers: int | None = _option(None, "Processes that prepare images; None: none on a CPU, up to 8 on a GPU.")
    cache: bool = _option(True, "Keep decoded images in memory when they fit in half of what is free.")
    save_minutes: float = _option(
        15.0,
        "Minutes after which the state is saved inside an epoch; the end of an epoch always saves.",
    )

    def __post_init__(self) -> None:
        _check(self)

    @property
    def graph(self) -> GraphOptions:
        """How the model differs from the published one."""
        head = "published" if self.head == "auto" else self.head
        return GraphOptions(self.auxiliary, self.block, self.elan_depth, self.csp_depth, self.activation, head)

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


def _check(settings: Settings) -> None:
    """Raise InputError for the first value that cannot be."""
    for setting in fields(settings):
        value, bound = getattr(settings, setting.name), setting.metadata["bound"]
        if bound is not None and not bound[1](value):
            raise InputError(f"--{setting.name.replace('_', '-')} must be {bound[0]}, got {value}")
    if settings.model.startswith("gelan-") and settings.auxiliary not in ("published", "none"):
        raise InputError(
            f"{settings.model} has no auxiliary branch; for --auxiliary {settings.auxiliary} set --model to yolov9-*"
        )
    _ = settings.graph  # refuses what no graph can be
