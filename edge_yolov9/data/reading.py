"""Reading what a data set names: regular files alone, YAML whose aliases do not unfold without bound."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from edge_yolov9.errors import DataError
from edge_yolov9.files import read_regular
from edge_yolov9.text import brief, printable

MOST_BYTES = 1 << 31
"""Largest list, label or annotation file."""
MOST_YAML_BYTES = 1 << 23
"""Largest DATA file."""
MOST_UNFOLDED = 1_000_000
"""Most values of a YAML file after its aliases are unfolded, beside as many as it holds itself."""
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
"""First bytes of a text that Windows programs call Unicode."""
LONGEST_NUMBER = 100
"""Digits of a number in YAML."""
MOST_NAMES, LONGEST_NAMES = 12, 60
"""Class names in a message, and their characters where there are several."""


def is_file(path: Path) -> bool:
    """Whether ``path`` is a regular file; False also where the name can be no file's."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether ``path`` is a folder; False also where the name can be no folder's."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def read_text(path: Path, what: str, most: int = MOST_BYTES) -> str:
    """A file's text.

    Args:
        path: the file.
        what: what it is, for the message.
        most: most bytes.

    Raises:
        DataError: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        return decoded(_read(path, what, most))
    except ValueError as error:
        raise DataError(f"cannot read {what} {brief(path)}: {error}") from None


def decoded(data: bytes) -> str:
    """Text of UTF-8, or of what a byte order mark says; the mark is no part of it.

    Raises:
        ValueError: it is something else.
    """
    if data.startswith(UTF16_MARKS):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{error.reason} in line {line}: it is not UTF-8; save it as UTF-8") from None


def read_yaml(path: Path, texts: Collection[str] = ()) -> Any:
    """A YAML file's content.

    Args:
        path: the file.
        texts: keys of the outermost mapping whose numbers are texts, as they are written: ``007`` is no 7.

    Raises:
        DataError: it cannot be read, is not YAML, or unfolds to more than memory should hold.
    """
    import yaml

    data = _read(path, "the data file", MOST_YAML_BYTES)
    try:
        loader = yaml.SafeLoader(decoded(data))
        node = loader.get_single_node()
        if node is None:
            return None
        if _unfolded(node) > _held(node) + MOST_UNFOLDED:
            raise ValueError("its aliases unfold to millions of values; write them out")
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            if key.value in texts:
                _number_texts(value)
        return loader.construct_document(node)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise DataError(f"{brief(path)} is not YAML: {printable(why)[:150]}") from None


def _number_texts(root: Any) -> None:
    """Make texts of the numbers below a YAML node."""
    rest, seen = [root], {id(root)}
    while rest:
        node = rest.pop()
        if node.tag.endswith((":int", ":float")):
            node.tag = "tag:yaml.org,2002:str"
        fresh = [child for child in _children(node) if id(child) not in seen]
        seen.update(map(id, fresh))
        rest += fresh


def _read(path: Path, what: str, most: int) -> bytes:
    try:
        return read_regular(path, most)
    except (OSError, ValueError) as error:  # ValueError: a zero in the name
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DataError(f"cannot read {what} {brief(path)}: {reason}") from None


def _children(node: Any) -> list[Any]:
    """The nodes of a YAML node: items, or keys and values."""
    if isinstance(node.value, str):
        return []
    return [part for item in node.value for part in (item if isinstance(item, tuple) else (item,))]


def _unfolded(root: Any) -> float:
    """How many nodes there are once each alias is a copy; infinite where one holds itself."""
    sizes: dict[int, float] = {}

    def size(node: Any) -> float:
        if id(node) not in sizes:
            sizes[id(node)] = float("inf")  # until it is known: it holds itself where this is asked for
            sizes[id(node)] = 1 + sum(map(size, _children(node)))
        return sizes[id(node)]

    return size(root)


def _held(root: Any) -> int:
    """How many nodes a YAML file holds itself; a ValueError where one is a number of hundreds of digits."""
    seen, rest = {id(root)}, [root]
    while rest:
        node = rest.pop()
        if node.tag.endswith((":int", ":float")) and len(node.value) > LONGEST_NUMBER:
            raise ValueError(f"it holds a number of {len(node.value)} digits")
        for child in _children(node):
            if id(child) not in seen:
                seen.add(id(child))
                rest.append(child)
    return len(seen)


def shorten(names: Any) -> str:
    """Class names for a message: the first few, and how many there are."""
    listed = list(names)
    names = map(printable, listed[:MOST_NAMES])
    first = [name if len(name) <= LONGEST_NAMES else f"{name[:LONGEST_NAMES]}..." for name in names]
    while len(first) > 1 and len(", ".join(first)) > LONGEST_NAMES:
        first.pop()
    more = f", ... {len(listed)} in all" if len(listed) > len(first) else ""
    return f"[{', '.join(first)}{more}]"
