"""A report on disk: ``report.json``, ``report.html``, ``report.md`` and ``figures/``, each whole or absent."""

from __future__ import annotations

import re
from pathlib import Path

from edge_yolov9.errors import InputError
from edge_yolov9.files import as_json
from edge_yolov9.outputs import OwnFiles
from edge_yolov9.report.page import Page, Picture, as_html, as_markdown

FIGURES = re.compile(r"(worst|latency|timeline|precision-recall|confusion|figure)-\d+(-\d+)?\.(png|jpg)|latency\.png")
"""Names of the pictures in ``figures/``."""


def write_page(page: Page, out: Path, stem: str = "report") -> None:
    """``stem.html`` with everything inside, and ``stem.md`` with its pictures as files.

    Raises:
        InputError: the disk is full or not writable.
    """
    for block in page:
        if isinstance(block, Picture):
            write(out, block.name, block.data)
    write(out, f"{stem}.html", as_html(page).encode())
    write(out, f"{stem}.md", as_markdown(page).encode())


def write_data(data: object, out: Path, name: str, indent: int | None = 1) -> None:
    """A dataclass as JSON (UTF-8) in the file ``name``; what is not a finite number becomes null.

    Raises:
        InputError: the disk is full or not writable.
    """
    write(out, name, as_json(data, indent).encode())


def write(out: Path, name: str, data: bytes) -> None:
    """One file, whole or not at all.

    Raises:
        InputError: the disk is full or not writable, or such a file is there and not ours.
    """
    try:
        OwnFiles("-o", out).write(name, data)
    except OSError as error:
        raise InputError(f"cannot write {out / name}: {error.strerror or error}") from None
