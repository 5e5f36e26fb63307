"""Progress of long work on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import click

from edge_yolov9.cli.common.terminal import echo, live
from edge_yolov9.text import printable

COUNT = " images of "
"""Text by which a line of progress that comes with every image is told from one of a new phase."""


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


@contextmanager
def image_progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """A function of images done and images in all, which draws a bar from its first call on."""
    with ExitStack() as stack:
        bars: list[Any] = []

        def advance(done: int, total: int) -> None:
            if not bars:
                bar = click.progressbar(length=total, label=printable(label), file=sys.stderr)
                bars.append(stack.enter_context(bar))
            bars[0].update(done - bars[0].pos)

        yield advance
