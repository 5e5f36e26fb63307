"""The data check before a run: what is in the data, and what is wrong with it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edge_yolov9.data import Dataset, ImageRecord, Split
from edge_yolov9.errors import DataError
from edge_yolov9.images import decoded
from edge_yolov9.train.dataset import Picture

SLACK = 1.0
"""Pixels that a box may reach over the edge of its image."""
SHOWN = 3
"""Examples listed per kind of problem."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in one file."""

    kind: str
    file: Path


@dataclass(frozen=True)
class Survey:
    """What the check found."""

    pictures: tuple[Picture, ...]
    """Training images that decode, with the boxes that have an area, clipped to their image."""
    digest: str
    """sha256 over the content of the training images and their boxes."""
    problems: tuple[Problem, ...]
    summary: str
    """Several lines: images and objects per class and split, and the problems."""


@dataclass(frozen=True)
class _File:
    """One image file."""

    record: ImageRecord
    digest: str
    readable: bool


def survey(train: Split, val: Split) -> Survey:
    """Read every file once.

    Raises:
        DataError: a label file is malformed, or no training image has a usable object.
    """
    with ThreadPoolExecutor() as pool:
        files = {split.name: list(pool.map(_look, split.images)) for split in (train, val)}
    problems = [p for split in files.values() for file in split for p in _problems(file)]
    validated = {file.digest for file in files[val.name]}
    twins = [Problem("image of train that is in val too", f.record.path) for f in files[train.name]]
    problems += [twin for twin, f in zip(twins, files[train.name], strict=True) if f.digest in validated]
    usable = [f for f in files[train.name] if f.readable]
    pictures = tuple(_picture(f.record) for f in usable)
    if not any(len(p.boxes) for p in pictures):
        raise DataError(f"the {len(train)} images of {train.name} hold no usable object; training needs some")
    digest = hashlib.sha256()
    for file, picture in zip(usable, pictures, strict=True):
        digest.update(file.digest.encode() + picture.boxes.tobytes())
        digest.update(b"".join(part.tobytes() for outline in picture.outlines for part in outline))
    counts = [_counts(split, [f.record for f in files[split.name] if f.readable]) for split in (train, val)]
    text = "\n".join([*counts, *_listed(problems)])
    return Survey(pictures, digest.hexdigest(), tuple(problems), text)


def splits(data: Dataset) -> tuple[Split, Split]:
    """The train and val splits, with what is listed but missing: :func:`survey` names it."""
    return data.split("train", missing_ok=True), data.split("val", missing_ok=True)


def _look(record: ImageRecord) -> _File:
    """Hash the file, and decode it coarsely."""
    try:
        content = record.path.read_bytes()
    except OSError:
        return _File(record, "", False)
    image = decoded(content, cv2.IMREAD_REDUCED_GRAYSCALE_8)
    return _File(record, hashlib.sha256(content).hexdigest(), image is not None)


def _problems(file: _File) -> list[Problem]:
    record = file.record
    if not file.readable:
        return [Problem("image that does not decode" if file.digest else "image that is missing", record.path)]
    xyxy, (height, width) = record.xyxy, record.size
    kinds = []
    if len(xyxy) and ((xyxy < -SLACK) | (xyxy > np.array([width, height] * 2) + SLACK)).any():
        kinds.append("box outside its image")
    if len(xyxy) and ((xyxy[:, 2:] - xyxy[:, :2]) <= 0).any():
        kinds.append("box without area")
    return [Problem(kind, record.path) for kind in kinds]


def _picture(record: ImageRecord) -> Picture:
    """Boxes clipped to the image; crowds and boxes without area are left out."""
    height, width = record.size
    xyxy = record.xyxy.clip(0, np.array([width, height] * 2, np.float32))
    keep = ~record.iscrowd & (xyxy[:, 2:] > xyxy[:, :2]).all(1)
    rows = np.concatenate((record.class_id[:, None], xyxy), 1)[keep]
    fractions = np.array([width, height], np.float32)
    outlines = [tuple(part / fractions for part in outline) for outline in record.objects.outlines]
    kept = tuple(outline for outline, wanted in zip(outlines, keep, strict=False) if wanted)
    return Picture(record.path, rows.astype(np.float32), kept)


def _counts(split: Split, readable: Sequence[ImageRecord]) -> str:
    count: Counter[int] = Counter()
    for record in readable:
        count.update(record.class_id.tolist())
    empty = sum(len(record.class_id) == 0 for record in readable)
    each = ", ".join(f"{name} {count[i]}" for i, name in enumerate(split.names))
    return f"{split.name}: {len(split)} images ({empty} without objects); {each}"


def _listed(problems: Sequence[Problem]) -> list[str]:
    kinds: dict[str, list[Path]] = {}
    for problem in problems:
        kinds.setdefault(problem.kind, []).append(problem.file)
    return [
        f"  {len(files)} x {kind}: {', '.join(map(str, files[:SHOWN]))}{', ...' if len(files) > SHOWN else ''}"
        for kind, files in kinds.items()
    ]
