"""Pickles written opcode by opcode, for what Python's own pickler would never write."""

from __future__ import annotations

import struct

START = b"\x80\x02"
TENSOR = "torch._utils _rebuild_tensor_v2"


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def named(name: str) -> bytes:
    """A global: ``module name``."""
    return b"c" + name.replace(" ", "\n").encode() + b"\n"


def put(at: int) -> bytes:
    return b"r" + struct.pack("<I", at)


def get(at: int) -> bytes:
    return b"j" + struct.pack("<I", at)


def mapping(*pairs: bytes) -> bytes:
    """A dict; each of ``pairs`` pushes keys and values in turn."""
    return b"}(" + b"".join(pairs) + b"u"


def storage(key: bytes, count: bytes) -> bytes:
    """float32 numbers elsewhere in the file."""
    return b"(" + text("storage") + named("torch FloatStorage") + key + text("cpu") + count + b"tQ"


def tensor(stored: bytes, size: bytes, stride: bytes, offset: bytes = b"K\x00") -> bytes:
    """A view of ``stored``; every argument is what pushes it."""
    return named(TENSOR) + b"(" + stored + offset + size + stride + b"\x89" + b"}" + b"tR"


def vector(key: str, count: int) -> bytes:
    """The whole of one storage."""
    return tensor(storage(text(key), number(count)), number(count) + b"\x85", b"K\x01\x85")


def model(state: bytes) -> bytes:
    """A torch file's root whose model has ``state``."""
    return START + mapping(text("model"), named("models.yolo DetectionModel") + b")\x81" + state + b"b") + b"."


def shared_tuples(depth: int) -> bytes:
    """A tuple of 2 ** depth items in ``depth`` steps, on top; what it is made of lies below in a list."""
    steps = b"".join(get(at) + get(at) + b"\x86" + put(at + 1) for at in range(depth))
    return b"](" + b")" + put(0) + steps + b"e" + get(depth)
