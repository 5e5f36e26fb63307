"""What every kind of source gives its frames by: a base class whose defaults are those of a plain iterator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from edge_yolov9.images import Image

T = TypeVar("T", bound="Frames")


@dataclass(frozen=True)
class Frame:
    """One picture of a source."""

    image: Image
    """(H, W, 3) uint8 BGR."""
    name: str
    """File name, or the source's name for videos and live sources."""
    index: int
    """Place in the source from 0; a gap says that frames were dropped, did not decode, or were missed while a live
    source was lost."""
    timestamp: float
    """Seconds: position in a video file, ``time.monotonic()`` of arrival for live sources, 0 for images."""


@dataclass(frozen=True)
class Shortfall:
    """A film that ended before all of its frames could be read."""

    read: int
    """Frames that could be."""
    total: int
    """Frames that its container states."""
    certain: bool
    """False where the container states a duration alone, from which the number is estimated."""

    def __str__(self) -> str:
        if self.certain:
            return f"{self.read} of {self.total} frames could be read; the file is damaged, or cut off"
        return f"{self.read} of about {self.total} frames could be read; the number is an estimate"


class Frames(ABC):
    """Frames in order. One thread at a time iterates; ``stop`` may come from any."""

    fps: float | None = None
    """Frames per second, as far as that is known."""
    total: int | None = None
    """How many frames to expect, as far as that is known."""
    patience: float = 5.0
    """Seconds that closing waits for a read under way; the reading thread frees the device when it returns."""

    def __iter__(self: T) -> T:
        return self

    @abstractmethod
    def __next__(self) -> Frame:
        """The next frame; waits for it."""

    @property
    def rate(self) -> float | None:
        """Frames per second as they come: measured where that is done, else what the source states."""
        return self.fps

    @property
    def newest_only(self) -> bool:
        """Whether frames that nobody asked for in time are dropped."""
        return False

    @property
    def dropped(self) -> int:
        """Frames that were dropped because newer ones had arrived."""
        return 0

    @property
    def reconnects(self) -> int:
        """How often a live source was lost and came back."""
        return 0

    @property
    def shortfall(self) -> Shortfall | None:
        """What is missing of a film that has ended; None where nothing is."""
        return None

    def fresher(self, frame: Frame) -> Frame:
        """``frame``, or the one that has replaced it meanwhile; does not wait."""
        return frame

    def stop(self) -> None:  # noqa: B027  (most have nothing to stop)
        """Make a thread that waits for a frame give up. Calling it twice does no harm."""

    def close(self) -> None:  # noqa: B027  (most have nothing to free)
        """Free the device, when no thread waits for a frame. Calling it twice does no harm."""


class Iterated(Frames):
    """Frames of any iterator: of files, or the caller's own."""

    def __init__(self, frames: Iterator[Frame], *, total: int | None = None, fps: float | None = None) -> None:
        """``total`` and ``fps`` are how many to expect and how many come per second, as far as that is known."""
        self._frames, self.total, self.fps = frames, total, fps

    def __next__(self) -> Frame:
        return next(self._frames)
