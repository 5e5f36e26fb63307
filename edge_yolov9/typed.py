"""JSON and dataclasses: written from their fields, read into what their annotations say."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import types
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar, Union, cast

from edge_yolov9.text import shown

T = TypeVar("T")


class TextValue(ABC):
    """Base of dataclasses that JSON holds as a text."""

    @abstractmethod
    def as_text(self) -> str:
        """The text that stands for the value."""

    @classmethod
    @abstractmethod
    def from_text(cls: type[T], text: str) -> T:
        """The value that a text stands for.

        Raises:
            ValueError: it stands for none.
        """


def finite(value: Any) -> Any:
    """``value`` as JSON can hold it: keys are texts, what is not a finite number is None.

    A dataclass becomes an object of its fields; a field that is None by default and is None is left out.
    """
    if isinstance(value, TextValue):
        return value.as_text()
    if dataclasses.is_dataclass(value):
        pairs = ((field, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {field.name: finite(item) for field, item in pairs if not (item is None and field.default is None)}
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def from_json(cls: type[T], data: object, where: str) -> T:
    """A dataclass from what JSON or TOML holds: every value is of the type that its field is annotated with.

    Fields may be dataclasses, classes of :class:`TextValue`, tuples, lists, mappings with text keys, literals,
    optional, ``str``, ``bool``, ``int``, ``float`` (a finite number; integers are turned into floats) and ``Any``
    (taken as it is). Keys that the class does not have are ignored: a later version may write them.

    Args:
        cls: the dataclass.
        data: an object of JSON.
        where: what the data is, e.g. the file's name; an error begins with it.

    Raises:
        ValueError: a key is missing, or of another type: which one, what was expected, what was found.
    """
    try:
        return cast(T, _object(cls, data, ""))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: {str(error) or type(error).__name__}") from None


_SIMPLE = {str: "a text", bool: "true or false", int: "an integer", float: "a finite number", type(None): "null"}


def _wrong(key: str, expected: str, value: object) -> ValueError:
    name = key if len(key) <= 100 else f"{key[:96]} ..."
    return ValueError(f"{name or 'it'} must be {expected}, got {shown(value)}")


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _object(cls: Any, data: object, key: str) -> object:
    if not isinstance(data, Mapping):
        raise _wrong(key, "an object", data)
    given = {}
    for field in dataclasses.fields(cls):
        inner = f"{key}.{field.name}" if key else field.name
        if field.name in data:
            given[field.name] = _value(_hints(cls)[field.name], data[field.name], inner)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{inner} is missing")
    return _made(cls, key, **given)


def _made(make: Callable[..., object], key: str, *values: object, **named: object) -> object:
    """What ``make`` gives; the ValueError of a class whose values do not fit together names the key."""
    try:
        return make(*values, **named)
    except ValueError as error:
        raise ValueError(f"{key}: {error}" if key else str(error)) from None


def _value(hint: Any, value: Any, key: str) -> Any:
    """``value`` as the type ``hint`` wants it, or ValueError."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is None and isinstance(hint, type) and issubclass(hint, TextValue):  # Python 3.10: tuple[int] is a type
        return _made(hint.from_text, key, _simple(str, value, key))
    if dataclasses.is_dataclass(hint):
        return _object(hint, value, key)
    if hint in _SIMPLE:
        return _simple(hint, value, key)
    if origin is Literal:
        if not any(type(value) is type(choice) and value == choice for choice in arguments):
            raise _wrong(key, f"one of {', '.join(map(repr, arguments))}", value)
        return value
    if origin in (Union, types.UnionType):
        return _union(arguments, value, key)
    if origin in (tuple, list, Sequence):
        return _list(origin, arguments, value, key)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise _wrong(key, "an object", value)
        return {_simple(str, name, key): _value(arguments[1], item, f"{key}[{name!r}]") for name, item in value.items()}
    if hint is Any:
        return value
    raise TypeError(f"{key} is annotated with {hint}, which JSON does not hold")


def _simple(kind: type, value: Any, key: str) -> Any:
    if kind is float and type(value) in (int, float):
        if value.bit_length() < 1000 if type(value) is int else math.isfinite(value):
            return float(value)
    elif type(value) is kind:
        return value
    raise _wrong(key, _SIMPLE[kind], value)


def _union(arguments: Sequence[Any], value: Any, key: str) -> Any:
    if value is None and type(None) in arguments:
        return None
    choices = [hint for hint in arguments if hint is not type(None)]
    if len(choices) == 1:
        return _value(choices[0], value, key)
    for hint in choices:
        with contextlib.suppress(ValueError):
            return _value(hint, value, key)
    raise _wrong(key, " or ".join(_SIMPLE.get(hint, str(hint)) for hint in choices), value)


def _list(origin: Any, arguments: Sequence[Any], value: Any, key: str) -> Any:
    if not isinstance(value, list | tuple):
        raise _wrong(key, "a list", value)
    fixed = origin is tuple and arguments[-1] is not Ellipsis
    if not fixed and arguments[0] in (str, int) and all(type(item) is arguments[0] for item in value):
        return list(value) if origin is list else tuple(value)  # as below, fast where there are a million
    if fixed and len(value) != len(arguments):
        raise _wrong(key, f"a list of {len(arguments)}", value)
    hints = arguments if fixed else [arguments[0]] * len(value)
    made = [_value(hint, item, f"{key}[{index}]") for index, (hint, item) in enumerate(zip(hints, value, strict=True))]
    return made if origin is list else tuple(made)
