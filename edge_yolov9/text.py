"""Text that came from a file, a name or the network, made harmless for the place that shows it.

One function for each place: a terminal or log line, JSON, HTML and SVG, Markdown, YAML, CSV, a label map, a plot.
Values stay as they are in Python and in JSON; only what people and other programs read is changed.
"""

from __future__ import annotations

import html as markup
import json
import logging
import re
import reprlib
from collections.abc import Sequence
from typing import Any

INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Characters that Unicode counts as letters or symbols, and that show nothing."""

FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""First characters of a cell that a spreadsheet computes, in both widths."""

CLEAR_LINE = "\r\033[K"
"""Brings a terminal's cursor to the begin of the line, and empties the line."""

LONGEST = 200
"""Characters of a value in an error message."""

LONGEST_PATH = 90
"""Characters of a path in an error message, which may name several."""


def printable(text: object) -> str:
    """``text`` as one line: white space is a space, and what is not printable is ``?``.

    Not printable are control characters (ESC, DEL, C1), marks of direction, characters of no width, surrogates, and
    code points that have no character.
    """
    line = str(text)
    if line.isascii() and line.isprintable():
        return line
    return "".join(map(_visible, line))


def _visible(char: str) -> str:
    if char.isspace():
        return " "
    return char if char.isprintable() and char not in INVISIBLE else "?"


def lines(text: object) -> str:
    """``text`` of several lines, each of them :func:`printable`."""
    return "\n".join(printable(line) for line in str(text).split("\n"))


def table(rows: Sequence[Sequence[object]], texts: int = 1) -> str:
    """Rows of equally many cells for a terminal: the first ``texts`` columns to the left, the others to the right."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place < texts else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )


def shown(value: object) -> str:
    """``value`` in an error message: its ``repr`` in at most 200 printable characters, made without the whole of it."""
    short = printable(_SHORT.repr(value))
    return short if len(short) <= LONGEST else f"{short[: LONGEST - 3]}..."


def short(text: object, most: int = 80) -> str:
    """``text`` in a message without quotes: one line of at most ``most`` printable characters."""
    line = printable(" ".join(str(text)[: 8 * most].split()))
    return line if len(line) <= most else f"{line[: most - 3]}..."


def brief(path: object) -> str:
    """A path in an error message, printable: its end where it is longer than ``LONGEST_PATH`` characters."""
    text = printable(path)
    return text if len(text) <= LONGEST_PATH else f"...{text[3 - LONGEST_PATH :]}"


class _Short(reprlib.Repr):
    """Bounded in length and depth; a whole number of thousands of digits has no decimal form in Python."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 3, LONGEST - 50, LONGEST - 50

    def repr_int(self, x: int, level: int) -> str:
        return repr(x) if x.bit_length() <= 128 else f"an integer of {x.bit_length()} bits"


_SHORT = _Short()


def json_text(data: Any, indent: int | None = None) -> str:
    """``data`` as JSON that reads back exactly; what is not printable stands as ``\\uXXXX``.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(data, indent=indent, ensure_ascii=False, allow_nan=False)
    return re.sub(r"[^\n\x20-\x7e]", _json_escape, text)


def _json_escape(match: re.Match[str]) -> str:
    return match[0] if match[0].isprintable() else json.dumps(match[0])[1:-1]


def html(text: object) -> str:
    """``text`` between the tags, or within the quoted attributes, of HTML and SVG."""
    return markup.escape(printable(text))


def markdown(text: object) -> str:
    """``text`` in a paragraph, heading or table cell of Markdown: no markup, no link, no formula."""
    line = " ".join(printable(text).split())
    line = re.sub(r"[\\`*_\[\]<>|#~&$]", r"\\\g<0>", line)
    line = re.sub(r":(?=//)|(?<=www)\.|(?<=WWW)\.", r"\\\g<0>", line)  # bare addresses become links
    return re.sub(r"^([-+=]|\d+(?=[.)](?:\s|$)))", _at_start, line)


def _at_start(match: re.Match[str]) -> str:
    """A list item or rule begins with a sign, which is escaped; or with a number, whose dot is (``1\\.``)."""
    return f"{match[0]}\\" if match[0].isdigit() else f"\\{match[0]}"


def yaml_scalar(text: object) -> str:
    """``text`` as a quoted YAML string of one line."""
    return json.dumps(printable(text), ensure_ascii=False)


def csv_cell(text: object) -> str:
    """``text`` for a cell of CSV (the writer quotes it): what a spreadsheet would compute gets an apostrophe before."""
    cell = printable(text)
    return f"'{cell}" if cell.lstrip().startswith(FORMULA) else cell


def label(name: object, index: int) -> str:
    """Class ``name`` for a label map, one line, never empty: ``class 3`` where nothing of it can be shown."""
    return " ".join(printable(name).split()) or f"class {index}"


def plot(text: object) -> str:
    """``text`` as matplotlib shows it literally: a dollar sign would begin a formula."""
    return printable(text).replace("$", r"\$")


def logger(name: str) -> logging.Logger:
    """The logger ``name``, whose messages are :func:`printable` whatever they were given."""
    log = logging.getLogger(name)
    log.addFilter(_PRINTABLE)
    return log


class _Printable(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = printable(record.getMessage()), None
        return True


_PRINTABLE = _Printable()
