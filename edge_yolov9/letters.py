"""Letters of any script for labels and figures: fonts that are found on the system, drawn by Pillow if that is there.

OpenCV's own letters are ASCII. Pillow (extra ``labels``) draws the rest from the first font that has every character:
``EDGE_YOLOV9_FONT``, those of the system, that of matplotlib.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.text import printable

FONT_VARIABLE = "EDGE_YOLOV9_FONT"
"""Environment variable that names a font file which comes before all others."""
FOLDERS = {
    "linux": ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts"),
    "darwin": ("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts"),
    "win32": ("C:/Windows/Fonts", "~/AppData/Local/Microsoft/Windows/Fonts"),
}
"""Where a system keeps its fonts."""
SUFFIXES = (".otf", ".ttc", ".ttf")
MOST_FONTS = 2000
PLAIN = ("regular", "sans", "cjk", "noto", "dejavu", "wqy", "gothic", "hei")
"""Parts of the names of fonts for labels; those with more of them come first."""
FANCY = ("bold", "italic", "oblique", "mono", "light", "thin", "condensed", "serif", "black")
EMPTY = ("lastresort", "adobeblank")
"""Parts of the names of fonts that have every character, as a box."""
MISSING = "\U0010fffe"
"""A character that no font has: what is drawn for it stands for every missing one."""
BESIDE = "#0123456789."
"""Track and score."""
SHAPED = ((0x0900, 0x0DFF), (0x0E80, 0x0EFF), (0x0F00, 0x109F), (0x1780, 0x17FF))
"""Scripts whose letters change with their neighbours: Indic ones, Lao, Tibetan, Myanmar, Khmer."""


def drawable(text: str) -> bool:
    """Whether every character of ``text`` can be drawn: ASCII always, others where a font and Pillow are there."""
    return text.isascii() or font_for(text) is not None


def coverage(text: str, height: int) -> NDArray[np.uint8] | None:
    """``text`` as (H, W) shares of ink in 0 to 255, in letters of ``height`` pixels; None where it cannot be drawn."""
    path = font_for(text)
    if path is None:
        return None
    mask = opened(path, height).getmask2(printable(text), mode="L", anchor="ls")[0]
    width, rows = mask.size
    return np.frombuffer(bytes(mask), np.uint8).reshape(rows, width) if width and rows else None


def font_for(text: str) -> Path | None:
    """The first font that has every character of ``text`` and what stands beside a name in a label.

    None where there is none, or no Pillow to draw it.
    """
    return font_with(frozenset(printable(text) + BESIDE))


@lru_cache(1024)
def font_with(characters: frozenset[str]) -> Path | None:
    """As :func:`font_for`, of characters in no order."""
    if importlib.util.find_spec("PIL") is None or (_needs_shaping(characters) and not shapes_letters()):
        return None
    letters = {char for char in characters if unicodedata.category(char)[0] not in "ZMC"}
    return next((path for path in all_fonts() if _has(path, letters)), None)


def _needs_shaping(text: Iterable[str]) -> bool:
    return any(
        unicodedata.bidirectional(char) in ("R", "AL", "AN") or any(a <= ord(char) <= b for a, b in SHAPED)
        for char in text
    )


def shapes_letters() -> bool:
    """Whether Pillow has what shapes Arabic and Indic letters (libraqm)."""
    from PIL import features

    return bool(features.check("raqm"))


@cache
def all_fonts() -> tuple[Path, ...]:
    """Every font file: the stated one, then plain ones, then the others."""
    stated = os.environ.get(FONT_VARIABLE)
    found = sorted(font_files(), key=lambda path: (-_plainness(path.name.lower()), path.name))[:MOST_FONTS]
    return (*([Path(stated)] if stated else []), *found)


def _plainness(name: str) -> int:
    return sum(part in name for part in PLAIN) - 2 * sum(part in name for part in FANCY)


def font_files() -> Iterator[Path]:
    """The font files of the system and of matplotlib."""
    folders = [Path(folder).expanduser() for folder in FOLDERS.get(sys.platform, ())]
    matplotlib = importlib.util.find_spec("matplotlib")
    if matplotlib is not None and matplotlib.origin is not None:
        folders.append(Path(matplotlib.origin).parent / "mpl-data/fonts/ttf")
    for folder in folders:
        for place, _, names in os.walk(folder):
            for name in names:
                if name.lower().endswith(SUFFIXES) and not any(part in name.lower() for part in EMPTY):
                    yield Path(place, name)


def _has(path: Path, letters: set[str]) -> bool:
    try:
        font = opened(path, 20)
        missing = _drawn(font, MISSING)
        return all(_drawn(font, letter) != missing for letter in letters)
    except (OSError, ValueError):  # no font that FreeType reads
        return False


def _drawn(font: Any, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)


@lru_cache(8)  # each holds its file open
def opened(path: Path, height: int) -> Any:
    """Pillow's font of ``height`` pixels."""
    from PIL import ImageFont

    return ImageFont.truetype(str(path), height)
