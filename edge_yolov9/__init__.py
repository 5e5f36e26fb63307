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
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_yolov9.detections import Detections as Detections
    from edge_yolov9.detector import Detector as Detector
    from edge_yolov9.errors import EdgeYoloError as EdgeYoloError

_HOMES = {"Detections": "detections", "Detector": "detector", "EdgeYoloError": "errors"}

__all__ = ["Detections", "Detector", "EdgeYoloError", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"edge_yolov9.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'edge_yolov9' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
