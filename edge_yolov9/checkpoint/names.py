"""Class names as a checkpoint states them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_yolov9.errors import CheckpointError
from edge_yolov9.text import short

MAX_NAME = 200
"""Longest class name, characters."""

BROKEN = {"Cc": "a control character", "Cs": "half a character", "Zl": "a line break", "Zp": "a line break"}
"""Unicode category -> what is wrong with a name that holds one."""


def check_names(path: Path, names: Sequence[str]) -> None:
    """Refuse names that no terminal, file or label map could hold.

    Raises:
        CheckpointError: one is empty, longer than 200 characters, or holds a control character or half a character.
    """
    for index, name in enumerate(names):
        if not name.strip() or len(name) > MAX_NAME:
            wrong = f"{len(name)} characters long" if name.strip() else "empty"
            raise CheckpointError(f"{path}: the name of class {index} is {wrong}; expected 1 to {MAX_NAME} characters")
        broken = next((what for char in name if (what := BROKEN.get(unicodedata.category(char)))), None)
        if broken is not None:
            raise CheckpointError(f"{path}: the name of class {index} ({short(ascii(name))}) holds {broken}")


def stated_names(names: Any, path: Path) -> tuple[str, ...]:
    """Class names by index of a list, or of a dict by index; whole numbers among them stand as their digits.

    Returns:
        Nothing where ``names`` states none.

    Raises:
        CheckpointError: a name is no text, or one that :func:`check_names` refuses.
    """
    if isinstance(names, dict):
        numbers = range(len(names))
        if all(i in names for i in numbers):
            names = [names[i] for i in numbers]
        elif all(str(i) in names for i in numbers):
            names = [names[str(i)] for i in numbers]
    if not isinstance(names, (list, tuple)):
        return ()
    for index, name in enumerate(names):
        if not (isinstance(name, str) or (type(name) is int and abs(name) < 1 << 63)):
            raise CheckpointError(f"{path}: the name of class {index} is a {type(name).__name__}; expected text")
    check_names(path, texts := tuple(str(name) for name in names))
    return texts


@dataclass(frozen=True)
class Given:
    """What a caller offers where a file states no class names."""

    names: Sequence[str] | None
    """Class names, by index."""
    unnamed: bool
    """Whether numbered classes will do."""


def class_names(path: Path, stated: Any, num_classes: int, given: Given) -> tuple[tuple[str, ...], str | None]:
    """The class names of a model, and in words why they are not the file's, if they are not.

    Raises:
        CheckpointError: there are none, others than the head has classes, or some that no screen could show.
    """
    try:
        names = stated_names(stated, path)
    except CheckpointError:
        if given.names is None:
            raise
        names = ()
    numbered = all(re.fullmatch(rf"(class[ _-]?)?{index}", name) for index, name in enumerate(names))
    if names and not (numbered and given.names is not None):
        why = None
    elif given.names is not None:
        names, why = tuple(given.names), "given, the file states none"
    elif given.unnamed:
        names, why = tuple(f"class {index}" for index in range(num_classes)), "the file states none"
    else:
        raise CheckpointError(f"{path} states no class names; give the {num_classes} of them with --names or --data")
    if len(names) != num_classes:
        raise CheckpointError(f"{path}: {len(names)} class names for a head of {num_classes} classes")
    check_names(path, names)
    return names, why
