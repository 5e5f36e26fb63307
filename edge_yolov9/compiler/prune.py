"""Remove the auxiliary branch: what only training needed."""

from __future__ import annotations

import copy
from dataclasses import replace

from edge_yolov9.model import YOLOv9


def prune(model: YOLOv9) -> YOLOv9:
    """A new deployed graph with the main branch of ``model``, in eval mode. Main outputs do not change at all."""
    auxiliary, model.auxiliary = model.auxiliary, None
    try:
        pruned = copy.deepcopy(model).eval()
    finally:
        model.auxiliary = auxiliary
    pruned.options = replace(model.options, auxiliary="published")
    return pruned
