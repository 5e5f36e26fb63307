"""Files that are whole or absent."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from pathlib import Path
from typing import Any

from edge_yolov9.errors import TargetError


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
    content: dict[str, Any] = toml.loads(path.read_text(encoding="utf-8"))
    return content
