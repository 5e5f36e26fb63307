"""What a compilation is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class CompileOptions:
    """What ``edge-yolov9 compile`` was asked for. None means the board's or the checkpoint's own."""

    target: str
    """Name of the target: what will run the model."""
    device: str | None = None
    """Name of the board; the target's first when None."""
    precision: str | None = None
    """fp32, fp16 or int8; the board's default when None."""
    input_size: tuple[int, int] | None = None
    """(height, width) of the model's input, pixels; the checkpoint's when None."""
    calibration: str | Path | None = None
    """Images that calibrate INT8 and that artifacts are compared on: a DATA file, a folder, or ``RECIPE=FOLDER``."""
    calibration_images: int = 128
    """Most images that calibrate."""
    seed: int = 0
    """Seed of the draw of calibration images from a DATA file or a folder."""
    data: Path | None = None
    """DATA file to measure AP on; for INT8 the one that calibrates, when its val split is labelled."""
    max_drop: float = 1.0
    """Most AP points (0 to 100) that the artifact may lose against the float checkpoint on ``data``."""
    fine_tuning: int = 100
    """Steps in which INT8 weights that lose too much are fine-tuned on the calibration images; 0 for none."""
    names: tuple[str, ...] | None = None
    """Class names of a checkpoint that states none; those of ``data`` or ``calibration`` when None."""
    strict: bool = False
    """Whether a problem in the data is an error; otherwise a line of progress names it."""
    preset: str | None = None
    """What another program needs, written beside the model: one of the target's ``presets``."""
    target_options: Mapping[str, object] = field(default_factory=dict)
    """What the target alone can be asked for: values by the names of its ``options`` in :mod:`edge_yolov9.registry`,
    e.g. {"camera": (720, 1280)}."""
