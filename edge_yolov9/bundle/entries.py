"""What lies in a bundle's folder, opened without following a link, waiting for a pipe, or reading without end."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path
from typing import BinaryIO

from edge_yolov9.bundle.manifest import LARGEST_MANIFEST, MANIFEST, SIGNATURE, Manifest
from edge_yolov9.errors import BundleError
from edge_yolov9.text import shown

LARGEST_FILE = 2 << 30
"""Bytes of one file; YOLOv9-E in float32 has 0.23 GB."""
DEEPEST_FOLDER = 8

HARMLESS = frozenset(
    {".DS_Store", "Thumbs.db", "ehthumbs.db", "desktop.ini", ".directory"}  # of file managers
    | {"model.engine", "timings.cache", "libnvdsinfer_edge_yolov9.so"}  # of the commands in trtexec.txt, deepstream.txt
)
"""Names of files that may lie in a bundle unlisted: no session reads them."""
COMPANION = "._"
"""What macOS writes beside each file on a disk of another system: ``._`` and the name of that file."""


def manifest_bytes(folder: Path) -> bytes:
    """The content of a bundle's manifest.

    Raises:
        BundleError: there is no bundle, or the manifest is no regular file, or too large.
    """
    try:
        if not folder.is_dir():
            raise BundleError(f"no bundle at {folder}; expected a folder written by edge-yolov9 compile")
        if not os.path.lexists(folder / MANIFEST):
            raise BundleError(f"{folder} holds no {MANIFEST}; it is not a bundle")
    except (OSError, ValueError) as error:
        raise BundleError(f"no bundle at {shown(str(folder))}: {_reason(error)}") from None
    return content(folder, MANIFEST, LARGEST_MANIFEST)


def listed_files(folder: Path, manifest: Manifest) -> set[str]:
    """Relative POSIX paths of the files in ``folder``; the first that is not listed, a link or no file is refused."""
    listed = {MANIFEST, *manifest.files}
    folders = {parent.as_posix() for name in manifest.files for parent in Path(name).parents}
    found: set[str] = set()
    waiting = [("", 0)]
    while waiting:
        inner, depth = waiting.pop()
        try:
            with os.scandir(folder / inner) as entries:
                for entry in entries:
                    name = f"{inner}{entry.name}"
                    if entry.is_dir(follow_symlinks=False) and name in folders and depth < DEEPEST_FOLDER:
                        waiting.append((f"{name}/", depth + 1))
                    elif not entry.is_file(follow_symlinks=False):
                        kind = (
                            "a link, which may lead outside the bundle"
                            if entry.is_symlink()
                            else "no file that the manifest lists"
                        )
                        raise BundleError(f"{folder}: {shown(name)} is {kind}; remove it, or copy the bundle again")
                    elif name in listed:
                        found.add(name)
                    elif not _harmless(entry.name, inner, listed):
                        raise BundleError(
                            f"{folder} holds {shown(name)}, which the manifest does not list; move it out of the bundle"
                        )
        except OSError as error:
            raise BundleError(f"{folder / inner} cannot be listed: {_reason(error)}") from None
    return found


def _harmless(name: str, inner: str, listed: set[str]) -> bool:
    companion = name.startswith(COMPANION) and f"{inner}{name.removeprefix(COMPANION)}" in listed
    return name in HARMLESS or companion or f"{inner}{name}" == SIGNATURE


def open_file(folder: Path, name: str, limit: int) -> BinaryIO:
    """A regular file of at most ``limit`` bytes, opened without following a link or waiting for a pipe.

    Raises:
        BundleError: it is missing, something else, or too large.
    """
    flags = os.O_RDONLY
    for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY", "O_CLOEXEC", "O_NOCTTY"):
        flags |= getattr(os, flag, 0)
    try:
        file = os.fdopen(os.open(folder / name, flags), "rb")
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.ELOOP:
            raise BundleError(f"{folder}: {name} is a link; copy the bundle again, with the files themselves") from None
        raise BundleError(f"{folder}: {name} cannot be read: {_reason(error)}") from None
    about = os.fstat(file.fileno())
    if stat.S_ISREG(about.st_mode) and about.st_size <= limit:
        return file
    file.close()
    if not stat.S_ISREG(about.st_mode):
        raise BundleError(f"{folder}: {name} is no regular file; copy the bundle again")
    raise BundleError(f"{folder}: {name} has {about.st_size} bytes, at most {limit} are expected; copy it again")


def content(folder: Path, name: str, limit: int = LARGEST_FILE) -> bytes:
    """All bytes of a file, as many as it had when it was opened at most; errors as for :func:`open_file`."""
    try:
        with open_file(folder, name, limit) as file:
            return file.read(os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise BundleError(f"{folder}: {name} cannot be read: {_reason(error)}") from None


def digest(folder: Path, name: str) -> str:
    """sha256 of a file, in hexadecimal; errors as for :func:`open_file`."""
    made = hashlib.sha256()
    try:
        with open_file(folder, name, LARGEST_FILE) as file:
            left = os.fstat(file.fileno()).st_size
            while left > 0 and (block := file.read(min(left, 1 << 20))):
                made.update(block)
                left -= len(block)
    except OSError as error:
        raise BundleError(f"{folder}: {name} cannot be read: {_reason(error)}") from None
    return made.hexdigest()


def changed(folder: Path, name: str) -> BundleError:
    """The error for a file whose digest is not the manifest's."""
    return BundleError(f"{folder}: {name} was changed since it was compiled (sha256 differs); copy it again")


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
