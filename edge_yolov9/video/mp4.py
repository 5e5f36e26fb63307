"""What an MP4 file says about its frames: how many there are for certain, and when each is shown."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

import numpy as np

TIMESCALE = 1000
"""Units per second of the times that are written: 49 days fit into their 32 bits."""
MOST_INDEX_BYTES = 1 << 30
HOLDERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts")
"""Boxes that hold boxes."""
TIME, TRACK_TIME = {0: ">II", 1: ">IQ"}, {0: ">I", 1: ">Q"}
"""Version of a header -> form of its timescale and duration; a track's header has the duration alone."""
TIME_PLACE, TRACK_TIME_PLACE = {0: 12, 1: 20}, {0: 20, 1: 28}
"""Version of a header -> where they lie in the box's content."""
UNCUT_SECONDS = 0.05
"""A film that an edit list makes shorter by more than this is cut."""


def has_index(path: Path) -> bool:
    """Whether a film is none of MP4, or holds its index; one that was cut off while it was written lacks it.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return file.read(8)[4:] != b"ftyp" or _index(file) is not None


def counts_frames(path: Path) -> bool:
    """Whether a film's container says for certain how many frames there are: AVI, and MP4 of which nothing is cut.

    Other containers state a duration, from which OpenCV estimates a number.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"RIFF" and head[8:] == b"AVI ":
            return True
        place = _index(file)
        if head[4:8] != b"ftyp" or place is None:
            return False
        index = _read(file, place)
    try:
        movie = next(_find(index, b"moov", b"mvhd"))
        if any(_find(index, b"moov", b"mvex")):  # more of the index follows
            return False
        return not any(_is_cut(track, _time(movie)[0]) for track in _find(index, b"moov", b"trak"))
    except (struct.error, ValueError, KeyError, IndexError, StopIteration):
        return False


def set_times(path: Path, seconds: Sequence[float]) -> None:
    """Give the frames of a film that OpenCV wrote (one track, its index last) the times at which they are shown.

    Args:
        path: the file, which is changed in place.
        seconds: of each frame, growing; the first is shown at 0, the last one as long as most others.

    Raises:
        OSError: it cannot be read or written.
        ValueError: it is no such film.
    """
    times = np.round((np.asarray(seconds, np.float64) - seconds[0]) * TIMESCALE).astype(np.int64)
    durations = np.maximum(np.diff(np.maximum.accumulate(times)), 0)
    last = max(1, int(np.median(durations))) if len(durations) else TIMESCALE
    runs = [(len(list(run)), int(value)) for value, run in groupby((*durations.tolist(), last))]
    table = struct.pack(f">II{2 * len(runs)}I", 0, len(runs), *(number for run in runs for number in run))
    with path.open("r+b") as file:
        place = _index(file)
        if place is None or file.seek(0, 2) != place[1]:
            raise ValueError("its index does not come last")
        index = _read(file, place)
        file.seek(place[0])
        file.write(_retimed(index, table, int(durations.sum()) + last))
        file.truncate()


def _retimed(box: bytes, table: bytes, duration: int) -> bytes:
    """A box and those in it, with the times of ``table``; an edit list is left out: it would cut the film."""
    kind, body = box[4:8], bytearray(box[8:])
    if kind in HOLDERS:
        body = bytearray(b"".join(_retimed(part, table, duration) for part in _boxes(box[8:]) if part[4:8] != b"edts"))
    elif kind == b"stts":
        body = bytearray(table)
    elif kind in (b"mvhd", b"mdhd"):
        struct.pack_into(TIME[body[0]], body, TIME_PLACE[body[0]], TIMESCALE, duration)
    elif kind == b"tkhd":
        struct.pack_into(TRACK_TIME[body[0]], body, TRACK_TIME_PLACE[body[0]], duration)
    return struct.pack(">I", len(body) + 8) + kind + body


def _is_cut(track: bytes, movie_scale: int) -> bool:
    scale, duration = _time(next(_find(track, b"trak", b"mdia", b"mdhd")))
    for edits in _find(track, b"trak", b"edts", b"elst"):
        wide, count = edits[8] == 1, struct.unpack_from(">I", edits, 12)[0]
        entries = [
            struct.unpack_from(">Qq" if wide else ">Ii", edits, 16 + (20 if wide else 12) * i) for i in range(count)
        ]
        shown = sum(length for length, start in entries if start >= 0)
        if shown / movie_scale < duration / scale - UNCUT_SECONDS:
            return True
    return False


def _time(header: bytes) -> tuple[int, int]:
    """(timescale, duration) of a box mvhd or mdhd."""
    scale, duration = struct.unpack_from(TIME[header[8]], header, 8 + TIME_PLACE[header[8]])
    return scale, duration


def _find(box: bytes, kind: bytes, *path: bytes) -> Iterator[bytes]:
    """The boxes that a path of kinds leads to, ``box`` itself first."""
    if box[4:8] == kind and not path:
        yield box
    elif box[4:8] == kind:
        for part in _boxes(box[8:]):
            yield from _find(part, *path)


def _boxes(data: bytes) -> Iterator[bytes]:
    """The boxes in ``data``, one behind the other; ValueError where one does not end."""
    at = 0
    while at + 8 <= len(data):
        size = struct.unpack_from(">I", data, at)[0]
        if not 8 <= size <= len(data) - at:
            raise ValueError("a box that does not end in its place")
        yield data[at : at + size]
        at += size


def _index(file: BinaryIO) -> tuple[int, int] | None:
    """Where the index begins and ends in a file; None where there is none, or one that nothing wrote."""
    at, end = 0, file.seek(0, 2)
    while at + 8 <= end:
        file.seek(at)
        size, kind = struct.unpack(">I4s", file.read(8))
        size = {0: end - at, 1: int.from_bytes(file.read(8), "big")}.get(size, size)
        if kind == b"moov":
            return (at, at + size) if 8 <= size <= min(end - at, MOST_INDEX_BYTES) else None
        if size < 8:
            return None
        at += size
    return None


def _read(file: BinaryIO, place: tuple[int, int]) -> bytes:
    file.seek(place[0])
    return file.read(place[1] - place[0])
