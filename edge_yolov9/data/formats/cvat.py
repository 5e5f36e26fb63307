"""Ground truth in CVAT's own XML ("CVAT for images 1.1"): one file for all images."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edge_yolov9.data.formats.xml import coordinates, parse_xml, stated_size
from edge_yolov9.data.objects import Outline, make_objects, outline_of
from edge_yolov9.data.reading import is_file, shorten
from edge_yolov9.data.records import ImageRecord, Split
from edge_yolov9.errors import DataError
from edge_yolov9.text import brief, shown

Corners = tuple[float, float, float, float]


def label_names(path: Path) -> tuple[str, ...]:
    """The labels that the file states, in its order.

    Raises:
        DataError: it cannot be read, or states none.
    """
    names = [(label.findtext("name") or "").strip() for label in parse_xml(path, "annotations").iter("label")]
    if not names or len(set(names)) < len(names) or "" in names:
        raise DataError(f"{brief(path)}: labels must have different names, found {shorten(names)}")
    return tuple(names)


def cvat_split(name: str, names: tuple[str, ...], images: Path, path: Path, missing_ok: bool) -> Split:
    """All images of a file: boxes, and boxes around polygons. Other shapes are left out by CVAT's own exports, too.

    Args:
        name: of the split.
        names: the data set's classes.
        images: folder of the images.
        path: the XML file.
        missing_ok: keep images that are not there.

    Raises:
        DataError: the file is malformed, holds another class, or an image is missing.
    """
    classes = {label: index for index, label in enumerate(names)}
    records = []
    for number, item in enumerate(parse_xml(path, "annotations").iter("image"), 1):
        file = images / item.get("name", "")
        rows: list[tuple[float, ...]] = []
        outlines: list[Outline] = []
        for shape in item:
            if shape.tag not in ("box", "polygon"):
                continue
            try:
                corners, outline = _polygon(shape) if shape.tag == "polygon" else (_box(shape), ())
                rows.append((_class(shape, classes), *corners, 0.0, math.nan))
            except ValueError as error:
                raise DataError(f"{brief(path)}: {shape.tag} {len(rows) + 1} of {brief(file.name)}: {error}") from None
            outlines.append(outline)
        objects = make_objects(rows, outlines=outlines, places=range(1, len(rows) + 1))
        records.append(
            ImageRecord(
                file, number, len(names), None, objects, stated_size(item.get("height", ""), item.get("width", ""))
            )
        )
    if not records:
        raise DataError(f"{brief(path)} lists no image; {name} would be empty")
    missing = [record.path for record in records if not is_file(record.path)]
    if missing and not (missing_ok and len(missing) < len(records)):
        raise DataError(
            f"{brief(path)} lists {brief(missing[0])}, which is missing ({len(missing)} of {len(records)} are)"
        )
    return Split(name, names, tuple(records))


def _class(shape: ElementTree.Element, classes: Mapping[str, int]) -> int:
    label = shape.get("label", "")
    if label not in classes:
        raise ValueError(f"class {shown(label)} is not one of {shorten(classes)}")
    return classes[label]


def _box(shape: ElementTree.Element) -> Corners:
    x1, y1, x2, y2, angle = coordinates([shape.get(key, "") for key in ("xtl", "ytl", "xbr", "ybr")] + [_angle(shape)])
    if x2 < x1 or y2 < y1:
        raise ValueError("it ends before it begins")
    if not angle:
        return x1, y1, x2, y2
    turn = math.radians(angle)
    half_w, half_h, x, y = (x2 - x1) / 2, (y2 - y1) / 2, (x1 + x2) / 2, (y1 + y2) / 2
    reach_x = abs(half_w * math.cos(turn)) + abs(half_h * math.sin(turn))
    reach_y = abs(half_w * math.sin(turn)) + abs(half_h * math.cos(turn))
    return x - reach_x, y - reach_y, x + reach_x, y + reach_y


def _angle(shape: ElementTree.Element) -> str:
    return shape.get("rotation", "0")


def _polygon(shape: ElementTree.Element) -> tuple[Corners, Outline]:
    numbers = coordinates(shape.get("points", "").replace(";", ",").split(","))
    if len(numbers) < 6 or len(numbers) % 2:
        raise ValueError(f"expected three points or more, found {len(numbers)} numbers")
    points = np.array(numbers).reshape(-1, 2)
    (x1, y1), (x2, y2) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return (x1, y1, x2, y2), outline_of([numbers])
