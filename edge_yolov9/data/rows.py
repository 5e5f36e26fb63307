"""What long rows of YOLO labels are: polygons, or keypoints, tracks and confidences that would be taken for polygons.

One row rarely tells. All rows of a data set do: those that would be a box and points within it each time, all of one
length, are no polygons.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEAR, INSIDE = 1.5, 0.02
"""How far the second corner of a polygon lies from the others at most, in sizes of the polygon; and slack of a point
within its box, as a fraction of the image."""
MOST_ALIKE = 0.9
"""Share of rows that look like polygons, above which they are."""


@dataclass(frozen=True)
class Forms:
    """Long rows, counted."""

    rows: int = 0
    length: int = 0
    """Values of a row; 0 where they differ."""
    boxes: int = 0
    """Rows whose first four numbers are a box in the image that holds all further points."""
    polygons: int = 0
    """Rows whose second point lies near the others, as a corner does."""
    ids: int = 0
    """Rows of seven values with a box in the image, whose last is a whole number as text: an id, or an angle and 0."""
    visible: int = 0
    """Rows of a box and triples whose third is 0, 1 or 2."""
    corners: int = 0
    """Rows of four corners of a rectangle that is not upright."""

    def __add__(self, other: Forms) -> Forms:
        if not (self.rows and other.rows):
            return self if self.rows else other
        return Forms(
            self.rows + other.rows,
            self.length if self.length == other.length else 0,
            self.boxes + other.boxes,
            self.polygons + other.polygons,
            self.ids + other.ids,
            self.visible + other.visible,
            self.corners + other.corners,
        )

    def foreign(self) -> str:
        """What the rows are where they are no polygons; empty where they are."""
        if not (self.rows and self.length):
            return ""
        if self.visible == self.rows:
            return (
                f"{self.length} values: a box and {(self.length - 5) // 3} keypoints with visibility, so DATA needs "
                + (f"kpt_shape: [{(self.length - 5) // 3}, 3]")
            )
        if self.ids == self.rows:
            return "7 values: a box, and a confidence and a track id, or an angle"
        if self.boxes == self.rows and self.polygons < MOST_ALIKE * self.rows and self.corners < self.rows:
            points = (self.length - 5) // 2
            return f"{self.length} values: a box and {points} keypoints? then DATA needs kpt_shape: [{points}, 2]"
        return ""

    @property
    def rotated(self) -> bool:
        """Whether they are four corners of boxes that do not stand upright."""
        return self.length == 9 and 0 < self.rows <= 2 * self.corners


def forms_of(rows: list[list[str]]) -> Forms:
    """Count rows of more than five words, which are numbers."""
    total = Forms()
    for words in rows:
        total += _form(words)
    return total


def _form(words: list[str]) -> Forms:
    count = len(words)
    numbers = np.array(words[1:], np.float64)
    points = numbers.reshape(-1, 2)
    centre, size, rest = points[0], points[1], points[2:]
    box = bool((size > 0).all() and (centre - size / 2 >= -INSIDE).all() and (centre + size / 2 <= 1 + INSIDE).all())
    third = numbers[6::3] if (count - 5) % 3 == 0 else None
    seven = box and count == 7 and words[6].lstrip("-").isdecimal()
    return Forms(
        rows=1,
        length=count,
        boxes=int(box and _within(rest, centre, size)),
        polygons=int(_compact(points)),
        ids=int(seven),
        visible=int(box and third is not None and bool(np.isin(third, (0, 1, 2)).all())),
        corners=int(count == 9 and _rectangle(points)),
    )


def _within(points: NDArray[np.float64], centre: NDArray[np.float64], size: NDArray[np.float64]) -> bool:
    """Whether points lie in a box; 0, 0 stands for a point that was not seen."""
    seen = points[(points != 0).any(axis=1)]
    return bool((np.abs(seen - centre) <= size / 2 + INSIDE).all())


def _compact(points: NDArray[np.float64]) -> bool:
    """Whether the second point lies no farther from the others than they are apart; 0, 0 is none of them."""
    others = np.delete(points, 1, axis=0)
    others = others[(others != 0).any(axis=1)]
    if not len(others):
        return True
    low, high = others.min(axis=0), others.max(axis=0)
    reach = NEAR * float((high - low).max())
    return bool((points[1] >= low - reach).all() and (points[1] <= high + reach).all())


def _rectangle(points: NDArray[np.float64]) -> bool:
    """Whether four points go around a parallelogram whose sides are not upright."""
    sides = np.diff(points, axis=0)
    closed = bool((np.abs(points[0] + points[2] - points[1] - points[3]) <= 0.01).all())
    return closed and bool((np.abs(sides).min(axis=1) > 0.005).any())
