"""Counts of a split: images, objects, sizes, brightness, where boxes lie."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.data import Split

SIZES = (("small", 32.0**2), ("medium", 96.0**2), ("large", np.inf))
"""COCO's names of object sizes, and the area in square pixels below which an object has each."""
HEAT = 32
"""Cells of the heat map along each side."""
SHOWN_SIZES = 5
INPUTS = (256, 320, 416, 512, 640, 800, 960, 1280)
"""Values of ``--imgsz`` that are compared."""
STRIDES = (8, 16, 32)
MOST_THIN = 0.05
"""Share of boxes that may be thinner than the finest stride at the recommended input size."""


@dataclass(frozen=True)
class Spread:
    """Least, quartiles and largest of some numbers."""

    least: float
    quarter: float
    median: float
    three_quarters: float
    most: float

    def __str__(self) -> str:
        middle = f"half of them {self.quarter:.4g} to {self.three_quarters:.4g}"
        return f"{self.median:.4g} ({self.least:.4g} to {self.most:.4g}, {middle})"


def spread(values: NDArray[np.float64]) -> Spread | None:
    """Of no number there is none."""
    if not len(values):
        return None
    return Spread(*(round(float(value), 3) for value in np.quantile(values, (0, 0.25, 0.5, 0.75, 1))))


@dataclass(frozen=True)
class ClassCount:
    """Objects of one class; crowds left out."""

    name: str
    objects: int
    images: int
    """Images that show it."""
    sizes: tuple[int, ...]
    """Objects that are small, medium, large."""


@dataclass(frozen=True)
class Statistics:
    """What is in one split."""

    split: str
    listed: int
    """Images that the data set lists."""
    images: int
    """Those of them that can be used."""
    empty: int
    """Images without an object."""
    objects: int
    crowds: int
    classes: tuple[ClassCount, ...]
    image_sizes: tuple[tuple[str, int], ...]
    """"640 x 480" (width x height, pixels) and how many images have it, the most frequent first."""
    aspect: Spread | None
    """Width over height of images."""
    brightness: Spread | None
    """Mean grey of images, 0 to 255."""
    objects_per_image: Spread | None
    box_side: Spread | None
    """Shorter sides of boxes, pixels of the image."""
    brightness_histogram: tuple[int, ...]
    """Images by mean grey, in 16 steps from 0 to 256."""
    heat: tuple[tuple[int, ...], ...]
    """How many boxes cover each cell of the image, ``HEAT`` rows of ``HEAT``."""


@dataclass(frozen=True)
class InputSize:
    """Boxes at one input size."""

    imgsz: int
    under: tuple[float, ...]
    """Share of boxes whose shorter side is under each of ``STRIDES``, pixels of the input."""


def count(split: Split, listed: int) -> Statistics:
    """Counts of a split after the check."""
    number = len(split.names)
    table = np.zeros((number, 3), np.int64)
    images = np.zeros(number, np.int64)
    heat = np.zeros((HEAT + 1, HEAT + 1), np.int64)
    sizes: Counter[tuple[int, int]] = Counter()
    per_image, aspects, greys, sides = [], [], [], []
    crowds = 0
    for record in split.images:
        height, width = record.size
        sizes[width, height] += 1
        aspects.append(width / height)
        greys.append(record.look.brightness if record.look else 0.0)
        objects = record.objects
        single = ~objects.iscrowd
        crowds += int(objects.iscrowd.sum())
        per_image.append(int(single.sum()))
        if not per_image[-1]:
            continue
        classes, area = objects.class_id[single], objects.area[single]
        np.add.at(table, (classes, np.searchsorted([SIZES[0][1], SIZES[1][1]], area, "right")), 1)
        images[np.unique(classes)] += 1
        boxes = objects.xyxy[single]
        sides.append((boxes[:, 2:] - boxes[:, :2]).min(axis=1))
        _warm(heat, (boxes / np.array([width, height] * 2)).astype(np.float32))
    cells = heat.cumsum(axis=0).cumsum(axis=1)[:HEAT, :HEAT]
    return Statistics(
        split=split.name,
        listed=listed,
        images=len(split),
        empty=sum(objects == 0 for objects in per_image),
        objects=int(table.sum()),
        crowds=crowds,
        classes=tuple(
            ClassCount(name, int(row.sum()), int(own), tuple(row.tolist()))
            for name, row, own in zip(split.names, table, images, strict=True)
        ),
        image_sizes=tuple((f"{w} x {h}", times) for (w, h), times in sizes.most_common(SHOWN_SIZES)),
        aspect=spread(np.array(aspects)),
        brightness=spread(np.array(greys)),
        objects_per_image=spread(np.array(per_image, np.float64)),
        box_side=spread(np.concatenate(sides).astype(np.float64) if sides else np.zeros(0)),
        brightness_histogram=tuple(np.histogram(greys, 16, (0, 256))[0].tolist()),
        heat=tuple(tuple(row) for row in cells.tolist()),
    )


def _warm(heat: NDArray[np.int64], boxes: NDArray[np.float32]) -> None:
    """Add boxes in fractions of the image: corners of each, whose double sum is the count that covers a cell."""
    low = np.clip(np.floor(boxes[:, :2] * HEAT), 0, HEAT).astype(int)
    high = np.clip(np.ceil(boxes[:, 2:] * HEAT), 0, HEAT).astype(int)
    np.add.at(heat, (low[:, 1], low[:, 0]), 1)
    np.add.at(heat, (high[:, 1], high[:, 0]), 1)
    np.add.at(heat, (low[:, 1], high[:, 0]), -1)
    np.add.at(heat, (high[:, 1], low[:, 0]), -1)


def input_sizes(splits: list[Split]) -> tuple[tuple[InputSize, ...], int | None]:
    """Boxes against strides at several input sizes, and the least size that is recommended; None without a box.

    The image's longer side becomes the input's. Recommended is the least size at which no more than ``MOST_THIN`` of
    the boxes are thinner than the finest stride; the largest, where there is none.
    """
    parts = []
    for split in splits:
        for record in split.images:
            boxes = record.objects.xyxy[~record.objects.iscrowd]
            parts.append((boxes[:, 2:] - boxes[:, :2]).min(axis=1) / max(record.size))
    sides = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    if not len(sides):
        return (), None
    rows = tuple(
        InputSize(size, tuple(round(float((sides * size < stride).mean()), 4) for stride in STRIDES)) for size in INPUTS
    )
    return rows, next((row.imgsz for row in rows if row.under[0] <= MOST_THIN), INPUTS[-1])


@dataclass(frozen=True)
class Coverage:
    """What val shows and train, which calibration images come from, does not."""

    cells: int
    """Pairs of class and size that val shows."""
    missing: tuple[str, ...]
    """Those of them that train does not show, e.g. ``WBC, small``."""
    brightness_beyond: float
    """Share of val's images that are darker or brighter than any of train, in [0, 1]."""


def coverage(train: Statistics, val: Statistics) -> Coverage:
    """Compare the splits."""
    missing, cells = [], 0
    for own, other in zip(train.classes, val.classes, strict=True):
        for (size, _), there, here in zip(SIZES, other.sizes, own.sizes, strict=True):
            cells += there > 0
            if there and not here:
                missing.append(f"{own.name}, {size}")
    seen = np.array(train.brightness_histogram) > 0
    shown = np.array(val.brightness_histogram)
    beyond = float(shown[~seen].sum() / max(1, shown.sum()))
    return Coverage(cells, tuple(missing), round(beyond, 4))
