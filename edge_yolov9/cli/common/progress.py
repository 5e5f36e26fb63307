"""Progress of long work on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edge_yolov9.cli.common.terminal import echo, live

COUNT = " images of "
"""What a line of progress holds that comes with every image."""


@contextmanager
def text_progress() -> Iterator[Callable[[str], None]]:
    """A function that shows what is being done: one line that is rewritten on a terminal; elsewhere a line per phase,
    counts of images left out."""
    on_terminal = sys.stderr.isatty()

    def show(text: str) -> None:
        if on_terminal:
            live(text)
        elif COUNT not in text:
            echo(text, err=True)

    yield show
    live("")
