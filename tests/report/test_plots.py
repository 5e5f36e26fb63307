"""Figures are PNG files that show what they were given."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge_yolov9.bench.spread import Histogram
from edge_yolov9.report import plots
from edge_yolov9.scoring import curves
from edge_yolov9.scoring.accuracy import Accuracy, ClassAccuracy
from edge_yolov9.train import pictures

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
        [pictures.results(history) for history in histories],
        [curves.precision_recall(accuracy([1.0] * 50 + [last] * 51)) for last in (0.0, 0.5)],
        [curves.confusion_matrix(matrix, ("a", "b")) for matrix in matrices],
    ):
        a, b = decoded(first), decoded(second)
        assert min(a.shape[:2]) > 300
        assert (a != b).any()


@pytest.mark.parametrize("classes", [1, 80])
def test_any_number_of_classes(classes: int) -> None:
    image = decoded(
        curves.confusion_matrix(np.eye(classes + 1, dtype=np.int64), [f"class {i}" for i in range(classes)])
    )
    assert max(image.shape) < 4000


def test_a_name_is_no_formula() -> None:
    odd = r"$\frac{$ $x_{$"
    classes = (ClassAccuracy(odd, 0.5, 0.5, 9, (1.0,) * 101),)
    decoded(curves.precision_recall(Accuracy({"AP50": 0.5}, classes, 3)))
    decoded(curves.confusion_matrix(np.eye(2, dtype=np.int64), (odd,)))
    decoded(plots.latency_histogram(odd, Histogram((1.0, 2.0), (3,))))
    decoded(plots.timeline(odd, [("ms", [1.0, 2.0], {odd: [1.0, None]})]))
    decoded(plots.accuracy_over("x", [("T", 2.0, 38.3, 0.0)], [(odd, 1.0, 60.0, 1.0)]))


def test_figures_of_a_report_depend_on_their_numbers() -> None:
    edges = tuple(float(edge) for edge in range(21))
    for first, second in (
        [plots.latency_histogram("a", Histogram(edges, (n, *[1] * 19))) for n in (1, 9)],
        [plots.timeline("a", [("ms", [1.0, 2.0], {"p50": [5.0, n]})]) for n in (5.0, None)],
        [plots.accuracy_over("x", [("T", 2.0, 38.3, 0.0)], [("mine", 1.0, ap, 1.0)]) for ap in (20.0, 60.0)],
    ):
        a, b = decoded(first), decoded(second)
        assert a.shape == b.shape
        assert (a != b).any()
