"""Which classes are taken for which."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.data import Split
from edge_yolov9.detections import Detections


def confusion(found: Mapping[int, Detections], split: Split, iou: float = 0.5) -> NDArray[np.int64]:
    """Count pairs of detection and object that overlap best, whatever their classes; each is used once.

    Args:
        found: detections by ``image_id``, above the confidence at which the detector will be used.
        split: ground truth; crowd regions are left out.
        iou: least overlap of a pair.

    Returns:
        (nc + 1, nc + 1): row the class found, column the true class. The last row counts objects that were missed, the
        last column detections where nothing is.
    """
    count = len(split.names)
    matrix = np.zeros((count + 1, count + 1), np.int64)
    for record in split.images:
        boxes, classes = record.xyxy[~record.iscrowd], record.class_id[~record.iscrowd]
        detections = found.get(record.image_id)
        own = np.zeros((0, 4), np.float32) if detections is None else detections.xyxy
        labels = [] if detections is None else detections.class_id.tolist()
        pairs = match(own, boxes, iou)
        for row, column in pairs:
            matrix[labels[row], classes[column]] += 1
        for row in set(range(len(own))) - {row for row, _ in pairs}:
            matrix[labels[row], count] += 1
        for column in set(range(len(boxes))) - {column for _, column in pairs}:
            matrix[count, classes[column]] += 1
    return matrix


def match(first: NDArray[np.float32], second: NDArray[np.float32], iou: float) -> list[tuple[int, int]]:
    """Pairs of rows of (N, 4) and (M, 4) xyxy boxes, best overlap first, every row at most once."""
    corner = np.maximum(first[:, None, :2], second[None, :, :2]), np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = (corner[1] - corner[0]).clip(0).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (first, second)]
    overlap = shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9)
    pairs: list[tuple[int, int]] = []
    for place in np.argsort(-overlap, axis=None, kind="stable"):
        row, column = divmod(int(place), len(second))
        if overlap[row, column] < iou:
            break
        if all(row != used and column != taken for used, taken in pairs):
            pairs.append((row, column))
    return pairs
