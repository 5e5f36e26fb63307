"""Which classes are taken for which."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.data import Split
from edge_yolov9.detections import Detections
from edge_yolov9.geometry import iou_matrix


def confusion(detections: Mapping[int, Detections], split: Split, iou: float = 0.5) -> NDArray[np.int64]:
    """Count pairs of detection and object that overlap best, whatever their classes; each is used once.

    Args:
        detections: by ``image_id``, above the confidence at which the detector will be used.
        split: ground truth; crowd regions are left out.
        iou: least overlap of a pair.

    Returns:
        (nc + 1, nc + 1): row the class detected, column the true class. The last row counts objects that were missed,
        the last column detections where nothing is.
    """
    count = len(split.names)
    matrix = np.zeros((count + 1, count + 1), np.int64)
    for record in split.images:
        boxes, classes = record.xyxy[~record.iscrowd], record.class_id[~record.iscrowd]
        detected = detections.get(record.image_id)
        own = np.zeros((0, 4), np.float32) if detected is None else detected.xyxy
        labels = [] if detected is None else detected.class_id.tolist()
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
    overlap = iou_matrix(first, second)
    pairs: list[tuple[int, int]] = []
    while overlap.size and overlap.max() >= iou:
        row, column = divmod(int(overlap.argmax()), len(second))
        pairs.append((row, column))
        overlap[row] = overlap[:, column] = -1
    return pairs
