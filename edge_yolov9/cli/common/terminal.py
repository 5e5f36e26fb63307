"""What the verbs show on a terminal. Names and paths come from files; none of them may steer the terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from edge_yolov9.text import CLEAR_LINE, lines, printable

LONGEST_ERROR = 280
LONG_WORD = re.compile(r"\S{84,}")


def echo(text: object, err: bool = False) -> None:
    """Print one line, whatever is in a name."""
    click.echo(printable(text), err=err)


def echo_lines(text: str, err: bool = False) -> None:
    """Print a table or page whose line ends are ours."""
    click.echo(lines(text), err=err)


def live(text: object) -> None:
    """Replace the last line of a terminal on standard error; nothing elsewhere, and "" leaves the line empty."""
    if sys.stderr.isatty():
        click.echo(f"{CLEAR_LINE}{printable(text)}", err=True, nl=False)


def bounded(message: str) -> str:
    """An error message whose long words, paths as a rule, lose their middle where it is longer than LONGEST_ERROR."""
    if len(message) <= LONGEST_ERROR:
        return message
    return LONG_WORD.sub(lambda word: f"{word.group()[:40]}...{word.group()[-40:]}", message)


@contextmanager
def printable_errors() -> Iterator[None]:
    """Click's own errors quote what the user gave, which a shell may have taken from file names."""
    try:
        yield
    except click.ClickException as error:
        error.__dict__["message"] = bounded(lines(error.message))  # final for type checkers
        raise
