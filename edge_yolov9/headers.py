"""How many pixels a picture's file claims to have, before anything is decoded: JPEG, PNG, BMP, WebP and TIFF."""

from __future__ import annotations

import struct
from collections.abc import Iterator

JPEG, PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
"""First bytes of a file."""
ORIENTATION, TURNED = 274, (5, 6, 7, 8)
"""EXIF's tag, and its values that exchange height and width."""

TIFF_KINDS = {
    b"II*\0": ("<", "H", "I", 2, 12),
    b"MM\0*": (">", "H", "I", 2, 12),
    b"II+\0": ("<", "Q", "Q", 8, 20),
    b"MM\0+": (">", "Q", "Q", 8, 20),
}
"""First bytes -> byte order, types of the number of entries and of an offset, bytes of that number and of an entry."""
TIFF_WIDTH, TIFF_HEIGHT, TIFF_TILE_WIDTH, TIFF_TILE_HEIGHT = 256, 257, 322, 323
TIFF_INTEGERS = {3: "H", 4: "I", 16: "Q"}
TIFF_MOST_ENTRIES = 4096


def claimed_size(data: bytes) -> tuple[int, int] | None:
    """(height, width) in pixels that a decoder would make room for; None where it is no picture that has them."""
    try:
        if data[:2] == JPEG:
            return _jpeg(data)
        if data[:8] == b"\x89PNG\r\n\x1a\n":
            width, height = struct.unpack_from(">II", data, 16)
        elif data[:2] == b"BM":
            width, height = struct.unpack_from("<HH" if data[14] == 12 else "<ii", data, 18)
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
        elif data[:4] in TIFF_KINDS:
            return _tiff(data)
        else:
            return None
    except (struct.error, IndexError):  # it ends before
        return None
    return abs(height), abs(width)


def upright_size(data: bytes) -> tuple[int, int] | None:
    """:func:`claimed_size` after a decoder has turned the picture by its EXIF tag; None where only decoding tells."""
    size = claimed_size(data)
    if size is None or data[:2] == JPEG:
        return size[::-1] if size is not None and _orientation(data) in TURNED else size
    exif = data[:4] in TIFF_KINDS or b"eXIf" in data or b"EXIF" in data
    return None if exif else size


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """(marker, where it begins) of a JPEG's segments up to its pixels."""
    at = 2
    while at + 1 < len(data):
        if data[at] != 0xFF:  # rubbish between segments, which decoders pass over
            at = data.find(b"\xff", at)
            if at < 0 or at + 1 >= len(data):
                return
        marker = data[at + 1]
        if marker == 0xFF or marker <= 0x01 or 0xD0 <= marker <= 0xD8:  # filling, or a marker without a length
            at += 1 if marker == 0xFF else 2
            continue
        yield marker, at
        if marker in (0xD9, 0xDA) or at + 4 > len(data):
            return
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]


def _jpeg(data: bytes) -> tuple[int, int] | None:
    for marker, at in _segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return height, width
    return None


def _orientation(data: bytes) -> int:
    """EXIF's orientation of a JPEG; 1 where it states none."""
    for marker, at in _segments(data):
        if marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0" and data[at + 10 : at + 14] in TIFF_KINDS:
            length = struct.unpack_from(">H", data, at + 2)[0]
            try:
                tags = dict(_tiff_integers(data[at + 10 : at + 2 + length]))
            except (struct.error, IndexError):
                return 1
            return tags.get(ORIENTATION, 1)
    return 1


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[27:30], "little"), 1 + int.from_bytes(data[24:27], "little")
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return 1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return height & 0x3FFF, width & 0x3FFF
    return None


def _tiff(data: bytes) -> tuple[int, int] | None:
    sizes = {TIFF_WIDTH: 0, TIFF_HEIGHT: 0, TIFF_TILE_WIDTH: 0, TIFF_TILE_HEIGHT: 0}
    for tag, value in _tiff_integers(data):
        if tag in sizes:
            sizes[tag] = max(sizes[tag], value)
    if not (sizes[TIFF_WIDTH] and sizes[TIFF_HEIGHT]):
        return None
    return max(sizes[TIFF_HEIGHT], sizes[TIFF_TILE_HEIGHT]), max(sizes[TIFF_WIDTH], sizes[TIFF_TILE_WIDTH])


def _tiff_integers(data: bytes) -> Iterator[tuple[int, int]]:
    """(tag, value) of the first page's whole numbers."""
    order, count_type, offset_type, count_bytes, entry_bytes = TIFF_KINDS[data[:4]]
    at = struct.unpack_from(order + offset_type, data, 8 if offset_type == "Q" else 4)[0]
    count = struct.unpack_from(order + count_type, data, at)[0]
    for place in range(at + count_bytes, at + count_bytes + entry_bytes * min(count, TIFF_MOST_ENTRIES), entry_bytes):
        tag, kind = struct.unpack_from(order + "HH", data, place)
        if kind in TIFF_INTEGERS:
            value = place + 4 + (8 if offset_type == "Q" else 4)
            yield tag, struct.unpack_from(order + TIFF_INTEGERS[kind], data, value)[0]
