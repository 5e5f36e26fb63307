"""What is in one image: boxes in its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Outline = tuple[NDArray[np.float32], ...]
"""Polygons (K, 2) of x, y around the parts of one object; none where only its box is known."""

AREA_FACTOR, AREA_SLACK = 1.5, 16.0
"""An area that is stated is of its box up to so many times the box's, and so many square pixels more."""


@dataclass(frozen=True, eq=False)
class Objects:
    """What is in one image, N objects."""

    xyxy: NDArray[np.float32]
    """(N, 4) corners x1, y1, x2, y2 in pixels of the image, as annotated: not clipped."""
    class_id: NDArray[np.int64]
    """(N,) index into the data set's names."""
    iscrowd: NDArray[np.bool_]
    """(N,) a region of many objects: neither found nor missed counts."""
    area: NDArray[np.float64]
    """(N,) square pixels: of the segment where the annotation states it, else of the box."""

    outlines: tuple[Outline, ...] = ()
    """One per object, in pixels of the image; empty where no object has one."""
    places: NDArray[np.int64] | None = None
    """(N,) line of the label file, or id of the annotation; None where there is no such number."""

    def __len__(self) -> int:
        return len(self.class_id)


def make_objects(
    rows: Sequence[tuple[float, ...]],
    scale: tuple[float, float] = (1.0, 1.0),
    outlines: Sequence[Outline] = (),
    places: Sequence[int] | None = None,
) -> Objects:
    """Rows (class, x1, y1, x2, y2, iscrowd, area), x and y multiplied by ``scale``; a NaN area means the box's."""
    table = np.array(rows, np.float64).reshape(-1, 7)
    xyxy = table[:, 1:5] * np.array([*scale, *scale])
    box_area = (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])
    area = np.where(np.isnan(table[:, 6]), box_area, table[:, 6])
    scaled = tuple(tuple(part * np.array(scale, np.float32) for part in outline) for outline in outlines)
    return Objects(
        xyxy.astype(np.float32),
        table[:, 0].astype(np.int64),
        table[:, 5] > 0,
        area,
        scaled if any(scaled) else (),
        None if places is None else np.array(places, np.int64),
    )


def outline_of(parts: Any) -> Outline:
    """Polygons from flat lists x1, y1, x2, y2, ...; what is not a polygon (run lengths, nothing) gives none."""
    if not isinstance(parts, list) or not all(isinstance(part, list) and len(part) % 2 == 0 for part in parts):
        return ()
    try:
        arrays = tuple(np.array(part, np.float32).reshape(-1, 2) for part in parts if len(part) >= 6)
    except (TypeError, ValueError, OverflowError):
        return ()
    return arrays if all(np.isfinite(array).all() for array in arrays) else ()


def without_area(objects: Objects, size: tuple[int, int]) -> NDArray[np.bool_]:
    """(N,) which boxes cover nothing of an image of ``size`` (height, width), pixels."""
    height, width = size
    inside = objects.xyxy.clip(0, np.array([width, height] * 2, np.float32))
    return np.asarray((inside[:, 2:] <= inside[:, :2]).any(axis=1))


def wrong_areas(objects: Objects) -> NDArray[np.bool_]:
    """(N,) whose area cannot be of a segment in their box: none, or larger than it."""
    sides = (objects.xyxy[:, 2:] - objects.xyxy[:, :2]).astype(np.float64)
    box = sides[:, 0] * sides[:, 1]
    wrong: NDArray[np.bool_] = (objects.area <= 0) | (objects.area > AREA_FACTOR * box + AREA_SLACK)
    return np.asarray(wrong & (box > 0) & ~objects.iscrowd)


def usable(objects: Objects, size: tuple[int, int]) -> Objects:
    """The objects that train and are scored: without boxes that cover nothing of the image, each with an area."""
    empty, wrong = without_area(objects, size), wrong_areas(objects)
    if wrong.any():
        sides = objects.xyxy[:, 2:].astype(np.float64) - objects.xyxy[:, :2]
        objects = replace(objects, area=np.where(wrong, sides[:, 0] * sides[:, 1], objects.area))
    if not empty.any():
        return objects
    kept = np.asarray(~empty)
    outlines = tuple(outline for outline, keep in zip(objects.outlines, kept, strict=False) if keep)
    return Objects(
        objects.xyxy[kept],
        objects.class_id[kept],
        objects.iscrowd[kept],
        objects.area[kept],
        outlines if any(outlines) else (),
        None if objects.places is None else objects.places[kept],
    )
