"""Class names of a DATA file, and the numbers in its rows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_yolov9.data.reading import shorten
from edge_yolov9.errors import DataError
from edge_yolov9.text import brief, shown

INDEX = re.compile("[0-9]{1,9}")
MOST_KEYPOINTS = 1000


def class_names(file: Path, content: Mapping[str, Any]) -> tuple[str, ...]:
    """The names that the content of a DATA file states.

    Raises:
        DataError: there are none, one is no text, or two are the same.
    """
    names, where = content.get("names"), brief(file)
    if isinstance(names, dict):
        keys = {int(key): name for key, name in names.items() if isinstance(key, str) and INDEX.fullmatch(key)}
        if len(keys) < len(names) or sorted(keys) != list(range(len(keys))):
            raise DataError(f"{where}: names must have the keys 0 to {len(names) - 1}, found {shown(list(names))[:90]}")
        names = [keys[i] for i in range(len(keys))]
    if not isinstance(names, list) or not names:
        raise DataError(f"{where} has no class names; expected names: [first, second, ...]")
    for i, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise DataError(f"{where}: class name {i} is {shown(name)}; expected text (put it in quotes)")
    named = tuple(names)
    if len(set(named)) != len(named):
        raise DataError(f"{where}: class names must differ, found {shorten(named)}")
    if content.get("nc") not in (None, len(named)):
        raise DataError(f"{where}: nc is {shown(content['nc'])}, but there are {len(named)} names")
    return named


def keypoint_numbers(file: Path, shape: Any) -> int:
    """Numbers behind the box in a row of keypoints: of ``kpt_shape: [how many, 2 or 3]``.

    Raises:
        DataError: it is something else.
    """
    if shape is None:
        return 0
    fine = isinstance(shape, list) and len(shape) == 2 and all(type(side) is int for side in shape)
    if not fine or not 0 < shape[0] <= MOST_KEYPOINTS or shape[1] not in (2, 3):
        raise DataError(f"{brief(file)}: kpt_shape must be [number of keypoints, 2 or 3], found {shown(shape)[:90]}")
    return int(shape[0] * shape[1])


def check_names(model: tuple[str, ...], data: tuple[str, ...]) -> None:
    """Refuse data whose classes are not the model's, in the model's order.

    Raises:
        DataError: they differ; the first difference is named.
    """
    if model == data:
        return
    first = next(
        (i for i, pair in enumerate(zip(model, data, strict=False)) if pair[0] != pair[1]), min(len(model), len(data))
    )
    raise DataError(
        f"the model's classes {shorten(model)} are not the data's {shorten(data)}: they differ from class {first} on; "
        "use the DATA file that the model was trained with"
    )
