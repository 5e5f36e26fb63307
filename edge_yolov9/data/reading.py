"""Reading what a data set names: regular files alone, YAML whose aliases do not unfold without bound."""

from __future__ import annotations

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
LONGEST_NUMBER = 100
"""Digits of a number in YAML."""


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
        return _read(path, what, most).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"cannot read {what} {brief(path)}: {error}") from None


def read_yaml(path: Path) -> Any:
    """A YAML file's content.

    Raises:
        DataError: it cannot be read, is not YAML, or unfolds to more than memory should hold.
    """
    import yaml

    data = _read(path, "the data file", MOST_YAML_BYTES)
    try:
        loader = yaml.SafeLoader(data.decode("utf-8"))
        node = loader.get_single_node()
        if node is None:
            return None
        if _unfolded(node) > _held(node) + MOST_UNFOLDED:
            raise ValueError("its aliases unfold to millions of values; write them out")
        return loader.construct_document(node)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise DataError(f"{brief(path)} is not YAML: {printable(why)[:150]}") from None


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
