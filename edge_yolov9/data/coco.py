"""Ground truth in COCO's JSON: boxes, polygons, and run lengths."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_yolov9.data.objects import Objects, Outline, make_objects, outline_of
from edge_yolov9.data.reading import read_text, shorten
from edge_yolov9.errors import DataError
from edge_yolov9.text import brief, printable, shown

LONGEST_SIDE = 1 << 20
"""Pixels of a stated height or width; beyond it the image itself is asked."""
LARGEST_COORDINATE = 1e9
"""Pixels from the corner of the image, at most."""


@dataclass(frozen=True, eq=False)
class CocoImage:
    """One image of a COCO file."""

    image_id: int
    file_name: str
    size: tuple[int, int] | None
    """(height, width) as the file states it."""
    objects: Objects


def read_coco(path: Path, names: tuple[str, ...]) -> list[CocoImage]:
    """Read a COCO detection file; categories become indices into ``names`` by their name.

    Raises:
        DataError: unreadable, malformed, or its categories are not the names.
    """
    data = _load(path)
    classes = _category_index(path, data, names)
    rows: dict[Any, list[tuple[float, ...]]] = {}
    outlines: dict[Any, list[Outline]] = {}
    places: dict[Any, list[int]] = {}
    for image in data["images"]:
        number = _checked_image(path, image)
        if number in rows:
            raise DataError(f"{brief(path)}: image id {number} appears twice")
        rows[number], outlines[number], places[number] = [], [], []
    for annotation in data["annotations"]:
        try:
            rows[annotation["image_id"]].append(_coco_row(annotation, classes))
            outlines[annotation["image_id"]].append(outline_of(annotation.get("segmentation")))
            places[annotation["image_id"]].append(_place(annotation.get("id")))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            which = annotation.get("id") if isinstance(annotation, dict) else annotation
            why = f"{shown(error.args[0])[:90]} is missing or unknown" if isinstance(error, KeyError) else error
            raise DataError(f"{brief(path)}: annotation {shown(which)[:30]}: {printable(why)[:150]}") from None
    images: list[CocoImage] = []
    for image in data["images"]:
        size = (image.get("height"), image.get("width"))
        stated = size if all(isinstance(side, int) and 0 < side <= LONGEST_SIDE for side in size) else None
        objects = make_objects(rows[image["id"]], outlines=outlines[image["id"]], places=places[image["id"]])
        images.append(CocoImage(image["id"], str(image["file_name"]), stated, objects))
    return images


def category_names(path: Path) -> tuple[str, ...]:
    """Names of the categories by id; Roboflow's first one, which names the project and has no object, is left out.

    Raises:
        DataError: unreadable or malformed.
    """
    data = _load(path)
    try:
        parents = {category.get("supercategory") for category in data["categories"]}
        used = {annotation["category_id"] for annotation in data["annotations"]}
        kept = [one for one in data["categories"] if one["id"] in used or one["name"] not in parents - {None}]
        kept = kept or data["categories"]
        names = [str(category["name"]) for category in sorted(kept, key=lambda category: category["id"])]
    except (KeyError, TypeError, AttributeError):
        raise DataError(
            f"{brief(path)}: every category needs an id and a name, every annotation is an object"
        ) from None
    if not names or len(set(names)) < len(names):
        raise DataError(f"{brief(path)}: categories must have different names, found {shorten(names)}")
    return tuple(names)


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


def _place(number: Any) -> int:
    """The id of an annotation; -1 where it is none."""
    return number if type(number) is int and abs(number) < 1 << 63 else -1


def _coco_row(annotation: Mapping[str, Any], classes: Mapping[int, int]) -> tuple[float, ...]:
    index = classes[annotation["category_id"]]
    x, y, w, h = (float(value) for value in _box(annotation))
    crowd, stated = float(annotation.get("iscrowd") or 0), annotation.get("area")
    area = w * h if stated is None else float(stated)
    if not (max(map(abs, (x, y, w, h))) <= LARGEST_COORDINATE and abs(area) < math.inf) or w < 0 or h < 0:
        raise ValueError(
            f"bbox {shown(annotation.get('bbox'))[:70]} is not x, y, width, height with finite, non-negative sizes"
        )
    return (index, x, y, x + w, y + h, crowd, area)


def _box(annotation: Mapping[str, Any]) -> Any:
    """``bbox``; where it is left out, the box around the segment.

    Raises:
        KeyError: there is neither.
        ValueError: the run lengths are malformed.
    """
    if annotation.get("bbox"):
        return annotation["bbox"]
    segment = annotation.get("segmentation")
    if isinstance(segment, dict):
        return _run_length_box(segment)
    parts = outline_of(segment)
    if not parts:
        return annotation["bbox"]
    points = np.concatenate(parts)
    low, high = points.min(axis=0), points.max(axis=0)
    return (*low, *(high - low))


def _run_length_box(segment: Mapping[str, Any]) -> Any:
    """The box around run lengths, by pycocotools, COCO's own reader of them."""
    from pycocotools import mask

    height, width = segment["size"]
    lengths = segment["counts"]
    if not (0 < int(height) <= LONGEST_SIDE and 0 < int(width) <= LONGEST_SIDE):
        raise ValueError(f"its run lengths are of {shown(segment['size'])[:40]} pixels")
    if isinstance(lengths, list):
        segment = mask.frPyObjects({"size": [height, width], "counts": lengths}, height, width)
    return mask.toBbox(segment).tolist()
