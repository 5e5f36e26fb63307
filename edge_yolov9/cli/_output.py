"""Machine-readable results: whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import click

from edge_yolov9.errors import InputError
from edge_yolov9.text import json_text


def write_json(data: Any, path: str | Path) -> None:
    """Write ``data`` as JSON (UTF-8, indented, no NaN) to a file, replaced in one step; ``-`` is standard output.

    Raises:
        InputError: the file cannot be written.
    """
    text = json_text(data, 2) + "\n"
    if str(path) == "-":
        click.echo(text, nl=False)
        return
    file = Path(path)
    partial: str | None = None
    try:
        if file.exists() and not (file.is_file() or file.is_dir()):  # /dev/stdout is written to, never replaced
            file.write_text(text, encoding="utf-8")
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.is_dir():
            raise InputError(f"cannot write JSON to {file}: it is a folder; name a file")
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=file.parent, prefix=f".{file.name}.partial-", delete=False
        ) as out:
            partial = out.name
            out.write(text)
        Path(partial).chmod(0o666 & ~_umask())
        Path(partial).replace(file)
        partial = None
    except OSError as error:
        raise InputError(f"cannot write JSON to {file}: {error.strerror or error}") from error
    finally:
        if partial is not None:
            Path(partial).unlink(missing_ok=True)


class JsonLines:
    """A file of one JSON value per line, each on disk as soon as it is written. A context manager."""

    def __init__(self, path: str | Path) -> None:
        """Begin an empty file.

        Raises:
            InputError: it cannot be written.
        """
        self._path = path
        try:
            self._file = Path(path).open("w", encoding="utf-8", buffering=1)  # noqa: SIM115, closed by __exit__
        except OSError as error:
            raise self._failure(error) from error

    def write(self, data: Any) -> None:
        """Append a line.

        Raises:
            InputError: the disk is full, or has gone.
        """
        try:
            self._file.write(json_text(data) + "\n")
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> InputError:
        return InputError(f"cannot write JSON to {self._path}: {error.strerror or error}")

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._file.close()
        except OSError as error:  # writes once more what it could not write
            if kind is None:
                raise self._failure(error) from error


def check_writable(path: str | Path | None) -> None:
    """Refuse a JSON destination that cannot be written, before the long work starts; None and ``-`` always can.

    Raises:
        InputError: the destination is a folder, or its folder cannot be made or written.
    """
    if path is None or str(path) == "-":
        return
    file = Path(path)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write JSON to {file}: {error.strerror or error}") from error
    if file.is_dir() or not os.access(file.parent, os.W_OK):
        raise InputError(f"cannot write JSON to {file}: name a file in a folder that can be written")


def _umask() -> int:
    """The process's umask; there is no way to read it without setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
