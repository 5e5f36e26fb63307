"""From checkpoint to bundle: prune, fold, export, calibrate, quantize, verify."""

import os

from edge_yolov9.compiler.fold import fold
from edge_yolov9.compiler.prune import prune

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # see targets/onnx/session.py

__all__ = ["fold", "prune"]
