"""A report on disk: ``report.json``, ``report.html``, ``report.md`` and ``figures/``, each whole or absent."""

from __future__ import annotations

from pathlib import Path

from edge_yolov9.errors import InputError
from edge_yolov9.files import as_json, write_whole
from edge_yolov9.report.page import Page, Picture, as_html, as_markdown


def write_page(page: Page, out: Path, stem: str = "report") -> None:
    """``stem.html`` with everything inside, and ``stem.md`` with its pictures as files.

    Raises:
        InputError: the disk is full or not writable.
    """
    for block in page:
        if isinstance(block, Picture):
            write(out / block.name, block.data)
    write(out / f"{stem}.html", as_html(page).encode())
    write(out / f"{stem}.md", as_markdown(page).encode())


def write_data(data: object, file: Path, indent: int | None = 1) -> None:
    """A dataclass as JSON (UTF-8); what is not a finite number becomes null.

    Raises:
        InputError: the disk is full or not writable.
    """
    write(file, as_json(data, indent).encode())


def write(file: Path, data: bytes) -> None:
    """One file, whole or not at all.

    Raises:
        InputError: the disk is full or not writable.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, data)
    except OSError as error:
        raise InputError(f"cannot write {file}: {error.strerror or error}") from None
