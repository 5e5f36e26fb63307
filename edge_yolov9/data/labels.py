"""Ground truth: YOLO text files and COCO JSON. No torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.errors import DataError

TOLERANCE = 1e-3
"""How far beyond the image's edge a YOLO coordinate may lie: writers round."""


Outline = tuple[NDArray[np.float32], ...]
"""Polygons (K, 2) of x, y around the parts of one object; none where only its box is known."""


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

    def __len__(self) -> int:
        return len(self.class_id)


@dataclass(frozen=True, eq=False)
class CocoImage:
    """One image of a COCO file."""

    image_id: int
    file_name: str
    size: tuple[int, int] | None
    """(height, width) as the file states it."""
    objects: Objects


def make_objects(
    rows: Sequence[tuple[float, ...]], scale: tuple[float, float] = (1.0, 1.0), outlines: Sequence[Outline] = ()
) -> Objects:
    """Rows (class, x1, y1, x2, y2, iscrowd, area), x and y multiplied by ``scale``; a NaN area means the box's."""
    table = np.array(rows, np.float64).reshape(-1, 7)
    xyxy = table[:, 1:5] * np.array([*scale, *scale])
    box_area = (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])
    area = np.where(np.isnan(table[:, 6]), box_area, table[:, 6])
    scaled = tuple(tuple(part * np.array(scale, np.float32) for part in outline) for outline in outlines)
    return Objects(
        xyxy.astype(np.float32), table[:, 0].astype(np.int64), table[:, 5] > 0, area, scaled if any(scaled) else ()
    )


def label_file(image: Path) -> Path | None:
    """Where the YOLO labels of an image are, or None."""
    for candidate in (expected_label(image), image.with_suffix(".txt")):
        if candidate.is_file():
            return candidate
    return None


def expected_label(image: Path) -> Path:
    """The last folder named images becomes labels; beside the image where there is none."""
    parts = list(image.parts)
    for i in range(len(parts) - 2, -1, -1):
        if parts[i] == "images":
            return Path(*parts[:i], "labels", *parts[i + 1 :]).with_suffix(".txt")
    return image.with_suffix(".txt")


def read_yolo(path: Path, size: tuple[int, int], num_classes: int) -> Objects:
    """Read ``class x y width height`` or ``class x1 y1 x2 y2 x3 y3 ...`` lines, in fractions of the image.

    Args:
        path: the text file.
        size: (height, width) of the image, pixels.
        num_classes: how many names the data set has.

    Raises:
        DataError: the file cannot be read, or a line is malformed; says which.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read labels {path}: {error}") from None
    rows, outlines = [], []
    for number, line in enumerate(lines, 1):
        if words := line.split():
            try:
                rows.append(_yolo_row(words, num_classes))
            except ValueError as error:
                raise DataError(f"{path}:{number}: {error}") from None
            outlines.append(_outline([words[1:]]) if len(words) > 5 else ())
    return make_objects(rows, (size[1], size[0]), outlines)


def _outline(parts: Any) -> Outline:
    """Polygons from flat lists x1, y1, x2, y2, ...; what is not a polygon (run lengths, nothing) gives none."""
    if not isinstance(parts, list) or not all(isinstance(part, list) and len(part) % 2 == 0 for part in parts):
        return ()
    try:
        arrays = tuple(np.array(part, np.float32).reshape(-1, 2) for part in parts if len(part) >= 6)
    except (TypeError, ValueError):
        return ()
    return arrays if all(np.isfinite(array).all() for array in arrays) else ()


def _yolo_row(words: list[str], num_classes: int) -> tuple[float, ...]:
    """One line -> (class, x1, y1, x2, y2, 0, NaN) in fractions of the image."""
    if len(words) != 5 and (len(words) < 7 or len(words) % 2 == 0):
        raise ValueError(f"expected class x y width height, found {len(words)} values")
    try:
        values = [float(word) for word in words]
    except ValueError:
        raise ValueError(f"expected numbers, found {' '.join(words[:5])!r}") from None
    if not all(math.isfinite(value) for value in values):
        raise ValueError("expected finite numbers, found NaN or infinity")
    index, *place = values
    if index != int(index) or not 0 <= index < num_classes:
        raise ValueError(f"class {words[0]} is not one of 0 to {num_classes - 1}")
    if min(place) < -TOLERANCE or max(place) > 1 + TOLERANCE:
        raise ValueError("expected coordinates as fractions of the image in [0, 1], found others (pixels?)")
    if len(place) == 4:
        x, y, w, h = place
        corners = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        if w < 0 or h < 0:
            raise ValueError("expected a width and height of at least 0")
    else:
        corners = (min(place[::2]), min(place[1::2]), max(place[::2]), max(place[1::2]))
    return (index, *corners, 0.0, math.nan)


def read_coco(path: Path, names: tuple[str, ...]) -> list[CocoImage]:
    """Read a COCO detection file; categories become indices into ``names`` by their name.

    Raises:
        DataError: unreadable, malformed, or its categories are not the names.
    """
    data = _load(path)
    classes = _category_index(path, data, names)
    rows: dict[Any, list[tuple[float, ...]]] = {}
    outlines: dict[Any, list[Outline]] = {}
    images: list[CocoImage] = []
    for image in data["images"]:
        if not isinstance(image, dict) or not isinstance(image.get("id"), int) or "file_name" not in image:
            raise DataError(f"{path}: every image needs an integer id and a file_name, found {str(image)[:80]}")
        if image["id"] in rows:
            raise DataError(f"{path}: image id {image['id']} appears twice")
        rows[image["id"]], outlines[image["id"]] = [], []
    for annotation in data["annotations"]:
        try:
            rows[annotation["image_id"]].append(_coco_row(annotation, classes))
            outlines[annotation["image_id"]].append(_outline(annotation.get("segmentation")))
        except (KeyError, TypeError, ValueError) as error:
            which = annotation.get("id") if isinstance(annotation, dict) else annotation
            why = f"{error} is missing or unknown" if isinstance(error, KeyError) else error
            raise DataError(f"{path}: annotation {which}: {why}") from None
    for image in data["images"]:
        size = (image.get("height"), image.get("width"))
        stated = size if all(isinstance(side, int) and side > 0 for side in size) else None
        objects = make_objects(rows[image["id"]], outlines=outlines[image["id"]])
        images.append(CocoImage(image["id"], str(image["file_name"]), stated, objects))
    return images


def _load(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read annotations {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from None
    for key in ("images", "annotations", "categories"):
        if not isinstance(data, dict) or not isinstance(data.get(key), list):
            raise DataError(f"{path} is not a COCO detection file: it has no list {key!r}")
    return dict(data)


def _category_index(path: Path, data: Mapping[str, Any], names: tuple[str, ...]) -> dict[int, int]:
    """{category id: index into names}. A category that no annotation uses may go without a name."""
    try:
        categories = {category["id"]: str(category["name"]) for category in data["categories"]}
        used = {annotation.get("category_id") for annotation in data["annotations"]}
    except (KeyError, TypeError, AttributeError):
        raise DataError(f"{path}: every category needs an id and a name, every annotation is an object") from None
    needed = {name for key, name in categories.items() if key in used}
    if not set(names) <= set(categories.values()) or not needed <= set(names):
        raise DataError(
            f"{path}: its categories {shorten(categories.values())} are not the names of the data set {shorten(names)}"
        )
    return {key: names.index(name) for key, name in categories.items() if name in names}


def _coco_row(annotation: Mapping[str, Any], classes: Mapping[int, int]) -> tuple[float, ...]:
    index = classes[annotation["category_id"]]
    x, y, w, h = (float(value) for value in annotation["bbox"])
    crowd, area = float(annotation.get("iscrowd", 0)), float(annotation.get("area", w * h))
    if not all(math.isfinite(value) for value in (x, y, w, h, area)) or w < 0 or h < 0:
        raise ValueError(f"bbox {annotation['bbox']} is not x, y, width, height with finite, non-negative sizes")
    return (index, x, y, x + w, y + h, crowd, area)


def shorten(names: Any, most: int = 12) -> str:
    """Class names for a message: the first few, and how many there are."""
    listed = list(names)
    more = f", ... {len(listed)} in all" if len(listed) > most else ""
    return f"[{', '.join(map(str, listed[:most]))}{more}]"
