"""Messages of Protocol Buffers, read strictly: fields that are not known, or stand twice where one may, are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Fields = dict[int, list[Any]]
"""Values by field number, in the order stored: an ``int`` from 0 to 2**64 - 1 (:func:`integer` knows the sign), or a
``memoryview`` (4 bytes where the field is a float)."""


@dataclass(frozen=True)
class Form:
    """Numbers of the fields that a message may have, by their wire type; ``many`` are those that may repeat."""

    ints: tuple[int, ...] = ()
    floats: tuple[int, ...] = ()
    bytes: tuple[int, ...] = ()
    many: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Make the table of keys that are looked up while reading."""
        kinds = ((self.ints, 0), (self.bytes, 2), (self.floats, 5))
        keys = {number << 3 | wire: number for numbers, wire in kinds for number in numbers}
        object.__setattr__(self, "keys", keys)

    keys: Any = None


def message(data: memoryview, form: Form) -> Fields:
    """The fields of a message.

    Raises:
        ValueError: one is not of the form.
        IndexError: it ends too early.
    """
    found: Fields = {}
    position, end, keys = 0, len(data), form.keys
    while position < end:
        key = data[position]
        position += 1
        if key > 127:
            key, position = _varint(data, position - 1)
        number = keys.get(key)
        if number is None:
            raise ValueError(f"a field of number {key >> 3} is not known here")
        value: Any = data[position] if key & 7 != 5 else 4
        position += key & 7 != 5
        if value > 127:
            value, position = _varint(data, position - 1)
        if key & 7:
            start, position = position, position + value
            if position > end:
                raise IndexError("a message ends too early")
            value = data[start:position]
        if number not in found:
            found[number] = [value]
        elif number in form.many:
            found[number].append(value)
        else:
            raise ValueError(f"a field of number {number} stands twice")
    return found


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
    raise ValueError("a number has too many bytes")


def integer(fields: Mapping[int, Sequence[Any]], number: int) -> int:
    """The signed 64-bit integer of field ``number``; 0 where it is not stored."""
    value: int = fields[number][0] if number in fields else 0
    return value - (1 << 64) if value >> 63 else value


def integers(stored: Sequence[Any]) -> tuple[int, ...]:
    """The values of a repeated field as signed 64-bit integers."""
    return tuple(value - (1 << 64) if value >> 63 else value for value in stored)
