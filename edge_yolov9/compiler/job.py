"""What the compiler hands to a target's ``emit.py``, and what it gets back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_yolov9 import registry
from edge_yolov9.bundle import InputRule, TensorSpec
from edge_yolov9.compiler.calibration import CalibrationSet
from edge_yolov9.compiler.quantization import Plan, QuantizationScheme
from edge_yolov9.errors import CompileError, TargetError
from edge_yolov9.files import from_json
from edge_yolov9.model import RawHeads
from edge_yolov9.registry import Board

T = TypeVar("T")

OUTPUT_NAMES = ("box_p3", "class_p3", "box_p4", "class_p4", "box_p5", "class_p5")
"""Names and order of the raw tensors in every artifact."""

INPUT_NAME = "images"


@dataclass(frozen=True)
class Pictures:
    """Frames on which an artifact is compared with the float model."""

    input_size: tuple[int, int]
    """(height, width), pixels."""
    images: CalibrationSet | None = None
    """Real images; None where the user named none."""
    kind: str = "synthetic images"
    """What the frames are, for the manifest: "calibration images", "real images" or "synthetic images"."""

    def frames(self, real: int, synthetic: int) -> Iterator[NDArray[np.uint8]]:
        """Letterboxed frames (height, width, 3) uint8 BGR.

        Args:
            real: at most so many images, spread over the set.
            synthetic: without any, so many of smooth coloured noise of a fixed seed.
        """
        if self.images:
            step = max(1, len(self.images) // real)
            for index in range(0, len(self.images), step)[:real]:
                yield self.images[index]
            return
        random = np.random.default_rng(0)
        height, width = self.input_size
        for _ in range(synthetic):
            coarse = random.integers(0, 256, (height // 16, width // 16, 3), np.uint8)
            yield np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


@dataclass(frozen=True)
class EmitJob:
    """One artifact, ready to be turned into a vendor's file."""

    heads: RawHeads
    """Pruned and folded float32 model in eval mode; (1, 3, H, W) RGB in [0, 1] -> six raw tensors."""
    onnx: Path
    """ONNX file of ``heads``, simplified (opset 17, static shapes, float32, input ``images``, outputs OUTPUT_NAMES)."""
    input_size: tuple[int, int]
    """(height, width), pixels."""
    precision: str
    """fp32, fp16 or int8."""
    plan: Plan | None
    """How the graph is quantized, for every target the same way; None for a float precision."""
    board: Board
    """The board that the artifact is for, from ``target.toml``."""
    pictures: Pictures
    """Frames to compare on; the calibration images where there is a plan."""
    folder: Path
    """Where the model files go; everything in it ends up in the bundle."""
    scratch: Path
    """Folder for files that must not end up in the bundle."""
    stage: Callable[[str], AbstractContextManager[None]]
    """``with job.stage("quantize"):`` prints the stage and its time."""
    target_options: Mapping[str, object] = field(default_factory=dict)
    """What the compilation was asked for beyond the options of every target; see :func:`read_options`."""

    def __post_init__(self) -> None:
        if (self.precision == "int8") != (self.plan is not None):
            raise CompileError("INT8, and nothing else, is emitted by a plan, which calibration images are needed for")


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

    QUANTIZATION: QuantizationScheme
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
