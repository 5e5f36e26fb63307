"""The confusion matrix, against counts made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge_yolov9.data import ImageRecord, Split
from edge_yolov9.data.labels import Objects
from edge_yolov9.detections import Detections
from edge_yolov9.scoring.confusion import confusion, match

NAMES = ("a", "b")


def boxes(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


def test_pairs_are_the_best_overlaps_and_one_to_one() -> None:
    truth = boxes((0, 0, 10, 10), (100, 0, 110, 10))
    found = boxes((0, 0, 10, 8), (0, 0, 10, 10), (104, 0, 114, 10))
    assert match(found, truth, 0.5) == [(1, 0)]
    assert match(found, truth, 0.4) == [(1, 0), (2, 1)]
    assert match(boxes(), truth, 0.5) == match(found, boxes(), 0.5) == []


def test_counts() -> None:
    truth = boxes((0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10), (60, 0, 70, 10))
    crowd = np.array([False, False, False, True])
    objects = Objects(truth, np.array([0, 0, 1, 1]), crowd, np.full(4, 100.0))
    record = ImageRecord(Path("a.png"), 1, 2, annotated=objects)
    empty = ImageRecord(Path("b.png"), 2, 2)
    split = Split("val", NAMES, (record, empty))
    seen = boxes((0, 0, 10, 10), (20, 0, 30, 10), (80, 0, 90, 10))
    found = {1: Detections(seen, np.full(3, 0.9, np.float32), np.array([0, 1, 1]), NAMES)}
    # found a for a; b for a; b on nothing; the true b was missed; the crowd does not count
    assert confusion(found, split).tolist() == [[1, 0, 0], [1, 0, 1], [0, 1, 0]]
