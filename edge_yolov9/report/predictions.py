"""The images of a report, and what a bundle detects in them through its own runtime; both as ``detections.json``."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from edge_yolov9.bundle import Bundle, sha256
from edge_yolov9.data import Split, check_names, image_paths
from edge_yolov9.data.findings import Tell
from edge_yolov9.data.reader import usable_images
from edge_yolov9.decode import EVALUATION, DecodeOptions
from edge_yolov9.detections import Detections
from edge_yolov9.images import read_image
from edge_yolov9.lane import Lane, Postprocess
from edge_yolov9.registry import open_session
from edge_yolov9.scoring.accuracy import CountProgress, labelled_split
from edge_yolov9.text import shown

WANTED = "expected rows of x1, y1, x2, y2, confidence and a class of the model"

Row = list[float]
"""x1, y1, x2, y2 in pixels of the image, confidence, class: float32 in the fewest digits that give it back."""


@dataclass(frozen=True)
class ImageSet:
    """Images in a fixed order, with ground truth where it is there."""

    source: str
    """The DATA file's name, or the folder's."""
    split: str
    paths: tuple[Path, ...]
    truth: Split | None

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Each image's path below the folder that holds them all: its name on every machine."""
        root = os.path.commonpath([path.parent.resolve() for path in self.paths])
        return tuple((path.parent.resolve() / path.name).relative_to(root).as_posix() for path in self.paths)

    def check(self, names: tuple[str, ...]) -> None:
        """Refuse a model whose classes are not the data's.

        Raises:
            DataError: see :func:`edge_yolov9.data.check_names`.
        """
        if self.truth is not None:
            check_names(names, self.truth.names)


def labelled(
    data: Path,
    split: str,
    strict: bool = False,
    tell: Tell = lambda line: None,
    progress: CountProgress | None = None,
) -> ImageSet:
    """A split of a DATA file that AP can be measured on; arguments and errors as for :func:`labelled_split`."""
    truth = labelled_split(data, split, strict=strict, tell=tell, progress=progress)
    return ImageSet(data.name, split, tuple(record.path for record in truth.images), truth)


def unlabelled(data: Path, split: str, strict: bool = False, tell: Tell = lambda line: None) -> ImageSet:
    """The images of a split, of a folder (with its subfolders) or of a list; labels are not looked for.

    Raises:
        DataError: there is none, or a file is missing.
    """
    images = usable_images(image_paths(data, split, missing_ok=True), split, strict=strict, tell=tell)
    return ImageSet(data.name, split, tuple(path for path, _ in images), None)


@dataclass(frozen=True)
class ImageEntry:
    """What ``detections.json`` has of an image: tables whose rows are ``Row``, read by :meth:`Predictions.read`."""

    sha256: str
    """Digest of the image file."""
    scored: Any
    deployed: Any


@dataclass(frozen=True)
class DetectionsEntry:
    """What ``detections.json`` has of a bundle; ``images`` by :attr:`ImageSet.keys`."""

    data: str
    """Name of the DATA file or folder."""
    split: str
    images: Mapping[str, ImageEntry]


@dataclass(frozen=True)
class Predictions:
    """What a bundle detects in every image, by :attr:`ImageSet.keys`."""

    scored: Mapping[str, Detections]
    """At the thresholds of COCO evaluation, every class with its own box."""
    deployed: Mapping[str, Detections]
    """At the bundle's own thresholds."""
    digests: Mapping[str, str]
    """sha256 of each image file."""

    def digest(self) -> str:
        """sha256 over names and digests of the images: one name for the pictures of the set."""
        return _digest(sorted(self.digests.items()))

    def entry(self, images: ImageSet) -> DetectionsEntry:
        """What ``detections.json`` has of them."""
        entries = {
            key: ImageEntry(digest, _rows(self.scored[key]), _rows(self.deployed[key]))
            for key, digest in self.digests.items()
        }
        return DetectionsEntry(images.source, images.split, entries)

    @classmethod
    def read(cls, images: Mapping[str, ImageEntry], names: tuple[str, ...]) -> Predictions:
        """The inverse of :meth:`entry`, for a model with classes ``names``.

        Raises:
            ValueError: a table holds something else than detections of the model.
        """
        return cls(
            {key: _detections(entry.scored, names) for key, entry in images.items()},
            {key: _detections(entry.deployed, names) for key, entry in images.items()},
            {key: entry.sha256 for key, entry in images.items()},
        )


def predict(bundle: Bundle, images: ImageSet, progress: CountProgress | None = None) -> Predictions:
    """Run a bundle over the images, one in memory at a time; each is inferred once and decoded twice.

    Raises:
        EdgeYoloError: an image does not decode, or the runtime is absent or fails.
    """
    own = DecodeOptions.of(bundle.manifest.thresholds)
    scored: dict[str, Detections] = {}
    at_own: dict[str, Detections] = {}
    digests = {}
    lane = Lane(open_session(bundle), Postprocess.of(bundle.manifest))
    try:
        for done, (key, path) in enumerate(zip(images.keys, images.paths, strict=True), 1):
            raw, placed = lane.run(read_image(path))
            scored[key] = lane.finish(raw, placed, EVALUATION)
            at_own[key] = lane.finish(raw, placed, own)
            digests[key] = sha256(path)
            if progress is not None:
                progress(done, len(images.paths))
    finally:
        lane.close()
    return Predictions(scored, at_own, digests)


def truth_digest(truth: Split, keys: Sequence[str]) -> str:
    """sha256 over class names and every object's image, class, box and crowd flag."""
    objects = [
        [key, int(index), [round(float(value), 2) for value in box], bool(crowd)]
        for key, record in sorted(zip(keys, truth.images, strict=True), key=lambda pair: pair[0])
        for index, box, crowd in zip(record.class_id, record.xyxy, record.iscrowd, strict=True)
    ]
    return _digest([*truth.names, *objects])


def _digest(parts: Sequence[Any]) -> str:
    return hashlib.sha256("\n".join(str(part) for part in parts).encode()).hexdigest()


def _rows(detections: Detections) -> list[Row]:
    table = np.concatenate((detections.xyxy, detections.confidence[:, None]), axis=1).astype(np.float32)
    shortest: list[Row] = table.astype(np.str_).astype(np.float64).tolist()
    return [[*row, int(index)] for row, index in zip(shortest, detections.class_id, strict=True)]


def _detections(rows: object, names: tuple[str, ...]) -> Detections:
    """Detections of a table of JSON, which may hold anything.

    Raises:
        ValueError: its rows are no detections.
    """
    try:
        table = np.array(rows, np.float64).reshape(-1, 6)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{WANTED}, got {shown(rows)}") from None
    with np.errstate(invalid="ignore"):
        classes = table[:, 5].astype(np.int64)
    wrong = ~np.isfinite(table).all(1) | (classes != table[:, 5]) | (classes < 0) | (classes >= len(names))
    wrong |= (table[:, 4] < 0) | (table[:, 4] > 1) | (table[:, :2] > table[:, 2:4]).any(1)
    if wrong.any():
        raise ValueError(f"{WANTED}, got {shown(table[wrong][0].tolist())}")
    return Detections(table[:, :4].astype(np.float32), table[:, 4].astype(np.float32), classes, names)
