"""Where a command may write: one decision for every verb and option.

A file that the user names is replaced, unless it is an input of the command or lies in a bundle. Of a folder, only what
this program wrote is replaced (:func:`edge_yolov9.bundle.writing`). A link at the place of a file is replaced, what it
points to stays; a link at the place of a folder is followed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from edge_yolov9.bundle import MANIFEST, enclosing
from edge_yolov9.errors import InputError
from edge_yolov9.files import open_partial
from edge_yolov9.images import image_files
from edge_yolov9.system.folders import followed, is_stream, tidy

Inputs = Callable[[], Iterable[str | Path | None]]
"""Gives the files and folders that a command reads; it is called only where an output is there already."""


def check_file(option: str, path: str | Path | None, inputs: Inputs = tuple, new_bundle: Path | None = None) -> None:
    """Refuse a file that must not or cannot be written, before the long work starts; None and ``-`` always can.

    Args:
        option: what the user calls it, e.g. "--json".
        path: the file.
        inputs: what the command reads.
        new_bundle: the bundle that the command writes, which is complete without this file.

    Raises:
        InputError: the file is an input, a folder, in a bundle, or in a folder that cannot be made or written.
    """
    if path is None or str(path) == "-":
        return
    file = Path(path)
    try:
        if is_stream(file):
            return
        if file.is_dir() or file.name in ("", ".."):
            raise InputError(f"cannot write {option} {file}: name a file in a folder that can be written")
        _check_place(option, file, file.parent)
        if new_bundle is not None and _resolved(file).is_relative_to(new_bundle.resolve()):
            raise InputError(f"{option} {file} lies in the bundle that is written; choose another folder")
        refuse_input(option, file, inputs)
        tidy(file.parent)
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links; a zero in the name
        raise InputError(f"cannot write {option} {file}: {getattr(error, 'strerror', None) or error}") from None


def make_folder(option: str, path: Path, names: Iterable[str] = (), inputs: Inputs = tuple) -> Path:
    """Make a folder that the command fills, and try that it can be written, before the long work starts.

    Args:
        option: what the user calls it, e.g. "-o".
        path: the folder.
        names: the files that the command will write there.
        inputs: what the command reads.

    Raises:
        InputError: it is a bundle or lies in one, cannot be made or written, or one of the files is an input.
    """
    try:
        folder = followed(path)
        _check_place(option, path, folder)
        for name in names:
            refuse_input(option, folder / name, inputs)
        folder.mkdir(parents=True, exist_ok=True)
        tidy(folder)
        handle, trial = open_partial(folder / "trial")
        os.close(handle)
        trial.unlink()
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"cannot write to {option} {path}: {getattr(error, 'strerror', None) or error}") from None
    return path


def refuse_input(option: str, file: Path, inputs: Inputs) -> None:
    """Refuse a file that is one of the inputs, by whatever name, link or spelling it is reached.

    Raises:
        InputError: it is one.
    """
    if not os.path.lexists(file):
        return
    own = set(_identities(file))
    for given in _files(inputs()):
        if not own.isdisjoint(_identities(given)):
            raise InputError(f"{option} {file} would replace the input {given}; choose another name")


def _check_place(option: str, shown: Path, folder: Path) -> None:
    """Refuse a folder in a bundle, and one that cannot be made or written."""
    bundle = enclosing(folder)
    if bundle is not None:
        raise InputError(f"{option} {shown} lies in the bundle {bundle}, which is complete; choose another folder")
    standing = followed(folder)
    while not os.path.lexists(standing):
        standing = standing.parent
    followed(standing)
    if not standing.is_dir():
        raise InputError(f"cannot write {option} {shown}: {standing} is not a folder; choose another folder")
    if not os.access(standing, os.W_OK | os.X_OK):
        raise InputError(f"cannot write {option} {shown}: {standing} cannot be written; choose another folder")


def _resolved(file: Path) -> Path:
    """``file`` with every link of its folder followed, not one at its own place."""
    return file.parent.resolve() / file.name


def _identities(file: Path) -> Iterator[object]:
    """What two names of one file have in common: device and inode, of the link itself and of what it points to."""
    with contextlib.suppress(OSError, ValueError):
        for about in (file.lstat(), file.stat()):
            yield about.st_dev, about.st_ino


def _files(inputs: Iterable[str | Path | None]) -> Iterator[Path]:
    """The files that are read: of a bundle all, of another folder its images."""
    for given in inputs:
        path = Path(given) if given is not None else Path()
        try:
            if given is None:
                continue
            yield path
            if path.is_dir():
                yield from path.rglob("*") if (path / MANIFEST).is_file() else image_files(path, recursive=True)
        except (OSError, ValueError):  # no file: a camera, a URL, a pipeline, a name too long
            continue
