"""Whether a picture's file holds all of the picture, told from its structure: JPEG, PNG, BMP, WebP and TIFF.

Decoders differ: some versions of OpenCV fill what a cut file lacks with grey and say nothing.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from edge_yolov9.headers import TIFF_KINDS

JPEG_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
"""What ends the coded data of a JPEG's scan: FF 00 is a byte FF in it, and FF D0 to FF D7 restart its coder."""
TIFF_OFFSETS = {273: 279, 324: 325}
"""Tag of the places of strips, or tiles -> tag of their lengths in bytes."""
TIFF_TYPES = {3: ("H", 2), 4: ("I", 4), 16: ("Q", 8)}
BMP_PLAIN = (0, 3, 6)
"""Compressions of a BMP whose rows are as long as its header says."""


def is_whole(data: bytes) -> bool:
    """Whether a picture's file reaches the picture's end; bytes behind that end are no matter.

    True for what is none of the five formats: no decoder takes it.
    """
    try:
        if data[:2] == b"\xff\xd8":
            return _jpeg_end(data) is not None
        if data[:8] == b"\x89PNG\r\n\x1a\n":
            return _png(data)
        if data[:2] == b"BM":
            return _bmp(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return int.from_bytes(data[4:8], "little") <= len(data) - 8
        if data[:4] in TIFF_KINDS:
            return _tiff(data)
    except (struct.error, IndexError):  # it ends before
        return False
    return True


def with_more_data(data: bytes) -> bytes:
    """A whole JPEG with coded data added to its last scan.

    Its pixels are those of ``data`` only where the scan had its last pixel already: a scan that was cut goes on with
    what was added. So an end marker behind half a picture is told from the end of a whole one.
    """
    return data[: _jpeg_end(data)] + bytes(range(1, 160, 3)) + b"\xff\xd9"


def _jpeg_end(data: bytes) -> int | None:
    """Where the end marker of a JPEG lies, behind every scan that it needs; None where one is missing.

    A progressive JPEG of which only a part of the last scan is missing is not told from a whole one, where an end
    marker was put behind it: its pixels are all there, the lower ones a bit coarser.
    """
    missing: set[tuple[int, int]] | None = None
    """(component, coefficient) that no scan has brought to its last bit; one entry stands for all of a baseline."""
    progressive, components = False, b""
    for place, at in _jpeg_markers(data):
        marker = data[at - 1]
        if marker == 0xD9:
            return None if missing is None or missing else place
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            progressive = marker in (0xC2, 0xC6, 0xCA, 0xCE)
            components = data[at + 8 : at + 8 + 3 * data[at + 7] : 3]
        if marker == 0xDA:
            count = data[at + 2]
            first, last, bits = data[at + 3 + 2 * count : at + 6 + 2 * count]
            if not progressive:
                first, last, bits = 0, 63, 0
            if missing is None:
                missing = {(component, k) for component in components for k in range(64)}
            if bits & 15 == 0:
                scanned = data[at + 3 : at + 3 + 2 * count : 2]
                missing -= {(component, k) for component in scanned for k in range(first, last + 1)}
    return None


def _jpeg_markers(data: bytes) -> Iterator[tuple[int, int]]:
    """Where each marker begins and ends, up to the end marker; what lies inside of segments has none."""
    at = 2
    while (found := JPEG_MARKER.search(data, at)) is not None:
        at, marker = found.end(), data[found.end() - 1]
        yield found.start(), at
        if marker == 0xD9:
            return
        if marker not in (0x01, 0xD8):  # without a length
            at += struct.unpack_from(">H", data, at)[0]


def _png(data: bytes) -> bool:
    at = 8
    while data[at + 4 : at + 8] != b"IEND":
        at += 12 + struct.unpack_from(">I", data, at)[0]
    return at + 12 <= len(data)


def _bmp(data: bytes) -> bool:
    start, header = struct.unpack_from("<II", data, 10)
    old = header == 12
    width, height, _planes, bits = struct.unpack_from("<HHHH" if old else "<iiHH", data, 18)
    compression = 0 if old else struct.unpack_from("<I", data, 30)[0]
    if compression in BMP_PLAIN:
        return bool(start + abs(height) * ((abs(width) * bits + 31) // 32 * 4) <= len(data))
    return b"\x00\x01" in data[start:]  # run lengths end with this


def _tiff(data: bytes) -> bool:
    """Whether the strips or tiles of the first page lie in the file."""
    order, count_type, offset_type, count_bytes, entry_bytes = TIFF_KINDS[data[:4]]
    at = struct.unpack_from(order + offset_type, data, 8 if offset_type == "Q" else 4)[0]
    count = struct.unpack_from(order + count_type, data, at)[0]
    values: dict[int, tuple[int, ...]] = {}
    for place in range(at + count_bytes, at + count_bytes + entry_bytes * count, entry_bytes):
        tag, kind = struct.unpack_from(order + "HH", data, place)
        if kind in TIFF_TYPES and tag in {*TIFF_OFFSETS, *TIFF_OFFSETS.values()}:
            number = struct.unpack_from(order + offset_type, data, place + 4)[0]
            letter, size = TIFF_TYPES[kind]
            here = place + 4 + struct.calcsize(offset_type)
            if number * size > struct.calcsize(offset_type):
                here = struct.unpack_from(order + offset_type, data, here)[0]
            if here + number * size > len(data):
                return False
            values[tag] = struct.unpack_from(f"{order}{number}{letter}", data, here)
    parts = [
        (place, length)
        for places, lengths in TIFF_OFFSETS.items()
        for place, length in zip(values.get(places, ()), values.get(lengths, ()), strict=False)
    ]
    return bool(parts) and all(place + length <= len(data) for place, length in parts)
