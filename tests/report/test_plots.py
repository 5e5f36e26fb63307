"""Figures are PNG files that show what they were given."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge_yolov9.report import plots
from edge_yolov9.report.accuracy import Accuracy, ClassAccuracy

ROW = {"class": 1.0, "box": 2.0, "dfl": 1.5, "AP": 0.3, "AP50": 0.5, "AP75": 0.2, "lr": 0.01, "images_per_s": 9.0}


def decoded(data: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(image)


def accuracy(values: list[float]) -> Accuracy:
    classes = (ClassAccuracy("a", 0.5, 0.5, 9, tuple(values)), ClassAccuracy("none", None, None, 0))
    return Accuracy({"AP50": 0.5}, classes, 3)


def test_every_figure_depends_on_its_numbers() -> None:
    histories = [[{**ROW, "epoch": i, "AP": ap * i} for i in range(1, 4)] for ap in (0.1, 0.2)]
    matrices = [np.array([[5, 1, 0], [0, 3, 1], [0, n, 0]]) for n in (0, 7)]
    for first, second in (
        [plots.results(history) for history in histories],
        [plots.precision_recall(accuracy([1.0] * 50 + [last] * 51)) for last in (0.0, 0.5)],
        [plots.confusion_matrix(matrix, ("a", "b")) for matrix in matrices],
    ):
        a, b = decoded(first), decoded(second)
        assert min(a.shape[:2]) > 300
        assert (a != b).any()


@pytest.mark.parametrize("classes", [1, 80])
def test_any_number_of_classes(classes: int) -> None:
    image = decoded(plots.confusion_matrix(np.eye(classes + 1, dtype=np.int64), [f"class {i}" for i in range(classes)]))
    assert max(image.shape) < 4000
