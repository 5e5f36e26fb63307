"""From checkpoint to bundle: prune, fold, export, calibrate, quantize, verify.

``pipeline.py`` goes through it, ``auto.py`` for every precision; ``compilation.py`` makes one artifact from what
``inputs.py`` read. ``gate.py`` scores AP, ``search.py`` repairs what loses too much. ``job.py`` is what a target gets.
"""

import edge_yolov9.targets.quiet  # noqa: F401  (before any runtime)

# isort: split
from edge_yolov9.compiler.fold import fold
from edge_yolov9.compiler.prune import prune

__all__ = ["fold", "prune"]
