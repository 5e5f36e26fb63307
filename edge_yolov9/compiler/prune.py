"""Remove the auxiliary branch: what only training needed."""

from __future__ import annotations

import copy

from edge_yolov9.model import YOLOv9


def prune(model: YOLOv9) -> YOLOv9:
    """A new deployed graph with the main branch of ``model``, in eval mode. Main outputs do not change at all."""
    auxiliary, model.auxiliary = model.auxiliary, None
    try:
        return copy.deepcopy(model).eval()
    finally:
        model.auxiliary = auxiliary
