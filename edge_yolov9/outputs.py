"""Where a command may write: one decision for every verb and option.

A file that the user names is replaced when it is of the kind that is written, and no input of the command and in no
bundle. Of a folder, only what this program wrote is replaced: a bundle as it was written
(:func:`edge_yolov9.bundle.writing`), elsewhere the files that :class:`OwnFiles` knows. A link at the place of a named
file is replaced, what it points to stays; a link at the place of a folder is followed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_yolov9.bundle import MANIFEST, enclosing
from edge_yolov9.errors import InputError
from edge_yolov9.files import open_partial, open_regular, write_whole
from edge_yolov9.images import image_files
from edge_yolov9.system.folders import followed, is_stream, tidy

Inputs = Callable[[], Iterable[str | Path | None]]
"""Gives the files and folders that a command reads; it is called only where an output is there already."""

RECORD = ".edge-yolov9-wrote"
"""File beside what is written into a folder: a first line, then the sha256 of everything that was written there."""
RECORD_BEGINS = b"sha256 of the files that edge-yolov9 wrote here; it replaces no others\n"
LARGEST_RECORD = 1 << 26
SNIFFED = 1 << 20
"""Bytes from which the kind of a file is told."""


@dataclass(frozen=True)
class Kind:
    """What is written to a file that the user names."""

    name: str
    begins: Callable[[bytes], bool]
    """Whether a file that begins with these bytes, at most SNIFFED, is of the kind."""


JSON = Kind("JSON", lambda data: data.lstrip()[:1] in (b"{", b"["))
CHECKPOINT = Kind("checkpoint of edge-yolov9", lambda data: b'"edge-yolov9 checkpoint"' in data)
SIGNATURE = Kind("signature of minisign", lambda data: data.startswith(b"untrusted comment: "))
RECIPE = Kind("recipe of calibration select", lambda data: data.startswith(b"# Written by edge-yolov9 calibration"))


def check_file(
    option: str, path: str | Path | None, inputs: Inputs = tuple, new_bundle: Path | None = None, kind: Kind = JSON
) -> None:
    """Refuse a file that must not or cannot be written, before the long work starts; None and ``-`` always can.

    Args:
        option: what the user calls it, e.g. "--json".
        path: the file.
        inputs: what the command reads.
        new_bundle: the bundle that the command writes, which is complete without this file.
        kind: what will be written. A file that is there already is of this kind, or empty.

    Raises:
        InputError: the file is an input, of another kind, a folder, in a bundle, or in a folder that cannot be made or
            written.
    """
    if path is None or str(path) == "-":
        return
    file = Path(path)
    try:
        if is_stream(file):
            return
        if file.is_dir() or file.name in ("", ".."):
            raise InputError(f"cannot write {option} {file}: name a file in a folder that can be written")
        check_place(option, file, file.parent)
        if new_bundle is not None and _resolved(file).is_relative_to(new_bundle.resolve()):
            raise InputError(f"{option} {file} lies in the bundle that is written; choose another folder")
        refuse_input(option, file, inputs)
        refuse_other_kind(option, file, kind)
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
        InputError: it is a bundle or lies in one, cannot be made or written, or one of the files is an input, or there
            already and not as this program wrote it.
    """
    try:
        folder = followed(path)
        check_place(option, path, folder)
        for name in names:
            refuse_input(option, folder / name, inputs)
        folder.mkdir(parents=True, exist_ok=True)
        own = OwnFiles(option, path)
        for name in names:
            own.check(name)
        tidy(folder)
        handle, trial = open_partial(folder / "trial")
        os.close(handle)
        trial.unlink()
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"cannot write to {option} {path}: {getattr(error, 'strerror', None) or error}") from None
    return path


class OwnFiles:
    """What this program wrote into a folder, and nobody changed since: that it may replace there, and nothing else."""

    def __init__(self, option: str, folder: Path) -> None:
        """``option`` is what the user calls the folder."""
        self._option, self._folder = option, folder
        self._known: frozenset[bytes] = frozenset()

    def check(self, name: str) -> None:
        """Refuse a file that is there and not as this program wrote it.

        Raises:
            InputError: it is such a file, a link or a folder.
            OSError: it cannot be read.
        """
        file = self._folder / name
        if not os.path.lexists(file):
            return
        if stat.S_ISREG(file.lstat().st_mode):
            with open_regular(file) as opened:
                digest = _digest(iter(lambda: opened.read(1 << 20), b""))
            if self._is_known(digest):
                return
        typed = shlex.join(("mv", "--", str(file), f"{file}.old"))
        raise InputError(
            f"{self._option} {self._folder} holds {name}, which is not as edge-yolov9 wrote it there; choose another "
            f"folder, or first: {typed}"
        )

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole or not at all, where :meth:`check` allows it.

        Raises:
            InputError: see :meth:`check`.
            OSError: the disk is full or not writable; what stood there still does.
        """
        self.check(name)
        file = self._folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        self._claim(_digest([data]))
        write_whole(file, data)

    def claim(self, partial: Path) -> None:
        """Note that a file, which has its last content and not yet its name, is this program's.

        Raises:
            OSError: it cannot be read, or noted.
        """
        with open_regular(partial) as file:
            self._claim(_digest(iter(lambda: file.read(1 << 20), b"")))

    def _is_known(self, digest: bytes) -> bool:
        if digest not in self._known:  # another process may have written since
            with contextlib.suppress(FileNotFoundError):
                self._known = frozenset(self._read().splitlines())
        return digest in self._known

    def _read(self) -> bytes:
        record = self._folder / RECORD
        if record.is_symlink():
            raise InputError(f"{record} is a link; remove it")
        with open_regular(record) as file:
            content = file.read(LARGEST_RECORD)
        if content and not content.startswith(RECORD_BEGINS):
            raise InputError(f"{record} is not what edge-yolov9 notes there; move it away")
        return content

    def _claim(self, digest: bytes) -> None:
        if self._is_known(digest):
            return
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):
            flags |= getattr(os, flag, 0)
        handle = os.open(self._folder / RECORD, flags, 0o666)
        try:
            begin = b"" if os.fstat(handle).st_size else RECORD_BEGINS  # twice where two processes begin: no harm
            os.write(handle, begin + digest + b"\n")
        finally:
            os.close(handle)


def _digest(blocks: Iterable[bytes]) -> bytes:
    """The sha256 of a file's blocks, in hexadecimal."""
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.hexdigest().encode()


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


def refuse_other_kind(option: str, file: Path, kind: Kind) -> None:
    """Refuse a file whose content is not of the kind that is written: its name is a slip.

    Raises:
        InputError: it is of another kind.
        OSError: it cannot be read.
    """
    if not file.exists() or file.is_symlink():
        return
    with open_regular(file) as opened:
        begin = opened.read(SNIFFED)
    if begin and not kind.begins(begin):
        typed = shlex.join(("rm", "--", str(file)))
        raise InputError(f"{option} {file} is there and no {kind.name}; choose another name, or first: {typed}")


def check_place(option: str, shown: Path, folder: Path) -> None:
    """Refuse a folder in a bundle, and one that cannot be made or written; ``shown`` is what the user gave.

    Raises:
        InputError: it is such a folder.
    """
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
