"""YOLOv9 from a trained checkpoint to a camera on a pole.

    train/ ──> checkpoint ──> compiler/ ──> bundle ──> Detector ──> report/
    torch      .safetensors    torch+tools   a folder   numpy+cv2    numpy

    from edge_yolov9 import Detector

    with Detector("bundle") as detect:
        result = detect(frame)  # frame: (H, W, 3) uint8 BGR, as OpenCV gives it

Nothing heavier than the standard library is loaded before a name is used.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # not typing's: ``python -m edge_yolov9`` would take a typing.py of the current folder
if TYPE_CHECKING:
    from typing import Any

    from edge_yolov9.compiler.pipeline import CompileOptions as CompileOptions
    from edge_yolov9.compiler.pipeline import compile_checkpoint as compile_checkpoint
    from edge_yolov9.detections import Detections as Detections
    from edge_yolov9.detector import Detector as Detector
    from edge_yolov9.errors import EdgeYoloError as EdgeYoloError
    from edge_yolov9.errors import InputError as InputError
    from edge_yolov9.errors import SourceError as SourceError
    from edge_yolov9.evaluation import Evaluation as Evaluation
    from edge_yolov9.evaluation import evaluate as evaluate
    from edge_yolov9.images import image_files as image_files
    from edge_yolov9.images import read_image as read_image
    from edge_yolov9.system.program import one_line_errors as one_line_errors
    from edge_yolov9.train.settings import Settings as TrainSettings  # noqa: F401
    from edge_yolov9.train.start import train_checkpoint as train_checkpoint
    from edge_yolov9.video.mjpeg import MjpegServer as MjpegServer
    from edge_yolov9.video.source import open_source as open_source
    from edge_yolov9.video.tracking import ByteTrack as ByteTrack
    from edge_yolov9.video.window import Window as Window

_DEVICE = {
    "Detector": "detector",
    "Detections": "detections",
    "open_source": "video.source",
    "read_image": "images",
    "image_files": "images",
    "ByteTrack": "video.tracking",
    "MjpegServer": "video.mjpeg",
    "Window": "video.window",
    "EdgeYoloError": "errors",
    "InputError": "errors",
    "SourceError": "errors",
    "one_line_errors": "system.program",
}
"""Public names that a device has, and the module of each."""

_WORKSTATION = {
    "compile_checkpoint": "compiler.pipeline",
    "CompileOptions": "compiler.pipeline",
    "evaluate": "evaluation",
    "Evaluation": "evaluation",
    "train_checkpoint": "train.start",
    "TrainSettings": "train.settings:Settings",
}
"""Public names that need torch and the compiler's tools; ``module:name`` where the name differs there."""

_HOMES = {**_DEVICE, **_WORKSTATION}

__all__ = [*_DEVICE, "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edge_yolov9' has no attribute {name!r}")
    module, _, there = _HOMES[name].partition(":")
    from edge_yolov9.system.imports import explained

    with explained():  # numpy, cv2, torch
        return getattr(importlib.import_module(f"edge_yolov9.{module}"), there or name)


def __dir__() -> list[str]:
    return sorted((*_HOMES, "__version__"))
