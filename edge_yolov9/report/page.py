"""A page of text, tables and pictures, written as one self-contained HTML file or as Markdown. No dependency."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from edge_yolov9.text import html, markdown, printable, table

KINDS = {".png": "image/png", ".jpg": "image/jpeg", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class Heading:
    """``level`` 1 is the page's title."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """One paragraph."""

    text: str


@dataclass(frozen=True)
class Notice:
    """What a reader must know before the figures; ``title`` says what the items are."""

    title: str
    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """The first column names the row, the others hold figures. Rows that are of no use in print may be many."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Picture:
    """``name`` is the file's path beside the page; ``alt`` says what it shows."""

    name: str
    data: bytes
    alt: str


Block = Heading | Text | Notice | Table | Picture
Page = Sequence[Block]

STYLE = """
:root { color-scheme: light dark; --line: #c8ccd0; --soft: #f3f5f7; --warn: #fff4d6; --ink: #16191c; --back: #fff; }
@media (prefers-color-scheme: dark) { :root { --line: #454b52; --soft: #23282d; --warn: #4a3d12; --ink: #e8eaec;
  --back: #16191c; } img { background: #fff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; font: 16px/1.45 system-ui, sans-serif; color: var(--ink);
  background: var(--back); overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; } h2 { border-bottom: 1px solid var(--line); margin-top: 2.2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .7rem .3rem 0; text-align: right; vertical-align: top;
  overflow-wrap: normal; }
th:first-child, td:first-child { text-align: left; min-width: 7rem; } thead th { background: var(--soft); }
.notice { background: var(--warn); border-left: 4px solid #d49a00; padding: .6rem 1rem; margin: 1rem 0; }
.notice ul { margin: .3rem 0; padding-left: 1.2rem; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; } figcaption { font-size: .85rem; }
@media print { :root { --ink: #000; --back: #fff; --soft: #eee; --warn: #fff; --line: #999; }
  body { max-width: none; padding: 0; font-size: 10pt; } .wide { overflow: visible; }
  table { font-size: 8.5pt; width: 100%; } th, td { overflow-wrap: anywhere; }
  figure, .notice, tr { break-inside: avoid; } h2, h3 { break-after: avoid; } thead { display: table-header-group; }
  img { max-height: 23cm; } img[src*="image/png"] { max-height: 10cm; } }
"""


def as_html(page: Page) -> str:
    """One file: style and pictures inside, no script, nothing fetched."""
    title = next((block.text for block in page if isinstance(block, Heading) and block.level == 1), "report")
    body = "\n".join(_html(block) for block in page)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{html(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{STYLE}</style>\n</head>\n'
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _html(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{html(block.text)}</h{block.level}>"
    if isinstance(block, Text):
        return f"<p>{html(block.text)}</p>"
    if isinstance(block, Notice):
        items = "".join(f"<li>{html(item)}</li>" for item in block.items)
        return f'<div class="notice"><strong>{html(block.title)}</strong><ul>{items}</ul></div>'
    if isinstance(block, Picture):
        kind = KINDS[PurePosixPath(block.name).suffix]
        data = base64.b64encode(block.data).decode()
        alt = html(block.alt)
        return f'<figure><img alt="{alt}" src="data:{kind};base64,{data}"><figcaption>{alt}</figcaption></figure>'
    head = "".join(f'<th scope="col">{html(cell)}</th>' for cell in block.header)
    rows = "".join(
        f'<tr><th scope="row">{html(row[0])}</th>' + "".join(f"<td>{html(cell)}</td>" for cell in row[1:]) + "</tr>\n"
        for row in block.rows
    )
    return f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>'


def as_markdown(page: Page) -> str:
    """A page for a pull request or a wiki; pictures are files beside it."""
    return "\n\n".join(_markdown(block) for block in page) + "\n"


def _markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {markdown(block.text)}"
    if isinstance(block, Text):
        return markdown(block.text)
    if isinstance(block, Notice):
        return "\n".join([f"> **{markdown(block.title)}**", *(f"> - {markdown(item)}" for item in block.items)])
    if isinstance(block, Picture):
        return f"![{markdown(block.alt)}]({block.name})"
    head, *rows = ["| " + " | ".join(map(markdown, line)) + " |" for line in (block.header, *block.rows)]
    return "\n".join((head, f"| :-- |{' --: |' * (len(block.header) - 1)}", *rows))


def as_text(page: Page) -> str:
    """For a terminal: headings, tables and notices; no pictures."""
    return "\n\n".join(_text(block) for block in page if not isinstance(block, Picture))


def _text(block: Block) -> str:
    if isinstance(block, Heading):
        return printable(block.text)
    if isinstance(block, Text):
        return printable(block.text)
    if isinstance(block, Notice):
        return "\n".join([printable(block.title), *(f"  - {printable(item)}" for item in block.items)])
    assert isinstance(block, Table)
    return table([block.header, *block.rows])
