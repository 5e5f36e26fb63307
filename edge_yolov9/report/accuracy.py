"""The accuracy section of ``report.json``, described in ``docs/report.md``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.bench.spread import check_size
from edge_yolov9.bundle import Thresholds
from edge_yolov9.report.worst import Mistakes
from edge_yolov9.scoring.accuracy import Accuracy, ClassAccuracy, ClassScore, Figures, Scores

CURVE = 101
"""Points of a precision-recall curve: recall 0, .01, ... 1."""
MOST_OBJECTS = 2**53
Values = tuple[float | None, ...]


@dataclass(frozen=True)
class ClassSection(ClassScore):
    """One class, with the spread and the curve of its AP."""

    curve: tuple[float, ...]
    """Precision at IoU .50 for recall 0, .01, ... 1; empty where there is nothing to find."""
    replicates: Values
    """AP without each group of images."""
    standard_error: float | None

    def __post_init__(self) -> None:
        if len(self.curve) not in (0, CURVE):
            raise ValueError(f"a curve has {CURVE} points, got {len(self.curve)}")
        _check(self.AP, self.AP50, self.standard_error, *self.curve, *self.replicates)


@dataclass(frozen=True)
class ScoredImages:
    """The images that were scored."""

    file: str
    """Name of the DATA file."""
    split: str
    images: int
    images_sha256: str
    """Digest over names and contents of the pictures."""
    truth_sha256: str
    """Digest over class names and labelled objects."""


@dataclass(frozen=True)
class ConfusionSection:
    """Which classes are taken for which, at the bundle's own thresholds."""

    thresholds: Thresholds
    iou: float
    """Least overlap of an object and a detection that count as a pair."""
    matrix: tuple[tuple[int, ...], ...]
    """Row the class detected, column the true class; last row missed, last column nothing there."""

    def __post_init__(self) -> None:
        if any(not 0 <= count < MOST_OBJECTS for row in self.matrix for count in row):
            raise ValueError("a confusion matrix holds numbers of objects")


@dataclass(frozen=True)
class FloatSection(Scores):
    """Figures of the float model, from the bundle's manifest."""

    comparable: bool
    """Whether the figures of the float model are of the images that the bundle was scored on."""
    note: str | None
    """What the figures are of, where they are not ``comparable``."""
    losing_classes: Mapping[str, float]
    """AP points that classes lose against the float model, where they are more than ``scoring.delta.LOSS``."""

    def __post_init__(self) -> None:
        _check(*self.by_name().values(), *(own.AP for own in self.classes), *self.losing_classes.values())


Float = FloatSection | None
"""Type of the field ``float`` below, in whose class the name stands for the field."""


@dataclass(frozen=True)
class AccuracySection(Figures):
    """COCO's figures with their spread, and what they are of."""

    images: int
    classes: tuple[ClassSection, ...]
    standard_error: Figures
    replicates: Mapping[str, Values]
    """Each figure without each group of images."""
    data: ScoredImages
    confusion: ConfusionSection
    float: Float
    worst: tuple[Mistakes, ...]
    """The images with the most mistakes, the worst first."""

    def __post_init__(self) -> None:
        side = len(self.classes) + 1
        if len(self.confusion.matrix) != side or any(len(row) != side for row in self.confusion.matrix):
            raise ValueError(f"the confusion matrix must have {side} rows and columns, one more than classes")
        _check(*self.by_name().values(), *self.standard_error.by_name().values())
        _check(*(value for values in self.replicates.values() for value in values))

    def as_accuracy(self) -> Accuracy:
        """What :mod:`edge_yolov9.scoring.curves` draws."""
        classes = tuple(ClassAccuracy(c.name, c.AP, c.AP50, c.objects, c.curve) for c in self.classes)
        return Accuracy(self.by_name(), classes, self.images)

    def matrix(self) -> NDArray[np.int64]:
        """The confusion matrix (classes + 1, classes + 1)."""
        return np.array(self.confusion.matrix, np.int64)


def _check(*values: float | None) -> None:
    check_size(*(value for value in values if value is not None))
