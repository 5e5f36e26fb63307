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
    """Count the long rows of a file: more than five words each, which are numbers. Rows of several lengths are
    polygons whatever they look like."""
    lengths = {len(words) for words in rows}
    if len(lengths) != 1:
        return Forms(len(rows))
    (count,) = lengths
    numbers = np.array([words[1:] for words in rows], np.float64)
    points = numbers.reshape(len(rows), -1, 2)
    centre, size = points[:, 0], points[:, 1]
    low, high = centre - size / 2, centre + size / 2
    box = ((size > 0) & (low >= -INSIDE) & (high <= 1 + INSIDE)).all(axis=1)
    seen = (points[:, 2:] != 0).any(axis=2)  # 0, 0 stands for a keypoint that was not seen
    near = (np.abs(points[:, 2:] - centre[:, None]) <= size[:, None] / 2 + INSIDE).all(axis=2)
    whole = np.array([count == 7 and words[6].lstrip("-").isdecimal() for words in rows])
    triples = (count - 5) % 3 == 0
    return Forms(
        rows=len(rows),
        length=count,
        boxes=int((box & (near | ~seen).all(axis=1)).sum()),
        polygons=int(_compact(points).sum()),
        ids=int((box & whole).sum()),
        visible=int((box & np.isin(numbers[:, 6::3], (0, 1, 2)).all(axis=1)).sum()) if triples else 0,
        corners=int(_rectangles(points).sum()) if count == 9 else 0,
    )


def _compact(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N,) whether the second of the points (N, K, 2) lies no farther from the others than they are apart; 0, 0 is none
    of them."""
    others = np.delete(points, 1, axis=1)
    unseen = (others == 0).all(axis=2, keepdims=True)
    low = np.where(unseen, np.inf, others).min(axis=1)
    high = np.where(unseen, -np.inf, others).max(axis=1)
    reach = NEAR * (high - low).max(axis=1, keepdims=True)
    second = points[:, 1]
    return np.asarray(((second >= low - reach) & (second <= high + reach)).all(axis=1) | unseen.all(axis=(1, 2)))


def _rectangles(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N,) whether four points (N, 4, 2) go around a parallelogram whose sides are not upright."""
    sides = np.abs(np.diff(points, axis=1))
    closed = np.abs(points[:, 0] + points[:, 2] - points[:, 1] - points[:, 3]).max(axis=1) <= 0.01
    return np.asarray(closed & (sides.min(axis=2) > 0.005).any(axis=1))
