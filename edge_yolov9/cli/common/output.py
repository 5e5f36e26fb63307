"""Machine-readable results: whole or not at all."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TextIO

import click

from edge_yolov9.errors import InputError
from edge_yolov9.files import open_partial, put_in_place, write_whole
from edge_yolov9.system.folders import is_stream
from edge_yolov9.text import json_text

READER_S = 10.0
"""How long a pipe waits for somebody who reads it."""


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
    try:
        if is_stream(file):
            _into_stream(file, text)
            return
        if file.is_dir():
            raise InputError(f"cannot write JSON to {file}: it is a folder; name a file")
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, text.encode())
    except OSError as error:
        raise InputError(f"cannot write JSON to {file}: {error.strerror or error}") from error


def _into_stream(file: Path, text: str) -> None:
    """Write to a device, a pipe, or what another name of standard output stands for."""
    if os.path.samestat(file.stat(), os.fstat(1)):
        click.echo(text, nl=False)
        return
    with _open_stream(file) as stream:
        stream.write(text)


def _open_stream(file: Path) -> TextIO:
    """Open a device or pipe for appending.

    Raises:
        OSError: it cannot be written, or nobody reads the pipe within READER_S.
    """
    end = time.monotonic() + READER_S
    while True:
        try:
            handle = os.open(file, os.O_WRONLY | os.O_APPEND | getattr(os, "O_NONBLOCK", 0))
            break
        except OSError as error:
            if error.errno != errno.ENXIO or not file.is_fifo():
                raise
            if time.monotonic() > end:
                raise OSError(errno.ENXIO, "nobody reads this pipe") from None
            time.sleep(0.05)
    os.set_blocking(handle, True)
    return os.fdopen(handle, "w", encoding="utf-8", buffering=1)


class JsonLines:
    """A file of one JSON value per line, each on disk as soon as it is written. A context manager."""

    def __init__(self, path: str | Path) -> None:
        """Begin an empty file.

        Raises:
            InputError: it cannot be written.
        """
        self._path = path
        file = Path(path)
        try:
            if is_stream(file):
                self._file = _open_stream(file)
                return
            file.parent.mkdir(parents=True, exist_ok=True)
            handle, partial = open_partial(file)
            self._file = os.fdopen(handle, "w", encoding="utf-8", buffering=1)
            put_in_place(partial, file)
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


def check_writable(
    path: str | Path | None, inputs: Callable[[], Iterable[str | Path | None]] = tuple, new_bundle: Path | None = None
) -> None:
    """Refuse a JSON destination before the long work starts; see :func:`edge_yolov9.outputs.check_file`.

    Raises:
        InputError: the destination is an input, a folder, in a bundle, or its folder cannot be made or written.
    """
    from edge_yolov9.outputs import check_file

    check_file("--json", path, inputs, new_bundle)
