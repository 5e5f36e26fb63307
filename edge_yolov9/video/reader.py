"""Frames of a capture, which is opened again when a live one is lost."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from edge_yolov9.errors import SourceError
from edge_yolov9.images import Image
from edge_yolov9.video.capture import Capture
from edge_yolov9.video.frames import Frame, Frames, Shortfall

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Seconds before the first attempt to open a lost source again, and most between two; each waits twice as long."""


RECENT = 15
"""Arrivals by which the rate of a live source is measured; FFmpeg makes one up where the network states none."""
LONGEST_GAP = 5000
"""Frames in a row that fail before a film is given up."""
ESTIMATE_SLACK = 0.05
"""Share of an estimated number of frames that may be missing without a word, and two more."""


@dataclass(frozen=True)
class Status:
    """What happened to a live source."""

    event: Literal["lost", "reconnecting", "back"]
    source: str
    """The source's name, without a password."""
    reason: str
    """Why it was lost; before a further attempt, why the last one failed."""
    attempt: int = 0
    """Attempts to open it again since it was lost."""

    def __str__(self) -> str:
        text = {"lost": "lost", "reconnecting": f"opening it again, attempt {self.attempt}", "back": "back"}
        return f"{self.source}: {text[self.event]} ({self.reason})"


class Reader(Frames):
    """Frames of a capture, which is opened again when it is lost."""

    def __init__(
        self,
        open_capture: Callable[[], Capture],
        name: str,
        *,
        live: bool,
        counted: bool | None = None,
        status: Callable[[Status], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        """Open the capture.

        Args:
            open_capture: opens it, now and after each loss.
            name: the source's name.
            live: it has no end by itself; one that knows how many frames it has ends all the same.
            counted: of a film on disk: whether its number of frames is certain. Frames that fail are then passed over.
            status: is told when a live source is lost, before each attempt to open it again, and when it is back, in
                the thread that reads. What it raises ends the iteration.
            clock: seconds, for the timestamps of a live source and the time that it was lost.
            pause: waits for an event, so many seconds at most, and tells whether it came.

        Raises:
            SourceError: it does not open. Once it was open, a live source is tried again until ``stop``.
        """
        self._open, self._name, self._status = open_capture, name, status
        self._clock, self._pause = clock, pause
        self._capture: Capture | None = open_capture()
        self.fps, self.total = self._capture.fps, self._capture.total
        self.live = live and self.total is None
        self._counted = counted
        self._reconnects = self._index = self._count = 0
        self._shortfall: Shortfall | None = None
        self._arrivals: deque[float] = deque(maxlen=RECENT)
        self._stop = threading.Event()

    def __next__(self) -> Frame:
        image, reason = self._read()
        if image is None and self._counted is not None and self.total is not None:
            image = self._behind_a_gap(self.total)
        if image is None and self._count == 0 and not self._stop.is_set():
            self.close()
            raise SourceError(f"{self._name} opened but gave no frame that decodes")
        if image is None and self.live:
            image = self._reconnect(reason)
        if image is None or self._capture is None:
            self.close()
            raise StopIteration
        timestamp = self._clock() if self.live else self._capture.position()
        if self.live:
            self._arrivals.append(timestamp)
        self._index += 1
        self._count += 1
        return Frame(image, self._name, self._index - 1, timestamp)

    @property
    def rate(self) -> float | None:
        arrivals = list(self._arrivals)
        passed = arrivals[-1] - arrivals[0] if len(arrivals) == RECENT else 0.0
        return (RECENT - 1) / passed if passed > 0 else self.fps

    @property
    def reconnects(self) -> int:
        return self._reconnects

    @property
    def shortfall(self) -> Shortfall | None:
        return self._shortfall

    def stop(self) -> None:
        """End the iteration, also a wait between two attempts; a read under way goes on to its end."""
        self._stop.set()

    def close(self) -> None:
        """Free the device; not while another thread iterates. Calling it twice does no harm."""
        self._stop.set()
        self._release()

    def _read(self) -> tuple[Image | None, str]:
        """The next frame, or None and why."""
        if self._capture is None or self._stop.is_set():
            return None, "closed"
        try:
            return self._capture.read(), "it gave no more frames"
        except SourceError as error:
            if not self.live and self._counted is None:
                raise
            return None, self._reason(error)

    def _behind_a_gap(self, total: int) -> Image | None:
        """The next frame of a film behind those that fail, each of which has its place; None at the film's end."""
        for failed in range(1, min(total - self._index, LONGEST_GAP)):
            image, _ = self._read()
            if image is not None:
                self._index += failed
                return image
        if not self._stop.is_set():
            slack = 0 if self._counted else 2 + ESTIMATE_SLACK * total
            if total - self._count > slack:
                self._shortfall = Shortfall(self._count, total, bool(self._counted))
        return None

    def _reconnect(self, cause: str) -> Image | None:
        """The first frame after a loss; None when ``stop`` came first."""
        reason = cause
        lost, attempt, wait = self._clock(), 0, FIRST_WAIT
        self._tell("lost", reason)
        self._release()  # takes its time where the other side does not answer
        while not self._pause(self._stop, wait):
            attempt, wait = attempt + 1, min(2 * wait, LONGEST_WAIT)
            self._tell("reconnecting", reason, attempt)
            try:
                self._capture = self._open()
            except SourceError as error:
                reason = self._reason(error)
                continue
            image, why = self._read()
            if image is not None:
                self._reconnects += 1
                self._index += max(1, round((self._clock() - lost) * (self.rate or 1)))
                self._arrivals.clear()
                self._tell("back", cause, attempt)
                return image
            reason = why
            self._release()
        return None

    def _release(self) -> None:
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()

    def _reason(self, error: SourceError) -> str:
        return str(error).removeprefix(self._name).lstrip(": ")

    def _tell(self, event: Literal["lost", "reconnecting", "back"], reason: str, attempt: int = 0) -> None:
        if self._status is not None:
            self._status(Status(event, self._name, reason, attempt))
