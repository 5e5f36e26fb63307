"""Which images calibrate, and the digest that names them.

``recipe.py`` reads and writes a list of image hashes, ``selection.py`` chooses the images for one.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.bundle import sha256
from edge_yolov9.compiler.calibration import recipe
from edge_yolov9.errors import CalibrationError, DataError
from edge_yolov9.images import read_image


@dataclass(frozen=True)
class CalibrationSet:
    """Images that calibrate, loaded one at a time, in a fixed order."""

    paths: tuple[Path, ...]
    input_size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """sha256 of each file."""
        return tuple(sha256(path) for path in self.paths)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Letterboxed frames (height, width, 3) uint8 BGR."""
        from edge_yolov9.geometry import letterbox
        from edge_yolov9.images import read_image

        for path in self.paths:
            yield letterbox(read_image(path), self.input_size)[0]


def choose(
    source: str | Path, count: int, seed: int, input_size: tuple[int, int], names: tuple[str, ...]
) -> CalibrationSet:
    """The first ``count`` images of a recipe, or a sample of a DATA file's train split or of a folder, sorted.

    All of them are taken when there are fewer.

    Args:
        source: ``RECIPE=FOLDER``, a DATA file or a folder.
        count: images.
        seed: of the sample.
        input_size: (height, width), pixels.
        names: the model's classes, which a recipe must have.

    Raises:
        CalibrationError: there is none, or an image of the recipe is missing or changed (it is named).
    """
    from edge_yolov9.data import image_paths

    if count < 1:
        raise CalibrationError(f"at least one calibration image is needed, got {count}")
    if named := recipe.parse(source):
        return CalibrationSet(recipe.take(*named, count, names), input_size)
    try:
        paths = sorted(image_paths(source, split="train"))
    except DataError as error:
        raise CalibrationError(f"no calibration images: {error}") from None
    if not paths:
        raise CalibrationError(f"no calibration images in {source}; give a folder of pictures or a DATA file")
    if count < len(paths):
        paths = sorted(random.Random(seed).sample(paths, count))
    return CalibrationSet(tuple(paths), input_size)


def check(images: CalibrationSet, scored: frozenset[Path] = frozenset()) -> None:
    """Every image decodes, and none of them, nor a copy of one, is among those that AP is measured on.

    Raises:
        CalibrationError: the first that breaks a rule is named.
    """
    sizes = {path.stat().st_size for path in images.paths}
    contents = {sha256(path) for path in scored if path.stat().st_size in sizes}
    for path, digest in zip(images.paths, images.digests, strict=True):
        if path.resolve() in scored or digest in contents:
            raise CalibrationError(
                f"{path} is also in the split that AP is measured on; calibrate on the train split instead"
            )
    for path in images.paths:
        read_image(path)


def describe(images: CalibrationSet, source: str | Path, seed: int) -> dict[str, Any]:
    """What the manifest keeps: count, rule, seed, and one digest over the sha256 of every file."""
    digest = hashlib.sha256("".join(images.digests).encode()).hexdigest()
    chosen: Mapping[str, Any] = {"source": Path(source).name, "rule": "random sample", "seed": seed}
    if named := recipe.parse(source):
        chosen = recipe.describe(named[0])
    return {"images": len(images), **chosen, "digest": digest}
