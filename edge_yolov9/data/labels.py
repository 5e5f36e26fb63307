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

from edge_yolov9.data.reading import is_file, read_text
from edge_yolov9.errors import DataError
from edge_yolov9.text import brief, printable, shown

TOLERANCE = 1e-3
"""How far beyond the image's edge a YOLO coordinate may lie: writers round."""


LONGEST_SIDE = 1 << 20
"""Pixels of a stated height or width; beyond it the image itself is asked."""
LARGEST_COORDINATE = 1e9
"""Pixels from the corner of the image, at most."""
MOST_NAMES, LONGEST_NAMES = 12, 60
"""Class names in a message, and their characters where there are several."""

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
        if is_file(candidate):
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
    lines = read_text(path, "labels").splitlines()
    rows, outlines = [], []
    for number, line in enumerate(lines, 1):
        if words := line.split():
            try:
                rows.append(_yolo_row(words, num_classes))
            except ValueError as error:
                raise DataError(f"{brief(path)}:{number}: {error}") from None
            outlines.append(_outline([words[1:]]) if len(words) > 5 else ())
    return make_objects(rows, (size[1], size[0]), outlines)


def _outline(parts: Any) -> Outline:
    """Polygons from flat lists x1, y1, x2, y2, ...; what is not a polygon (run lengths, nothing) gives none."""
    if not isinstance(parts, list) or not all(isinstance(part, list) and len(part) % 2 == 0 for part in parts):
        return ()
    try:
        arrays = tuple(np.array(part, np.float32).reshape(-1, 2) for part in parts if len(part) >= 6)
    except (TypeError, ValueError, OverflowError):
        return ()
    return arrays if all(np.isfinite(array).all() for array in arrays) else ()


def _yolo_row(words: list[str], num_classes: int) -> tuple[float, ...]:
    """One line -> (class, x1, y1, x2, y2, 0, NaN) in fractions of the image."""
    if len(words) != 5 and (len(words) < 7 or len(words) % 2 == 0):
        raise ValueError(f"expected class x y width height, found {len(words)} values")
    try:
        values = [float(word) for word in words]
    except ValueError:
        raise ValueError(f"expected numbers, found {shown(' '.join(words[:5]))}") from None
    if not all(math.isfinite(value) for value in values):
        raise ValueError("expected finite numbers, found NaN or infinity")
    index, *place = values
    if index != int(index) or not 0 <= index < num_classes:
        raise ValueError(f"class {brief(words[0])} is not one of 0 to {num_classes - 1}")
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
    for image in data["images"]:
        number = _checked_image(path, image)
        if number in rows:
            raise DataError(f"{brief(path)}: image id {number} appears twice")
        rows[number], outlines[number] = [], []
    for annotation in data["annotations"]:
        try:
            rows[annotation["image_id"]].append(_coco_row(annotation, classes))
            outlines[annotation["image_id"]].append(_outline(annotation.get("segmentation")))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            which = annotation.get("id") if isinstance(annotation, dict) else annotation
            why = f"{shown(error.args[0])[:90]} is missing or unknown" if isinstance(error, KeyError) else error
            raise DataError(f"{brief(path)}: annotation {shown(which)[:30]}: {printable(why)[:150]}") from None
    images: list[CocoImage] = []
    for image in data["images"]:
        size = (image.get("height"), image.get("width"))
        stated = size if all(isinstance(side, int) and 0 < side <= LONGEST_SIDE for side in size) else None
        objects = make_objects(rows[image["id"]], outlines=outlines[image["id"]])
        images.append(CocoImage(image["id"], str(image["file_name"]), stated, objects))
    return images


def _checked_image(path: Path, image: Any) -> int:
    """The id of an entry in ``images``, which has a file name, too."""
    if isinstance(image, dict) and isinstance(image.get("file_name"), str | int):
        number = image.get("id")
        if isinstance(number, int) and abs(number) < 1 << 63:
            return number
    raise DataError(f"{brief(path)}: every image needs an integer id and a file_name, found {shown(image)[:80]}")


def _load(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(read_text(path, "annotations"))
    except ValueError as error:
        raise DataError(f"{brief(path)} is not JSON: {error}") from None
    except RecursionError:
        raise DataError(f"{brief(path)} is not a COCO detection file: it is nested too deeply") from None
    for key in ("images", "annotations", "categories"):
        if not isinstance(data, dict) or not isinstance(data.get(key), list):
            raise DataError(f"{brief(path)} is not a COCO detection file: it has no list {key!r}")
    return dict(data)


def _category_index(path: Path, data: Mapping[str, Any], names: tuple[str, ...]) -> dict[int, int]:
    """{category id: index into names}. A category that no annotation uses may go without a name."""
    try:
        categories = {category["id"]: str(category["name"]) for category in data["categories"]}
        used = {annotation.get("category_id") for annotation in data["annotations"]}
    except (KeyError, TypeError, AttributeError):
        raise DataError(
            f"{brief(path)}: every category needs an id and a name, every annotation is an object"
        ) from None
    needed = {name for key, name in categories.items() if key in used}
    indices = {name: index for index, name in enumerate(names)}
    if not set(names) <= set(categories.values()) or not needed <= set(names):
        raise DataError(
            f"{brief(path)}: its categories {shorten(categories.values())} are not the names of the data set "
            f"{shorten(names)}"
        )
    return {key: indices[name] for key, name in categories.items() if name in indices}


def _coco_row(annotation: Mapping[str, Any], classes: Mapping[int, int]) -> tuple[float, ...]:
    index = classes[annotation["category_id"]]
    x, y, w, h = (float(value) for value in annotation["bbox"])
    crowd, area = float(annotation.get("iscrowd", 0)), float(annotation.get("area", w * h))
    if not (max(map(abs, (x, y, w, h))) <= LARGEST_COORDINATE and abs(area) < math.inf) or w < 0 or h < 0:
        raise ValueError(
            f"bbox {shown(annotation['bbox'])[:70]} is not x, y, width, height with finite, non-negative sizes"
        )
    return (index, x, y, x + w, y + h, crowd, area)


def shorten(names: Any) -> str:
    """Class names for a message: the first few, and how many there are."""
    listed = list(names)
    names = map(printable, listed[:MOST_NAMES])
    first = [name if len(name) <= LONGEST_NAMES else f"{name[:LONGEST_NAMES]}..." for name in names]
    while len(first) > 1 and len(", ".join(first)) > LONGEST_NAMES:
        first.pop()
    more = f", ... {len(listed)} in all" if len(listed) > len(first) else ""
    return f"[{', '.join(first)}{more}]"
