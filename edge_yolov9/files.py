"""Files: written whole or not at all, read without waiting for a pipe; JSON and TOML in them."""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import os
import re
import secrets
import stat
import sys
from pathlib import Path
from typing import Any

from edge_yolov9.errors import TargetError
from edge_yolov9.text import json_text
from edge_yolov9.typed import TextValue as TextValue
from edge_yolov9.typed import finite as finite
from edge_yolov9.typed import from_json as from_json

PARTIAL = re.compile(r"\.(.*)\.edge-yolov9-[0-9a-f]{16}(?:\.mp4)?", re.DOTALL)
"""Name of a file or folder that is being written: ``.NAME.edge-yolov9-<16 hex digits>``, beside NAME."""

LARGEST_TOML = 1 << 26
"""Bytes of a TOML file; a recipe of 10^5 images has 12 MB."""
NAME_BYTES = 255
"""Longest file name of the usual file systems."""


def partial_name(path: Path, suffix: str = "") -> Path:
    """A name that nothing has yet, hidden, in the folder of ``path``; :data:`PARTIAL` matches it."""
    ending = f".edge-yolov9-{secrets.token_hex(8)}{suffix}"
    start = os.fsencode(f".{path.name}")[: NAME_BYTES - len(ending)]
    return path.with_name(os.fsdecode(start) + ending)


def lock(handle: int) -> bool | None:
    """Hold an open file or folder as long as ``handle`` is open.

    Returns:
        False when another process holds it, None where the system or the file system has no locks.
    """
    try:
        fcntl = importlib.import_module("fcntl")
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ModuleNotFoundError, OSError):
        return None
    return True


def open_partial(path: Path, suffix: str = "") -> tuple[int, Path]:
    """Create the file that will become ``path``, held by :func:`lock` while its handle is open.

    Returns:
        Its handle, open for writing, and its name, which ends in ``suffix``.

    Raises:
        OSError: the folder cannot be written.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    while True:
        partial = partial_name(path, suffix)
        handle = os.open(partial, flags, 0o666)
        if lock(handle) is not False and os.fstat(handle).st_nlink:
            return handle, partial
        os.close(handle)  # another process took it for litter before it was held


def write_whole(path: Path, data: bytes, mode: int | None = None) -> None:
    """Fill a new hidden file beside ``path``, force it to the disk, rename it: never half a file.

    A link at ``path`` is replaced; what it points to stays as it is.

    Args:
        path: the file.
        data: its content.
        mode: its permissions; those of the file that it replaces, else what the umask leaves, when left out.

    Raises:
        OSError: the disk is full or not writable; what stood at ``path`` still does.
    """
    handle, partial = open_partial(path)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            put_in_place(partial, path, mode)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def put_in_place(partial: Path, path: Path, mode: int | None = None) -> None:
    """Rename a filled file of :func:`open_partial` to ``path``, with the permissions of what it replaces.

    Raises:
        OSError: it cannot be renamed, or a device, pipe or socket stands there; what stood at ``path`` still does.
    """
    with contextlib.suppress(FileNotFoundError):
        if stat.S_IFMT(path.stat().st_mode) not in (stat.S_IFREG, stat.S_IFDIR):  # root could replace /dev/null
            raise OSError(errno.EINVAL, "it is a pipe, device or socket; expected a file", str(path))
    with contextlib.suppress(FileNotFoundError):
        old = path.lstat()
        if mode is None and stat.S_ISREG(old.st_mode):
            mode = stat.S_IMODE(old.st_mode) & 0o777
    if mode is not None:
        partial.chmod(mode)
    partial.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Force the names in ``folder`` to the disk, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_json(path: Path, data: Any, indent: int | None = 2) -> None:
    """Write ``data`` as JSON (UTF-8), whole or not at all; what is not a finite number becomes null.

    Raises:
        OSError: the disk is full or not writable; what stood at ``path`` still does.
    """
    write_whole(path, as_json(data, indent).encode())


def as_json(data: Any, indent: int | None = 2) -> str:
    """``data`` as JSON text with a newline; a number that is not finite becomes null."""
    return json_text(finite(data), indent) + "\n"


def open_regular(path: Path) -> io.BufferedReader:
    """Open a file for reading. A pipe, device or socket, which could have no end or never answer, is refused.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    kind = OSError(errno.EINVAL, "it is a folder, pipe, device or socket; expected a file", str(path))
    if not stat.S_ISREG(path.stat().st_mode):
        raise kind
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    file = os.fdopen(handle, "rb")
    if not stat.S_ISREG(os.fstat(handle).st_mode):  # it was exchanged meanwhile
        file.close()
        raise kind
    return file


def read_regular(path: Path, most: int) -> bytes:
    """A file's content; as :func:`open_regular`, and nothing larger than ``most`` bytes.

    Raises:
        OSError: it cannot be read, is no regular file, or is larger.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"it has {size} bytes; expected {most} at most", str(path))
        return file.read()


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file's content.

    Raises:
        TargetError: this Python reads no TOML (3.10 without ``tomli``).
        OSError, ValueError: it cannot be read, or is not TOML.
    """
    try:
        toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    except ModuleNotFoundError:
        raise TargetError(f'reading {path.name} on Python 3.10 needs: pip install "edge-yolov9[compile]"') from None
    try:
        content: dict[str, Any] = toml.loads(read_regular(path, LARGEST_TOML).decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    return content
