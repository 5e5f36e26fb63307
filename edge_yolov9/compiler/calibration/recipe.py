"""Calibration recipes: TOML files that name images by id and sha256, and the rule that chose them. No pictures.

``--calibration NAME=FOLDER`` takes the images of a recipe, shipped (``coco``) or the user's (``my.toml``), from FOLDER.
"""

from __future__ import annotations

import importlib.resources
import json
from dataclasses import dataclass
from pathlib import Path

from edge_yolov9.bundle import sha256
from edge_yolov9.errors import CalibrationError
from edge_yolov9.files import from_json, read_toml, write_whole

VERSION = 1


@dataclass(frozen=True)
class RecipeImage:
    """One image: its id in the data set, its file below the image folder, and what is in the file."""

    id: int
    file: str
    sha256: str


@dataclass(frozen=True)
class Recipe:
    """Which images calibrate, best first: any beginning of the list is a good smaller set."""

    dataset: str
    split: str
    rule: str
    seed: int
    names: tuple[str, ...]
    images: tuple[RecipeImage, ...]


@dataclass(frozen=True)
class _Version:
    """What a recipe of any version has."""

    version: int


def parse(source: str | Path) -> tuple[str, Path] | None:
    """``NAME=FOLDER`` -> (NAME, FOLDER); None for anything that is there as it stands."""
    name, equals, folder = str(source).partition("=")
    return (name, Path(folder)) if equals and not Path(source).exists() else None


def find(name: str) -> Path:
    """A recipe's file: the user's, or the shipped one of that name.

    Raises:
        CalibrationError: there is none.
    """
    if Path(name).is_file():
        return Path(name)
    shipped = Path(str(importlib.resources.files("edge_yolov9.calibration")))
    file = shipped / f"{name}.toml"
    if file.parent != shipped or not file.is_file():
        known = ", ".join(sorted(path.stem for path in shipped.glob("*.toml")))
        raise CalibrationError(f"there is no calibration recipe {name!r}; expected a .toml file or one of {known}")
    return file


def write(recipe: Recipe, path: Path) -> None:
    """Write the TOML file, whole or not at all.

    Raises:
        CalibrationError: it cannot be written.
    """
    lines = [
        "# Written by edge-yolov9 calibration select: which images calibrate INT8, best first.",
        f"version = {VERSION}",
        *(f"{key} = {_quoted(getattr(recipe, key))}" for key in ("dataset", "split", "rule")),
        f"seed = {recipe.seed}",
        f"names = [{', '.join(_quoted(name) for name in recipe.names)}]",
        "images = [",
        *(f"  {{ id = {i.id}, file = {_quoted(i.file)}, sha256 = {_quoted(i.sha256)} }}," for i in recipe.images),
        "]",
    ]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, ("\n".join(lines) + "\n").encode())
    except UnicodeEncodeError as error:
        begun = error.object[: error.end].splitlines()[-1].strip()
        raise CalibrationError(f"cannot write {path}: a name is not UTF-8, as TOML wants: {begun!a}") from None
    except (OSError, ValueError) as error:  # ValueError: the path ends in no name
        raise CalibrationError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from None


def _quoted(text: str) -> str:
    """A TOML basic string: a JSON string but for characters beyond 16 bits, which TOML has no pairs for."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def read(path: Path) -> Recipe:
    """The inverse of :func:`write`.

    Raises:
        CalibrationError: unreadable, malformed, or of a newer version.
    """
    try:
        data = read_toml(path)
        if from_json(_Version, data, "its content").version > VERSION:
            raise CalibrationError(f"{path} was written by a newer edge-yolov9; update it")
        recipe = from_json(Recipe, data, "its content")
    except OSError as error:
        raise CalibrationError(f"cannot read the calibration recipe {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError
        raise CalibrationError(f"{path} is not a calibration recipe ({str(error) or type(error).__name__})") from None
    if not recipe.images:
        raise CalibrationError(f"{path} names no image")
    return recipe


@dataclass(frozen=True)
class OpenRecipe:
    """A recipe that was read, and its file."""

    name: str
    """The name that it was asked for by, see :func:`find`."""
    file: Path
    recipe: Recipe

    def origin(self) -> dict[str, object]:
        """What the manifest keeps of it."""
        chosen = self.recipe
        digest = sha256(self.file)
        return {"source": f"recipe {self.file.name}", "rule": chosen.rule, "seed": chosen.seed, "recipe": digest}


def open_recipe(name: str) -> OpenRecipe:
    """Find and read a recipe; errors as for :func:`find` and :func:`read`."""
    file = find(name)
    return OpenRecipe(name, file, read(file))


def take(opened: OpenRecipe, folder: Path, count: int, names: tuple[str, ...]) -> tuple[Path, ...]:
    """The first ``count`` images of a recipe, each checked against its hash.

    Args:
        opened: the recipe.
        folder: where the images are.
        count: most images.
        names: the model's classes.

    Raises:
        CalibrationError: the recipe is of other classes, or an image is missing or changed (it is named).
    """
    name, recipe = opened.name, opened.recipe
    if recipe.names != names:
        raise CalibrationError(
            f"the recipe {name} is for {len(recipe.names)} other classes ({', '.join(recipe.names[:3])}, ...) than the "
            f"model's ({', '.join(names[:3])}, ...); make one with edge-yolov9 calibration select"
        )
    return tuple(_checked(image, folder, name) for image in recipe.images[:count])


def _checked(image: RecipeImage, folder: Path, name: str) -> Path:
    path = folder / image.file  # which may itself be a link to anywhere
    if not path.is_file() or ".." in Path(image.file).parts or Path(image.file).is_absolute():
        raise CalibrationError(f"the calibration image {path} of the recipe {name} is missing")
    if sha256(path) != image.sha256:
        raise CalibrationError(f"the calibration image {path} is not the one that the recipe {name} means: it changed")
    return path
