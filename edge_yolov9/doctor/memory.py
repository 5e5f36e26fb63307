"""Looks at pictures that an earlier run kept, by the file's size, time and digest."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from edge_yolov9.data.findings import KINDS
from edge_yolov9.data.look import Look, look
from edge_yolov9.errors import InputError
from edge_yolov9.files import from_json, read_regular

VERSION = 1
MOST_BYTES = 1 << 29


@dataclass(frozen=True)
class Kept:
    """One picture as JSON has it."""

    bytes: int
    time_ns: int
    sha256: str
    height: int
    width: int
    brightness: float
    hash: str
    """16 hex digits: a number of 64 bits is none that JSON readers keep."""


@dataclass(frozen=True)
class _File:
    version: int
    pictures: dict[str, Kept]


@dataclass
class Memory:
    """Looks by path. Pictures with a fault are looked at again each time."""

    pictures: dict[str, Kept] = field(default_factory=dict)
    used: dict[str, Kept] = field(default_factory=dict)
    """Those of this run."""

    @classmethod
    def read(cls, file: Path) -> Memory:
        """What an earlier run wrote; nothing where there is no such file, or it is of another kind."""
        with suppress(OSError, ValueError, RecursionError, InputError):
            stored = from_json(_File, json.loads(read_regular(file, MOST_BYTES)), file.name)
            if stored.version == VERSION:
                return cls(dict(stored.pictures))
        return cls()

    def data(self) -> object:
        """For JSON: the pictures of this run alone."""
        return _File(VERSION, self.used)

    def look(self, path: Path) -> Look:
        """:func:`edge_yolov9.data.look.look`, or what is known of a file of this size and time."""
        try:
            stat = path.stat()
        except (OSError, ValueError):
            return look(path)
        kept = self.pictures.get(str(path))
        if kept is not None and (kept.bytes, kept.time_ns) == (stat.st_size, stat.st_mtime_ns):
            with suppress(ValueError):
                seen = Look(kept.sha256, (kept.height, kept.width), kept.brightness, int(kept.hash, 16))
                self.used[str(path)] = kept
                return seen
        seen = look(path)
        if seen.fault not in KINDS:
            self.used[str(path)] = Kept(
                stat.st_size, stat.st_mtime_ns, seen.digest, *seen.size, seen.brightness, f"{seen.hash:016x}"
            )
        return seen
