"""Ground truth in YOLO's text files: boxes, polygons, and boxes with keypoints."""

from __future__ import annotations

import math
from pathlib import Path

from edge_yolov9.data.objects import Objects, Outline, make_objects, outline_of
from edge_yolov9.data.reading import read_text
from edge_yolov9.data.rows import Forms, forms_of
from edge_yolov9.errors import DataError
from edge_yolov9.text import brief, shown

TOLERANCE = 1e-3
"""How far beyond the image's edge a YOLO coordinate may lie: writers round."""

Row = tuple[float, ...]
"""Class, x1, y1, x2, y2, iscrowd, area; x and y in fractions of the image, a NaN area means the box's."""


def read_yolo(path: Path, size: tuple[int, int], num_classes: int, keypoints: int = 0) -> Objects:
    """Read ``class x y width height`` or ``class x1 y1 x2 y2 x3 y3 ...`` lines, in fractions of the image.

    Args:
        path: the text file.
        size: (height, width) of the image, pixels.
        num_classes: how many names the data set has.
        keypoints: how many numbers follow the box in a row of keypoints; 0 where rows have none.

    Raises:
        DataError: the file cannot be read, or a line is malformed; says which.
    """
    return read_rows(path, size, num_classes, keypoints)[0]


def read_rows(path: Path, size: tuple[int, int], num_classes: int, keypoints: int = 0) -> tuple[Objects, Forms]:
    """:func:`read_yolo`, and what the long rows look like."""
    rows: list[Row] = []
    places: list[int] = []
    outlines: list[Outline] = []
    long: list[list[str]] = []
    for number, line in enumerate(read_text(path, "labels").splitlines(), 1):
        if words := line.split():
            try:
                row = _yolo_row(words, num_classes, keypoints)
            except ValueError as error:
                raise DataError(f"{brief(path)}:{number}: {error}") from None
            rows.append(row)
            places.append(number)
            polygon = len(words) > 5 and not keypoints
            outlines.append(outline_of([words[1:]]) if polygon else ())
            if polygon:
                long.append(words)
    return make_objects(rows, (size[1], size[0]), outlines, places), forms_of(long)


def _yolo_row(words: list[str], num_classes: int, keypoints: int) -> Row:
    """One line -> (class, x1, y1, x2, y2, 0, NaN) in fractions of the image."""
    count = len(words)
    if keypoints and count not in (5, 5 + keypoints):
        raise ValueError(f"expected {5 + keypoints} values, as kpt_shape says, or a box alone, found {count} values")
    if not keypoints and count != 5 and (count < 7 or count % 2 == 0):
        raise ValueError(f"expected class x y width height, found {count} values{_why(count)}")
    try:
        values = [float(word) for word in words]
    except ValueError:
        raise ValueError(f"expected numbers, found {shown(' '.join(words[:5]))}") from None
    if not all(math.isfinite(value) for value in values):
        raise ValueError("expected finite numbers, found NaN or infinity")
    index, *place = values[:5] if keypoints else values
    if index != int(index) or not 0 <= index < num_classes:
        raise ValueError(f"class {brief(words[0])} is not one of 0 to {num_classes - 1}")
    if min(place) < -TOLERANCE or max(place) > 1 + TOLERANCE:
        what = "pixels?" if count == 5 else "pixels, keypoints with a visibility, or a track id?"
        raise ValueError(f"expected coordinates as fractions of the image in [0, 1], found others ({what})")
    if len(place) == 4:
        x, y, w, h = place
        corners = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        if w < 0 or h < 0:
            raise ValueError("expected a width and height of at least 0")
    else:
        corners = (min(place[::2]), min(place[1::2]), max(place[::2]), max(place[1::2]))
    return (index, *corners, 0.0, math.nan)


def _why(count: int) -> str:
    if count == 6:
        return " (the sixth is a confidence or an angle? export boxes alone)"
    return " (keypoints? then DATA needs kpt_shape: [how many, 2 or 3])" if count > 6 else ""
