"""Folders as programs export them, without a DATA file: Pascal VOC, COCO, Roboflow, CVAT, Label Studio, Darknet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_yolov9.data import coco
from edge_yolov9.data.formats import cvat, voc
from edge_yolov9.data.places import other_readings
from edge_yolov9.data.reading import is_file, is_folder, read_text
from edge_yolov9.errors import DataError
from edge_yolov9.images import natural_order
from edge_yolov9.text import brief

Entry = str | dict[str, str]
"""A split as a DATA file states it."""
SPLIT_NAMES = {
    "train": ("train", "training", "default", "trainval"),
    "val": ("val", "valid", "validation"),
    "test": ("test",),
}
INSTANCES = re.compile(r"(?:instances|annotations)?[._]?([a-z]*)[0-9]{0,4}\.json", re.IGNORECASE)
"""COCO's and CVAT's names of annotation files: the split's name, and perhaps a year."""
EXPECTED = (
    "data.yaml, obj.data, Annotations with JPEGImages, annotations/*.json with images, train/_annotations.coco.json, "
    "or classes.txt with images and labels"
)


@dataclass(frozen=True)
class Layout:
    """What stands in for a DATA file."""

    names: tuple[str, ...]
    splits: dict[str, Entry]
    root: Path


def layout(folder: Path) -> Layout:
    """The data set in a folder.

    Raises:
        DataError: it is none that is known, or it cannot be read.
    """
    for known in (_darknet, _voc, _cvat, _coco, _split_folders, _label_studio):
        found = known(folder)
        if found is not None:
            return found
    raise DataError(f"{brief(folder)} holds no data set that is known; expected {EXPECTED}")


def data_file(folder: Path) -> Path | None:
    """The DATA file in a folder: data.yaml, or the only YAML file; None without one."""
    for name in ("data.yaml", "data.yml", "dataset.yaml"):
        if is_file(folder / name):
            return folder / name
    others = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
    return others[0] if len(others) == 1 else None


def _darknet(folder: Path) -> Layout | None:
    """``obj.data`` names lists and class names, whose paths begin with a folder that archives lack."""
    file = folder / "obj.data"
    if not is_file(file):
        return None
    pairs = dict(_pairs(read_text(file, "the data file")))
    named = _found(folder, pairs.get("names", "obj.names"))
    if named is None:
        raise DataError(f"{brief(file)} names no file of class names that exists; expected names = obj.names")
    splits: dict[str, Entry] = {}
    for split, words in SPLIT_NAMES.items():
        for word in words:
            place = _found(folder, pairs[word]) if word in pairs else None
            if place is not None and split not in splits:
                splits[split] = str(place)
    return Layout(_lines(named), splits, folder)


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            yield key.strip(), value.strip()


def _found(folder: Path, written: str) -> Path | None:
    """A path of an archive, wherever its root is."""
    return next((folder / one for one in (written, *other_readings(written)) if is_file(folder / one)), None)


def _voc(folder: Path) -> Layout | None:
    """``Annotations`` and ``JPEGImages``, with lists of stems in ``ImageSets/Main`` where there are splits."""
    images = next((name for name in ("JPEGImages", "images") if is_folder(folder / name)), None)
    if images is None or not is_folder(folder / "Annotations"):
        return None
    entry = {"images": images, "annotations": "Annotations"}
    splits: dict[str, Entry] = {}
    for split, words in SPLIT_NAMES.items():
        for word in words:
            file = f"ImageSets/Main/{word}.txt"
            if is_file(folder / file) and split not in splits:
                splits[split] = {**entry, "list": file}
    return Layout(_voc_names(folder, [folder / "Annotations"]), splits or {"train": dict(entry)}, folder)


def _voc_names(folder: Path, places: list[Path]) -> tuple[str, ...]:
    """Of CVAT's ``labelmap.txt`` or a ``classes.txt``, in their order; else those that objects have, by letter."""
    if is_file(folder / "labelmap.txt"):
        lines = (line.partition(":")[0].strip() for line in _lines(folder / "labelmap.txt") if line[0] != "#")
        return tuple(name for name in lines if name and name != "background")
    for name in ("classes.txt", "labels.txt"):
        if is_file(folder / name):
            return _lines(folder / name)
    files = [file for place in places for file in sorted(place.glob("*.xml"), key=natural_order)]
    names = set[str]().union(*(voc.class_names(file) for file in files))
    if not names:
        raise DataError(f"no object is annotated in {brief(places[0])}, so the class names are not known")
    return tuple(sorted(names))


def _cvat(folder: Path) -> Layout | None:
    """``annotations.xml`` and ``images``."""
    if not is_file(folder / "annotations.xml"):
        return None
    images = "images" if is_folder(folder / "images") else "."
    entry = {"images": images, "annotations": "annotations.xml"}
    return Layout(cvat.label_names(folder / "annotations.xml"), {"train": entry}, folder)


def _coco(folder: Path) -> Layout | None:
    """``annotations/instances_SPLIT.json`` with ``images/SPLIT``, ``SPLIT`` or ``images``; or ``result.json``."""
    files = sorted((folder / "annotations").glob("*.json")) if is_folder(folder / "annotations") else []
    if not files and is_file(folder / "result.json"):
        files = [folder / "result.json"]
    splits: dict[str, Entry] = {}
    for file in files:
        match = INSTANCES.fullmatch(file.name)
        word = match[1].lower() if match else ""
        split = next((name for name, words in SPLIT_NAMES.items() if word in words), "train" if len(files) == 1 else "")
        if not split or split in splits:
            continue
        stem = file.stem.rpartition("_")[2]
        places = (".",) if file.parent == folder else (f"images/{stem}", stem, f"images/{word}", word, "images", ".")
        place = next(place for place in places if place and is_folder(folder / place))
        splits[split] = {"images": place, "annotations": file.relative_to(folder).as_posix()}
    if not splits:
        return None
    return Layout(_coco_names(folder, splits), splits, folder)


def _coco_names(folder: Path, splits: dict[str, Entry]) -> tuple[str, ...]:
    first = next(entry for entry in splits.values() if isinstance(entry, dict))
    return coco.category_names(folder / first["annotations"])


def _split_folders(folder: Path) -> Layout | None:
    """``train``, ``valid`` and ``test`` with pictures and ``_annotations.coco.json``, or with one XML file each."""
    splits: dict[str, Entry] = {}
    kinds = set()
    for split, words in SPLIT_NAMES.items():
        word = next((word for word in words if is_folder(folder / word)), None)
        if word is None:
            continue
        if is_file(folder / word / "_annotations.coco.json"):
            splits[split] = {"images": word, "annotations": f"{word}/_annotations.coco.json"}
            kinds.add("coco")
        elif next((folder / word).glob("*.xml"), None) is not None:
            splits[split] = {"images": word, "annotations": word}
            kinds.add("voc")
    if len(kinds) != 1:
        return None
    places = [folder / entry["images"] for entry in splits.values() if isinstance(entry, dict)]
    names = _coco_names(folder, splits) if kinds == {"coco"} else _voc_names(folder, places)
    return Layout(names, splits, folder)


def _label_studio(folder: Path) -> Layout | None:
    """``classes.txt``, ``images`` and ``labels``."""
    if not (is_file(folder / "classes.txt") and is_folder(folder / "images") and is_folder(folder / "labels")):
        return None
    splits: dict[str, Entry] = {}
    for split, words in SPLIT_NAMES.items():
        if word := next((word for word in words if is_folder(folder / "images" / word)), ""):
            splits[split] = f"images/{word}"
    return Layout(_lines(folder / "classes.txt"), splits or {"train": "images"}, folder)


def _lines(file: Path) -> tuple[str, ...]:
    lines = tuple(line.strip() for line in read_text(file, "class names").splitlines() if line.strip())
    if not lines or len(set(lines)) < len(lines):
        raise DataError(f"{brief(file)} must hold class names, one a line, each once")
    return lines
