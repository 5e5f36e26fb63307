"""XML that a stranger wrote, read without definitions of its own; what coordinates and sizes in it say."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

from edge_yolov9.data.coco import LARGEST_COORDINATE, LONGEST_SIDE
from edge_yolov9.data.reading import read_text
from edge_yolov9.errors import DataError
from edge_yolov9.text import brief, shown


def parse_xml(path: Path, tag: str) -> ElementTree.Element:
    """The outermost element of an XML file, which has no definitions of its own: those can unfold without bound.

    Raises:
        DataError: it cannot be read, is no XML, or its outermost element is another.
    """
    text = read_text(path, "annotations")
    if "<!" in text and ("<!DOCTYPE" in text or "<!ENTITY" in text):
        raise DataError(f"{brief(path)} holds definitions of its own, which are not read; remove them")
    try:
        root = ElementTree.fromstring(text.partition("?>")[2] if text.lstrip().startswith("<?xml") else text)
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise DataError(f"{brief(path)} is not XML: {error}") from None
    if root.tag != tag:
        raise DataError(f"{brief(path)} begins with {shown(root.tag)}, expected {tag}")
    return root


def coordinates(texts: Sequence[str], meant: str = "") -> list[float]:
    """The pixels that ``texts`` state; ``meant`` ends the words of a message that say what was expected.

    Raises:
        ValueError: one is no number, or none that a coordinate can have.
    """
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        raise ValueError(f"expected numbers{meant}, found {shown(texts)[:90]}") from None
    if not all(math.isfinite(number) and abs(number) <= LARGEST_COORDINATE for number in numbers):
        raise ValueError(f"expected pixels{meant}, found {shown(texts)[:90]}")
    return numbers


def stated_size(height: str, width: str) -> tuple[int, int] | None:
    """(height, width) of an image, pixels, where both are stated and can be."""
    if all(text.isdecimal() and len(text) < 8 and 0 < int(text) <= LONGEST_SIDE for text in (height, width)):
        return int(height), int(width)
    return None
