"""Choose the images that calibrate: every class and object size, dark and bright, nothing twice."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_yolov9.bundle import sha256
from edge_yolov9.compiler.calibration.recipe import Recipe, RecipeImage
from edge_yolov9.data import ImageRecord, Split
from edge_yolov9.errors import CalibrationError
from edge_yolov9.images import read_image

SIZES = (32.0**2, 96.0**2)
"""COCO's limits between small, medium and large objects, square pixels."""
BRIGHTNESSES = 8
"""Classes of equal frequency."""
NEAR = 4
"""Images whose 64-bit difference hashes differ in at most so many bits are one."""
RULE = f"greedy cover of class x object size and of {BRIGHTNESSES} brightnesses; near-duplicates dropped"


def select(split: Split, dataset: str, count: int, seed: int) -> tuple[Recipe, Path]:
    """A recipe of at most ``count`` images of ``split``, best first, and the folder that its files are below.

    Every step takes the image that adds most: one over one plus what is there already, summed over what it shows.
    Only a few numbers per image are kept, whatever their count.

    Raises:
        CalibrationError: fewer than one image was asked for.
        SourceError: an image does not decode.
    """
    if count < 1:
        raise CalibrationError(f"at least one calibration image is needed, got {count}")
    order = np.random.default_rng(seed).permutation(len(split))  # decides between equals
    records = [split.images[i] for i in order]
    with ThreadPoolExecutor() as pool:
        looks = list(pool.map(_look, records))
    shows = np.concatenate((_objects(records, len(split.names)), _brightness([look[0] for look in looks])), 1)
    chosen = [records[i] for i in cover(shows, np.stack([look[1] for look in looks]), count)]
    folder = Path(os.path.commonpath([record.path.parent.resolve() for record in split.images]))
    files = {r: (r.path.parent.resolve() / r.path.name).relative_to(folder).as_posix() for r in chosen}
    images = (RecipeImage(r.image_id, file, sha256(r.path)) for r, file in files.items())
    return Recipe(dataset, split.name, RULE, seed, split.names, tuple(images)), folder


def cover(shows: NDArray[np.float32], hashes: NDArray[np.uint8], count: int) -> list[int]:
    """Rows of ``shows`` (N, K), 1 where an image shows something; ``hashes`` (N, 64) are its difference hash's bits."""
    seen = np.zeros(shows.shape[1], np.float32)
    free = np.ones(len(shows), bool)
    chosen: list[int] = []
    while len(chosen) < count and free.any():
        gain = np.where(free, shows @ (1 / (1 + seen)), -1)
        best = int(gain.argmax())
        chosen.append(best)
        seen += shows[best]
        free &= (hashes != hashes[best]).sum(1) > NEAR
    return chosen


def _look(record: ImageRecord) -> tuple[float, NDArray[np.uint8]]:
    """Mean brightness (0 to 255) and the 64 bits of the difference hash."""
    grey = cv2.cvtColor(read_image(record.path), cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA).astype(np.int16)
    return float(grey.mean()), (small[:, 1:] > small[:, :-1]).astype(np.uint8).ravel()


def _objects(records: Sequence[ImageRecord], classes: int) -> NDArray[np.float32]:
    """(N, 3 * classes): which class is there small, medium, large."""
    shows = np.zeros((len(records), 3 * classes), np.float32)
    for row, record in zip(shows, records, strict=True):
        size = record.xyxy[:, 2:] - record.xyxy[:, :2]
        row[3 * record.class_id + np.searchsorted(SIZES, size.prod(1))] = 1
    return shows


def _brightness(means: Sequence[float]) -> NDArray[np.float32]:
    """(N, BRIGHTNESSES): which of the classes of equal frequency an image is in."""
    limits = np.quantile(means, np.linspace(0, 1, BRIGHTNESSES + 1)[1:-1])
    shows = np.zeros((len(means), BRIGHTNESSES), np.float32)
    shows[np.arange(len(means)), np.searchsorted(limits, means)] = 1
    return shows
