"""The check of a data set: every file is read once, and what a person must know is collected. All commands use it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.data import findings
from edge_yolov9.data.checks import doubles, files
from edge_yolov9.data.findings import DEPTH, MISSING, Finding, Findings, Level
from edge_yolov9.data.look import CountProgress, Look, look, look_at
from edge_yolov9.data.objects import Objects, without_area, wrong_areas
from edge_yolov9.data.records import ImageRecord, Split
from edge_yolov9.data.rows import Forms
from edge_yolov9.errors import DataError
from edge_yolov9.text import brief

SLACK = 1.0
"""Pixels that a box may reach over the edge of its image."""
COVERED = 0.99
"""Part of each side of the image that a box takes which covers it."""
MOST_OF_A_CLASS, MOST_OBJECTS = 100, 300
"""Detections of a class that COCO's AP counts, and that the detector keeps, per image."""
SOME, FEW = 0.1, 0.01
"""Share of images without a label file, of crowds and of covering boxes above which a person must know; and of boxes
that are there twice."""
LEAST_CORNERS, CORNERS_OUTSIDE = 4, 0.2
"""Boxes, and the part of them outside, from which numbers that all grow are taken for corners."""


@dataclass(frozen=True)
class Checked:
    """A split after the check."""

    split: Split
    """The images that can be used, each with its look."""
    listed: int
    """Images that are listed, whether or not they can be used."""


def check(
    splits: Sequence[Split],
    found: Findings,
    progress: CountProgress | None = None,
    look_once: Callable[[Path], Look] = look,
) -> list[Checked]:
    """Look at every image and label of some splits of one data set.

    Args:
        splits: as they are listed, with images that are missing.
        found: what is found goes there.
        progress: is called with images done and images in all.
        look_once: looks at one file.
    """
    total, done = sum(len(split) for split in splits), 0

    def count(here: int, _: int) -> None:
        if progress is not None:
            progress(done + here, total)

    checked = []
    for split in splits:
        looks = look_at((record.path for record in split.images), count, look_once)
        done += len(split)
        checked.append(_split(split, looks, found))
    files.across(checked_splits := [one.split for one in checked], found)
    doubles.exchanged(checked_splits, found)
    return checked


def _split(split: Split, looks: Sequence[Look], found: Findings) -> Checked:
    records = [replace(record, look=one) for record, one in zip(split.images, looks, strict=True)]
    fine = [record for record in records if _image(record, split.name, found)]
    forms, readable = Forms(), []
    for record in fine:
        try:
            objects = record.labelled
            forms += record.forms
        except DataError as error:
            found.add(_at(findings.MALFORMED, split.name, record, detail="", where=str(error)))
            continue
        readable.append(record)
        if len(objects):
            _objects(record, objects, split, found)
    _rows(split.name, readable, forms, found)
    _corners(split.name, readable, found)
    doubles.find(split.name, readable, found)
    kept = files.listed_once(split.name, readable, found)
    files.labels(split.name, [record for record in records if record.look and not record.look.fault], found)
    for file in split.left_over:
        found.add(Finding(findings.ORPHAN, split.name, file))
    _classes(split, kept, found)
    _ease(split.name, kept, found)
    return Checked(replace(split, images=tuple(kept)), len(split))


def _at(
    kind: str, split: str, record: ImageRecord, where: str = "", detail: str = "", box: int | None = None
) -> Finding:
    return Finding(kind, split, record.path, where, detail, () if box is None else (box,))


def _image(record: ImageRecord, split: str, found: Findings) -> bool:
    """Whether an image can be used, and is the one that its annotations are for."""
    seen = record.look
    assert seen is not None
    if seen.fault:
        found.add(fault(record.path, seen, split))
        return False
    stated = record.stated_size
    if stated is not None and stated != seen.size and record.annotated is not None and len(record.annotated):
        (height, width), (h, w) = stated, seen.size
        turned = ", which its EXIF tag turns" if (height, width) == (w, h) else ""
        detail = f"the annotations are for {width} x {height} pixels, the image has {w} x {h}{turned}"
        found.add(_at(findings.SIZE, split, record, detail=detail))
        return False
    return True


def fault(path: Path, seen: Look, split: str) -> Finding:
    """Why an image cannot be used."""
    if seen.fault == MISSING:
        return Finding(seen.fault, split, path)
    why, _, remedy = seen.why.removeprefix("does not decode").removeprefix(" as an image").partition("; ")
    return Finding(seen.fault, split, path, detail=why.removeprefix(": "), remedy=remedy if seen.fault == DEPTH else "")


def _objects(record: ImageRecord, objects: Objects, split: Split, found: Findings) -> None:
    """What is wrong with single boxes of an image."""
    height, width = record.size
    xyxy = objects.xyxy
    sides = xyxy[:, 2:] - xyxy[:, :2]
    empty = without_area(objects, (height, width))
    beyond = (xyxy < -SLACK) | (xyxy > np.array([width, height] * 2, np.float32) + SLACK)
    outside = np.asarray(beyond.any(axis=1))
    single = np.asarray(~objects.iscrowd)
    _boxes(findings.OUTSIDE, outside, record, objects, split.name, found)
    _boxes(findings.EMPTY, np.asarray(empty & ~outside), record, objects, split.name, found)
    thin = np.asarray(single & ~empty & (sides < 1).any(axis=1))
    _boxes(findings.SLIVER, thin, record, objects, split.name, found)
    covering = (sides >= COVERED * np.array([width, height])).all(axis=1)
    _boxes(findings.COVERING, single & covering, record, objects, split.name, found)
    if record.annotated is not None:
        _boxes(findings.AREA, wrong_areas(objects), record, objects, split.name, found)
    if len(objects) > MOST_OF_A_CLASS:
        most = int(np.bincount(objects.class_id[single], minlength=1).max())
        if most > MOST_OF_A_CLASS:
            found.add(_at(findings.MANY, split.name, record, detail=f"{most}"))
        if single.sum() > MOST_OBJECTS:
            found.add(_at(findings.MORE, split.name, record, detail=f"{int(single.sum())}"))


def _boxes(
    kind: str, which: NDArray[np.bool_], record: ImageRecord, objects: Objects, split: str, found: Findings
) -> None:
    """One finding for an image, that counts its boxes."""
    if which.any():
        first = np.flatnonzero(which)
        found.add(
            replace(_at(kind, split, record, place(record, objects, int(first[0]))), boxes=tuple(first.tolist())),
            len(first),
        )


def place(record: ImageRecord, objects: Objects, index: int) -> str:
    """Where a person finds an object: label file and line, or image and annotation."""
    number = None if objects.places is None else int(objects.places[index])
    if record.labels is not None:
        return brief(record.labels) if number is None else f"{brief(record.labels)}:{number}"
    return brief(record.path) if number is None or number < 0 else f"{brief(record.path)}, annotation {number}"


def _rows(split: str, records: Sequence[ImageRecord], forms: Forms, found: Findings) -> None:
    """Long rows that are no polygons, in all files of a split."""
    foreign = forms.foreign()
    if not (foreign or forms.rotated):
        return
    kind = findings.FOREIGN if foreign else findings.ROTATED
    for record in records:
        if record.forms.rows:
            where = place(record, record.labelled, 0).rpartition(":")[0]
            found.add(_at(kind, split, record, where, foreign or "the upright box is larger"), record.forms.rows)


def _corners(split: str, records: Sequence[ImageRecord], found: Findings) -> None:
    """Boxes that all grow when they are read as corners, and of which many lie outside as they are read."""
    boxes = [record for record in records if len(record.labelled) and not record.forms.rows]
    count = sum(len(record.labelled) for record in boxes)
    outside = found.at(findings.OUTSIDE, split)
    if count < LEAST_CORNERS or outside < CORNERS_OUTSIDE * count:
        return
    if all(_grow(record) for record in boxes):
        for record in boxes:
            found.add(_at(findings.CORNERS, split, record, place(record, record.labelled, 0)), len(record.labelled))


def _grow(record: ImageRecord) -> bool:
    """Whether the four numbers of every box would be corners: x2 > x1, y2 > y1."""
    xyxy = record.labelled.xyxy
    sides = xyxy[:, 2:] - xyxy[:, :2]
    first = xyxy[:, :2] if record.annotated is not None else (xyxy[:, :2] + xyxy[:, 2:]) / 2
    return bool((sides >= first).all())


def _classes(split: Split, records: Sequence[ImageRecord], found: Findings) -> None:
    """Classes and crowds of a split."""
    counts, crowds, first = np.zeros(len(split.names), np.int64), 0, None
    for record in records:
        objects = record.objects
        counts += np.bincount(objects.class_id[~objects.iscrowd], minlength=len(counts))
        if objects.iscrowd.any():
            crowds += int(objects.iscrowd.sum())
            first = first or record
    if first is not None:
        found.add(_at(findings.CROWD, split.name, first), crowds)
        if crowds > SOME * (crowds + int(counts.sum())):
            found.level(findings.CROWD, split.name, Level.WARNING)
    if counts.sum():
        for index in np.flatnonzero(counts == 0):
            found.add(Finding(findings.ABSENT, split.name, records[0].path, where=split.names[index]))


def _ease(split: str, records: Sequence[ImageRecord], found: Findings) -> None:
    """What is no more than a few is a note."""
    objects = sum(len(record.labelled) for record in records)
    for kind, share, among in (
        (findings.UNLABELLED, SOME, len(records)),
        (findings.DOUBLE, FEW, objects),
        (findings.TWO_CLASSES, FEW, objects),
    ):
        if found.at(kind, split) <= share * among:
            found.level(kind, split, Level.NOTE)
    if found.at(findings.COVERING, split) > SOME * max(1, objects):
        found.level(findings.COVERING, split, Level.WARNING)
