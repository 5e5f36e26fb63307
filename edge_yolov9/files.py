"""Files that are whole or absent."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def encoded(text: str) -> bytes:
    """UTF-8. Of a file name that is not, its bytes are written as ``\\udcff``, which JSON reads back."""
    return text.encode("utf-8", "backslashreplace")


def write_whole(path: Path, data: bytes) -> None:
    """Fill a hidden file beside ``path``, force it to the disk, rename it: never half a file.

    Raises:
        OSError: the disk is full or not writable; what stood at ``path`` still does.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
