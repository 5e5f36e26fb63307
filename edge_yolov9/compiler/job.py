"""What the compiler hands to a target's ``emit.py``, and what it gets back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from edge_yolov9 import registry
from edge_yolov9.bundle import InputRule, TensorSpec
from edge_yolov9.compiler.calibration import CalibrationSet
from edge_yolov9.errors import CompileError, TargetError
from edge_yolov9.files import from_json
from edge_yolov9.model import RawHeads
from edge_yolov9.registry import Board

if TYPE_CHECKING:
    from edge_yolov9.compiler.quantization import Plan, Scheme

T = TypeVar("T")

OUTPUT_NAMES = ("box_p3", "class_p3", "box_p4", "class_p4", "box_p5", "class_p5")
"""Names and order of the raw tensors in every artifact."""

INPUT_NAME = "images"


@dataclass(frozen=True)
class EmitJob:
    """One compilation, ready to be turned into a vendor's file."""

    heads: RawHeads
    """Pruned and folded float32 model in eval mode; (1, 3, H, W) RGB in [0, 1] -> six raw tensors."""
    onnx: Path
    """The same graph as simplified ONNX (opset 17, static shapes, float32, input ``images``, outputs OUTPUT_NAMES)."""
    input_size: tuple[int, int]
    """(height, width), pixels."""
    precision: str
    """fp32, fp16 or int8."""
    calibration: CalibrationSet | None
    """Given exactly when the precision is int8."""
    board: Board
    """The board that the artifact is for, from ``target.toml``."""
    folder: Path
    """Where the model files go; everything in it ends up in the bundle."""
    scratch: Path
    """For files that must not end up in the bundle."""
    stage: Callable[[str], AbstractContextManager[None]]
    """``with job.stage("quantize"):`` prints the stage and its time."""
    plan: Plan | None = None
    """Given exactly when the precision is int8: made once, for every target the same way."""
    samples: CalibrationSet | None = None
    """Real images for :meth:`pictures` where the precision needs no calibration and the user named some."""
    target_options: Mapping[str, object] = field(default_factory=dict)
    """What the compilation was asked for beyond the options of every target; see :func:`read_options`."""

    @property
    def pictures_are(self) -> str:
        """What :meth:`pictures` gives, for the manifest."""
        return "calibration images" if self.calibration else "real images" if self.samples else "synthetic images"

    def pictures(self, calibrated: int, synthetic: int) -> Iterator[NDArray[np.uint8]]:
        """Letterboxed frames (height, width, 3) uint8 BGR on which an artifact is compared with the float model.

        Args:
            calibrated: at most so many calibration images or samples, spread over the set.
            synthetic: without any, so many of smooth coloured noise of a fixed seed.
        """
        if images := self.calibration or self.samples:
            step = max(1, len(images) // calibrated)
            yield from replace(images, paths=images.paths[::step][:calibrated])
            return
        import cv2

        random = np.random.default_rng(0)
        height, width = self.input_size
        for _ in range(synthetic):
            coarse = random.integers(0, 256, (height // 16, width // 16, 3), np.uint8)
            yield np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)

    @property
    def int8(self) -> Plan:
        """The plan.

        Raises:
            CompileError: there is none.
        """
        if self.plan is None:
            raise CompileError("INT8 needs calibration images; give --calibration DATA or FOLDER, or use fp16")
        return self.plan


@dataclass(frozen=True)
class Emitted:
    """What an ``emit(job)`` made."""

    model: str
    """File that the session opens, relative to the folder."""
    input: InputRule
    outputs: tuple[TensorSpec, ...]
    tools: dict[str, str] = field(default_factory=dict)
    """``{distribution: version}`` of the toolchain."""
    extra: dict[str, Any] = field(default_factory=dict)
    """What this target's session alone needs; ends up as ``manifest.extra``."""


class Emitter(Protocol):
    """What the module ``emit.py`` of a target offers."""

    SCHEME: Scheme
    """How the target's runtime quantizes."""

    def check(self, board: Board, precision: str, target_options: Mapping[str, object]) -> None:
        """Refuse before any work what cannot be emitted.

        Raises:
            TargetError: the board cannot do what was asked for.
            CompileError: a tool is missing.
        """

    def emit(self, job: EmitJob) -> Emitted:
        """Write the model files into ``job.folder``.

        Raises:
            CompileError: the target's toolchain failed.
        """
        ...


def emitter(target: str) -> Emitter:
    """The compile side of a target.

    Raises:
        TargetError: see :func:`edge_yolov9.registry.module`.
    """
    return cast(Emitter, registry.module(target, "emit"))


def read_options(kind: type[T], given: Mapping[str, object]) -> T:
    """A target's options as a dataclass of its own, whose fields have defaults.

    Raises:
        TargetError: a value is of another type than its field.
    """
    try:
        return from_json(kind, given, "target_options")
    except ValueError as error:
        raise TargetError(str(error)) from None
