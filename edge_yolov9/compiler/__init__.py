"""From checkpoint to bundle: prune, fold, export, calibrate, quantize, verify."""

import edge_yolov9.targets.quiet  # noqa: F401  (before any runtime)

# isort: split
from edge_yolov9.compiler.fold import fold
from edge_yolov9.compiler.prune import prune

__all__ = ["fold", "prune"]
