"""The images of a report, and what a bundle finds in them through its own runtime."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_yolov9.bundle import Bundle, sha256
from edge_yolov9.data import Split, check_names, image_paths
from edge_yolov9.decode import EVALUATION, deployed
from edge_yolov9.detections import Detections
from edge_yolov9.images import read_image
from edge_yolov9.lane import Lane, Postprocess
from edge_yolov9.registry import open_session
from edge_yolov9.scoring.accuracy import labelled_split

Progress = Callable[[int, int], None]
"""Is told (images done, images in all)."""

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

    @property
    def keys(self) -> tuple[str, ...]:
        """Each image's path below the folder that holds them all: its name on every machine."""
        root = os.path.commonpath([path.parent.resolve() for path in self.paths])
        return tuple(path.resolve().relative_to(root).as_posix() for path in self.paths)

    def check(self, names: tuple[str, ...]) -> None:
        """Refuse a model whose classes are not the data's.

        Raises:
            DataError: see :func:`edge_yolov9.data.check_names`.
        """
        if self.truth is not None:
            check_names(names, self.truth.names)


def labelled(data: Path, split: str) -> ImageSet:
    """A split of a DATA file that AP can be measured on; errors as for :func:`labelled_split`."""
    truth = labelled_split(data, split)
    return ImageSet(data.name, split, tuple(record.path for record in truth.images), truth)


def unlabelled(data: Path, split: str) -> ImageSet:
    """The images of a split, of a folder (with its subfolders) or of a list; labels are not looked for.

    Raises:
        DataError: there is none, or a file is missing.
    """
    return ImageSet(data.name, split, image_paths(data, split), None)


@dataclass(frozen=True)
class Found:
    """What a bundle found, by :attr:`ImageSet.keys`."""

    scored: Mapping[str, Detections]
    """At the thresholds of COCO evaluation, every class with its own box."""
    deployed: Mapping[str, Detections]
    """At the bundle's own thresholds."""
    digests: Mapping[str, str]
    """sha256 of each image file."""

    def digest(self) -> str:
        """sha256 over names and digests of the images: one name for the pictures of the set."""
        return _digest(sorted(self.digests.items()))

    def as_dict(self) -> dict[str, Any]:
        """For JSON: ``{key: {sha256, scored: [row], deployed: [row]}}``, rows as ``Row`` has them."""
        return {
            key: {"sha256": digest, "scored": _rows(self.scored[key]), "deployed": _rows(self.deployed[key])}
            for key, digest in self.digests.items()
        }

    @classmethod
    def from_dict(cls, images: Mapping[str, Any], names: tuple[str, ...]) -> Found:
        """The inverse of :meth:`as_dict`.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        scored, deployed = (
            {key: _detections(entry[part], names) for key, entry in images.items()} for part in ("scored", "deployed")
        )
        return cls(scored, deployed, {key: str(entry["sha256"]) for key, entry in images.items()})


def detect(bundle: Bundle, images: ImageSet, progress: Progress | None = None) -> Found:
    """Run a bundle over the images, one in memory at a time; each is inferred once and decoded twice.

    Raises:
        EdgeYoloError: an image does not decode, or the runtime is absent or fails.
    """
    thresholds = (EVALUATION, deployed(bundle.manifest.thresholds))
    found: tuple[dict[str, Detections], dict[str, Detections]] = ({}, {})
    digests = {}
    lane = Lane(open_session(bundle), Postprocess.of(bundle.manifest))
    try:
        for done, (key, path) in enumerate(zip(images.keys, images.paths, strict=True), 1):
            raw, placed = lane.run(read_image(path))
            for kept, options in zip(found, thresholds, strict=True):
                kept[key] = lane.finish(raw, placed, options)
            digests[key] = sha256(path)
            if progress is not None:
                progress(done, len(images.paths))
    finally:
        lane.close()
    return Found(*found, digests)


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


def _rows(found: Detections) -> list[Row]:
    table = np.concatenate((found.xyxy, found.confidence[:, None]), axis=1).astype(np.float32)
    shortest: list[Row] = table.astype(np.str_).astype(np.float64).tolist()
    return [[*row, int(index)] for row, index in zip(shortest, found.class_id, strict=True)]


def _detections(rows: Any, names: tuple[str, ...]) -> Detections:
    table = np.array(rows, np.float64).reshape(-1, 6)
    classes = table[:, 5].astype(np.int64)
    if (
        not np.isfinite(table).all()
        or (classes != table[:, 5]).any()
        or ((classes < 0) | (classes >= len(names))).any()
        or ((table[:, 4] < 0) | (table[:, 4] > 1) | (table[:, :2] > table[:, 2:4]).any(1)).any()
    ):
        raise ValueError("a detection is x1, y1, x2, y2, confidence and a class of the model")
    return Detections(table[:, :4].astype(np.float32), table[:, 4].astype(np.float32), classes, names)
