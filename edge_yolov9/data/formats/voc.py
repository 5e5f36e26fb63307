"""Ground truth in Pascal VOC's XML: one file for each image."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path

from edge_yolov9.data.formats.xml import coordinates, parse_xml, stated_size
from edge_yolov9.data.objects import Objects, make_objects
from edge_yolov9.data.reading import is_file, read_text, shorten
from edge_yolov9.data.records import ImageRecord, Split
from edge_yolov9.errors import DataError
from edge_yolov9.images import image_files, natural_order
from edge_yolov9.text import brief, shown

SIDES = ("xmin", "ymin", "xmax", "ymax")


def read_voc(path: Path, classes: Mapping[str, int]) -> tuple[Objects, tuple[int, int] | None]:
    """Objects of an image, and its size (height, width) as the file states it; None where it states none.

    Corners are taken as they stand: programs differ in whether they count pixels from 0 or from 1. Objects that are
    marked as difficult count as others do.

    Args:
        path: the XML file.
        classes: index of each class name.

    Raises:
        DataError: the file cannot be read, is malformed, or holds another class.
    """
    root = parse_xml(path, "annotation")
    rows = []
    for number, item in enumerate(root.iter("object"), 1):
        try:
            rows.append(_row(item, classes))
        except ValueError as error:
            raise DataError(f"{brief(path)}: object {number}: {error}") from None
    return make_objects(rows, places=range(1, len(rows) + 1)), _size(root)


def voc_split(
    name: str, names: tuple[str, ...], images: Path, annotations: Path, listed: Path | None, missing_ok: bool
) -> Split:
    """A split of one XML file for each image.

    Args:
        name: of the split.
        names: the data set's classes.
        images: folder of the images.
        annotations: folder of the XML files, which have the names of the images.
        listed: text file of the names of the split, without suffix; all images where it is None.
        missing_ok: keep images that are listed but not there.

    Raises:
        DataError: no image is there, one is missing, or a file is malformed.
    """
    found = reversed(image_files(images, recursive=True))  # of two with one name the first counts
    files = {file.relative_to(images).with_suffix("").as_posix(): file for file in found}
    stems = list(reversed(files))
    if listed is not None:
        words = [line.split() for line in read_text(listed, "the list").splitlines()]
        stems = [word[0] for word in words if word and word[-1] != "-1"]
        missing = [stem for stem in stems if stem not in files]
        if missing and not (missing_ok and len(missing) < len(stems)):
            raise DataError(f"{brief(listed)} lists {brief(missing[0])}, of which {brief(images)} has no image")
    classes = {label: index for index, label in enumerate(names)}
    records = []
    for number, stem in enumerate(stems, 1):
        file = files.get(stem, images / f"{stem}.jpg")
        source = annotations / f"{stem}.xml"
        objects, size = read_voc(source, classes) if is_file(source) else (None, None)
        records.append(ImageRecord(file, number, len(names), None, objects, size))
    if not any(record.annotated is not None for record in records):
        raise DataError(f"no image of {name} in {brief(images)} has an XML file of its name in {brief(annotations)}")
    known = files.keys() if listed is None else {*files, *stems}
    left = sorted((file for file in annotations.glob("*.xml") if file.stem not in known), key=natural_order)
    return Split(name, names, tuple(records), tuple(left))


def class_names(path: Path) -> set[str]:
    """The names of an image's objects; errors as for :func:`read_voc`."""
    return {_text(item, "name") for item in parse_xml(path, "annotation").iter("object")} - {""}


def _row(item: ElementTree.Element, classes: Mapping[str, int]) -> tuple[float, ...]:
    name, box = _text(item, "name"), item.find("bndbox")
    if name not in classes:
        raise ValueError(f"class {shown(name)} is not one of {shorten(classes)}")
    if box is None:
        turned = " (a rotated box: export upright ones)" if item.find("robndbox") is not None else ""
        raise ValueError(f"it has no bndbox{turned}")
    texts = [_text(box, side) for side in SIDES]
    corners = coordinates(texts, f" for {', '.join(SIDES)}")
    if corners[2] < corners[0] or corners[3] < corners[1]:
        raise ValueError(f"its box ends before it begins: {shown(texts)[:90]}")
    return (classes[name], *corners, 0.0, math.nan)


def _size(root: ElementTree.Element) -> tuple[int, int] | None:
    stated = root.find("size")
    return None if stated is None else stated_size(_text(stated, "height"), _text(stated, "width"))


def _text(item: ElementTree.Element, tag: str) -> str:
    return (item.findtext(tag) or "").strip()
