"""Reading what the machine says about itself: files and small commands, neither of which may fail the caller."""

from __future__ import annotations

import math
import subprocess
from dataclasses import dataclass
from pathlib import Path

from edge_yolov9.files import TextValue
from edge_yolov9.system import children
from edge_yolov9.text import shown

ROOT = Path("/")
"""Where ``sys``, ``proc`` and ``etc`` lie; tests hand over recorded trees."""
MISSING = "not available here: "
"""How the text begins that stands in JSON and on a page where a figure would."""


@dataclass(frozen=True)
class Missing(TextValue):
    """What stands in a report where a figure would: why there is none."""

    reason: str

    def __str__(self) -> str:
        return MISSING + self.reason

    def as_text(self) -> str:
        """Text of JSON."""
        return str(self)

    @classmethod
    def from_text(cls, text: str) -> Missing:
        """The inverse of :meth:`as_text`.

        Raises:
            ValueError: the text is something else.
        """
        if not text.startswith(MISSING):
            raise ValueError(f"expected a text that begins with {MISSING!r}, got {shown(text)}")
        return cls(text.removeprefix(MISSING))


def text(path: Path) -> str | None:
    """A small file's content without spaces and zero bytes at its ends; None where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip().strip("\0").strip()
    except OSError:
        return None


def number(path: Path) -> float | None:
    """A file that holds one number; None where it cannot be read or holds something else."""
    try:
        value = float(text(path) or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def matching(root: Path, pattern: str) -> list[Path]:
    """Paths below ``root`` by a glob pattern, sorted; none where a folder cannot be listed."""
    try:
        return sorted(root.glob(pattern))
    except OSError:
        return []


def command(*words: str, seconds: float = 3.0) -> str | None:
    """What a program on the PATH prints; None where it is absent, fails or takes too long."""
    program = children.program(words[0])
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *words[1:]],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
            env=children.environment(),
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
