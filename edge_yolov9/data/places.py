"""Where the images and labels of a data set are, and where they would be if a path were written another way."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from edge_yolov9.data.reading import is_file, is_folder, read_text
from edge_yolov9.errors import DataError
from edge_yolov9.images import image_files
from edge_yolov9.text import brief

DRIVE = re.compile(r"[A-Za-z]:[/\\]")


class Spelling:
    """One name for each file, however its folder is spelled; a link to a file is a file of its own."""

    def __init__(self) -> None:
        self._folders: dict[Path, str] = {}

    def __call__(self, path: Path) -> tuple[str, str]:
        """(folder without links, name)."""
        folder = path.parent
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return self._folders[folder], path.name


def label_file(image: Path) -> Path | None:
    """Where the YOLO labels of an image are, or None."""
    for candidate in (expected_label(image), image.with_suffix(".txt")):
        if is_file(candidate):
            return candidate
    return None


def expected_label(image: Path) -> Path:
    """The last folder named images becomes labels; beside the image where there is none."""
    parts = list(image.parts)
    for i in range(len(parts) - 2, -1, -1):
        if parts[i] == "images":
            return Path(*parts[:i], "labels", *parts[i + 1 :]).with_suffix(".txt")
    return image.with_suffix(".txt")


def expand(
    path: Path, root: Path, context: str, missing_ok: bool = False, written: str = "", loose: bool = False
) -> list[Path]:
    """The images of a folder and its subfolders, or those that a text file lists.

    Args:
        path: the folder or list.
        root: what a list may be relative to, beside its own folder.
        context: what an error begins with.
        missing_ok: keep images that are listed but not there.
        written: the path as the data set states it.
        loose: whether a list's paths begin in a folder that need not be there, as in archives of Darknet.

    Raises:
        DataError: there is no such thing, or an image is missing.
    """
    if is_folder(path):
        return image_files(path, recursive=True)
    if path.suffix.lower() != ".txt" or not is_file(path):
        raise DataError(f"{context}: {brief(path)} {_why_no_list(path)}{hint(written or str(path), root)}")
    images: dict[Path, None] = {}
    for number, line in enumerate(read_text(path, "the list").splitlines(), 1):
        if name := line.strip():
            places = [path.parent / name, root / name]
            if loose:
                places += [root / other for other in other_readings(name)]
            image = next((place for place in places if is_file(place)), None)
            if image is None and not missing_ok:
                raise DataError(
                    f"{brief(path)}:{number}: the image {brief(name)} does not exist{hint(name, path.parent, root)}"
                )
            images[image or places[1]] = None
    return list(images)


def _why_no_list(path: Path) -> str:
    try:
        exists = path.exists()
    except (OSError, ValueError):  # too long for a name, or with a zero in it
        exists = False
    return "is neither a folder nor a text file that lists images" if exists else "does not exist"


def hint(written: str, *roots: Path) -> str:
    """The end of a message about a path that does not exist: the path that does and is meant; empty without one."""
    for other in other_readings(written):
        for root in roots:
            place = root / other
            if is_file(place) or is_folder(place):
                return f"; {brief(place)} does: write {brief(other)}"
    return ""


def other_readings(written: str) -> Iterator[str]:
    """Paths that a program of another system, or an archive's own root, may have meant."""
    seen = {written}
    slashed = written.replace("\\", "/")
    bare = DRIVE.sub("", slashed) if DRIVE.match(slashed) else slashed
    home = os.path.expandvars(bare)
    readings = [slashed, str(Path(home).expanduser()) if home.startswith("~") else home]
    parts = [part for part in bare.split("/") if part and part != "."]
    while parts and parts[0] == "..":
        parts = parts[1:]
    readings += ["/".join(parts[i:]) for i in range(len(parts))]
    for reading in readings:
        if reading and reading not in seen and len(reading) < 4096 and "\0" not in reading:
            seen.add(reading)
            yield reading
