"""From checkpoint to bundle: prune, fold, export, calibrate, quantize, verify."""

from edge_yolov9.compiler.fold import fold
from edge_yolov9.compiler.prune import prune

__all__ = ["fold", "prune"]
