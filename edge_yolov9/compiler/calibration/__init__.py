"""Which images calibrate, and the digest that names them.

``recipe.py`` reads and writes a list of image hashes, ``selection.py`` chooses the images for one, ``judge.py`` sees
whether they show anything.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.bundle import sha256
from edge_yolov9.compiler.calibration import recipe
from edge_yolov9.compiler.calibration.recipe import OpenRecipe, open_recipe
from edge_yolov9.data import YAML_SUFFIXES, Dataset, image_paths, load_data
from edge_yolov9.data.findings import Tell
from edge_yolov9.data.reader import usable_images
from edge_yolov9.errors import CalibrationError, DataError
from edge_yolov9.geometry import letterbox
from edge_yolov9.images import read_image


@dataclass(frozen=True)
class CalibrationSet:
    """Images that calibrate, loaded one at a time, in a fixed order."""

    paths: tuple[Path, ...]
    input_size: tuple[int, int]
    """(height, width), pixels."""
    origin: Mapping[str, object] = field(default_factory=dict, compare=False)
    """Where the images come from and how they were chosen, for the manifest."""

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """sha256 of each file."""
        return tuple(sha256(path) for path in self.paths)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Letterboxed frames (height, width, 3) uint8 BGR."""
        for index in range(len(self)):
            yield self[index]

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """One letterboxed frame (height, width, 3) uint8 BGR."""
        return letterbox(read_image(self.paths[index]), self.input_size)[0]

    def few(self, count: int) -> CalibrationSet:
        """At most ``count`` of the images, evenly spread."""
        return CalibrationSet(self.paths[:: -(-len(self) // count)], self.input_size)


def choose(
    source: str | Path,
    count: int,
    seed: int,
    input_size: tuple[int, int],
    names: tuple[str, ...],
    load_data: Callable[[Path], Dataset] = load_data,
    open_recipe: Callable[[str], OpenRecipe] = open_recipe,
) -> CalibrationSet:
    """The first ``count`` images of a recipe, or a sample of a DATA file's train split or of a folder, sorted.

    All of them are taken when there are fewer.

    Args:
        source: ``RECIPE=FOLDER``, a DATA file or a folder.
        count: most images.
        seed: seed of the sample.
        input_size: (height, width), pixels.
        names: the model's classes, which a recipe must have.
        load_data: reads a DATA file.
        open_recipe: finds and reads a recipe.

    Raises:
        CalibrationError: there is none, or an image of the recipe is missing or changed (it is named).
    """
    if count < 1:
        raise CalibrationError(f"at least one calibration image is needed, got {count}")
    if named := recipe.parse(source):
        opened = open_recipe(named[0])
        return CalibrationSet(recipe.take(opened, named[1], count, names), input_size, opened.origin())
    file = Path(source)
    try:
        is_data = file.suffix.lower() in YAML_SUFFIXES and not file.is_dir()
        data = load_data(file) if is_data else None
        listed = data.image_paths("train", missing_ok=True) if data else image_paths(file, missing_ok=True)
        paths = sorted(listed)  # usable() names those that are missing
    except DataError as error:
        raise CalibrationError(f"no calibration images: {error}") from None
    if not paths:
        raise CalibrationError(f"no calibration images in {source}; give a folder of pictures or a DATA file")
    if count < len(paths):
        paths = sorted(random.Random(seed).sample(paths, count))
    return CalibrationSet(tuple(paths), input_size, {"source": file.name, "rule": "random sample", "seed": seed})


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


def usable(images: CalibrationSet, strict: bool = False, tell: Tell = lambda line: None) -> CalibrationSet:
    """The images that decode, each once; ``strict`` and ``tell`` as for :func:`edge_yolov9.data.read_data`.

    Raises:
        CalibrationError: none can be used, or one cannot be read rightly; with ``strict`` also where one is left out.
    """
    try:
        kept = usable_images(images.paths, "calibration", once=True, strict=strict, tell=tell)
    except DataError as error:
        raise CalibrationError(f"no calibration images: {error}") from None
    return replace(images, paths=tuple(path for path, _ in kept))


def describe(images: CalibrationSet) -> dict[str, object]:
    """What the manifest keeps: count, rule, seed, and one digest over the sha256 of every file."""
    digest = hashlib.sha256("".join(images.digests).encode()).hexdigest()
    return {"images": len(images), **images.origin, "digest": digest}
