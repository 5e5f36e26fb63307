"""XML that a stranger wrote: read without definitions of its own, which could unfold without bound."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

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
