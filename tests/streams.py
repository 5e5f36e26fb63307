"""What stands in for a runtime and for sources in the tests of streams."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest

from edge_yolov9 import Detections, Detector, registry
from edge_yolov9.bundle import Bundle, InputRule, Manifest, TensorSpec
from edge_yolov9.errors import SourceError
from edge_yolov9.video.capture import Capture
from edge_yolov9.video.frames import Frame, Frames, Iterated
from edge_yolov9.video.source import Source

SIZE = 64
OUTPUTS = tuple(
    TensorSpec(f"{kind}_p{level}", (1, channels, SIZE >> level, SIZE >> level), "float32", "NCHW")
    for level in (3, 4, 5)
    for kind, channels in (("box", 64), ("class", 2))
)
INPUT = InputRule(TensorSpec("images", (1, 3, SIZE, SIZE), "float32", "NCHW"), SIZE, SIZE)
MANIFEST = Manifest("gelan-t", ("thing", "other"), "onnx", "cpu", "fp32", INPUT, OUTPUTS, "model.onnx")


needs_gstreamer = pytest.mark.skipif(
    shutil.which("gst-launch-1.0") is None, reason="needs gst-launch-1.0 (Debian: gstreamer1.0-tools)"
)


class Gate:
    """``seconds`` of a :class:`Session` whose inference ends when the test says so."""

    def __init__(self) -> None:
        self._begun: SimpleQueue[None] = SimpleQueue()
        self._ending: SimpleQueue[None] = SimpleQueue()

    def __call__(self) -> float:
        self._begun.put(None)
        self._ending.get(timeout=10)
        return 0.0

    def await_begin(self) -> None:
        """Wait until an inference has begun."""
        self._begun.get(timeout=10)

    def end(self) -> None:
        """Let the inference come to its end."""
        self._ending.put(None)


class Session(registry.Session):
    """Sees one object, whose score tells the brightness of the frame; 255 is answered with NaN."""

    def __init__(self, seconds: Callable[[], float] = lambda: 0.0) -> None:
        self.seconds = seconds
        self.busy = self.closed = False

    def infer(self, image: np.ndarray) -> list[np.ndarray]:
        assert not self.busy, "two threads in one session"
        assert not self.closed
        self.busy = True
        time.sleep(self.seconds())
        raw = [np.full((spec.shape[1], spec.shape[2] * spec.shape[3]), -9.0, np.float32) for spec in OUTPUTS]
        value = int(image[SIZE // 2, SIZE // 2, 0])
        raw[1][0, 9] = np.nan if value == 255 else value / 50
        self.busy = False
        return raw

    def bare(self) -> None: ...

    def close(self) -> None:
        assert not self.busy
        self.closed = True


def value(found: Detections) -> int:
    """The brightness that :class:`Session` saw."""
    (score,) = found.confidence.astype(np.float64)
    return round(50 * float(np.log(score / (1 - score))))


def frames(number: int, start: int = 0) -> Iterator[Frame]:
    for index in range(number):
        yield Frame(np.full((48, 64, 3), start + index, np.uint8), "f", index, index / 10)


class Opened(Source):
    """A source that knows how many frames were read and whether it was closed."""

    def __init__(self, frames: Frames | Iterator[Frame], kind: str = "video", fps: float | None = None) -> None:
        self.read, self.closed, self._changed = 0, threading.Event(), threading.Condition()
        super().__init__("test", kind, frames if isinstance(frames, Frames) else Iterated(frames, fps=fps))

    def __next__(self) -> Frame:
        frame = super().__next__()
        with self._changed:
            self.read += 1
            self._changed.notify_all()
        return frame

    def close(self) -> None:
        super().close()
        self.closed.set()

    def wait_read(self, number: int) -> None:
        """Wait until ``number`` frames have been read."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.read >= number, timeout=10)


class Newest(Iterated):
    """Frames of which only the newest counts, given when they are asked for: it has no thread."""

    @property
    def newest_only(self) -> bool:
        return True


class Camera(Frames):
    """Gives a frame to a :class:`edge_yolov9.video.latest.Latest` when the test says so."""

    def __init__(self, fps: float | None = None) -> None:
        self.fps = fps
        self._given: SimpleQueue[Frame | None] = SimpleQueue()
        self._asked: SimpleQueue[None] = SimpleQueue()

    def __next__(self) -> Frame:
        self._asked.put(None)
        frame = self._given.get()
        if frame is None:
            raise StopIteration
        return frame

    def give(self, frame: Frame) -> None:
        """Hand over a frame; returns when whoever reads has put it away and waits for the next."""
        self._asked.get(timeout=10)
        self._given.put(frame)
        self._asked.get(timeout=10)
        self._asked.put(None)

    def stop(self) -> None:
        self._given.put(None)


def detector_of(
    monkeypatch: pytest.MonkeyPatch, seconds: Callable[[], float] = lambda: 0.0, lanes: int = 3, **options: Any
) -> tuple[Detector, list[Session]]:
    """A detector whose sessions take ``seconds()`` per frame, and the sessions, as it opens them."""
    opened: list[Session] = []

    def open_sessions(_bundle: object, _runtime: object, _threads: object, number: int = 1) -> list[Session]:
        opened.extend(Session(seconds) for _ in range(number))
        return opened[-number:]

    monkeypatch.setattr("edge_yolov9.registry.cores", lambda: lanes)
    monkeypatch.setattr("edge_yolov9.detector.open_session", lambda *how: open_sessions(*how)[0])
    monkeypatch.setattr("edge_yolov9.detector.open_sessions", open_sessions)
    return Detector(Bundle(Path("nowhere"), MANIFEST), confidence=0.3, **options), opened


@contextmanager
def detectors(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Detector]]:
    """``make(seconds, lanes, **options)`` gives a detector as :func:`detector_of` does; leaves no thread."""
    made: list[Detector] = []

    def make(*how: Any, **options: Any) -> Detector:
        made.append(detector_of(monkeypatch, *how, **options)[0])
        return made[-1]

    before = threading.active_count()
    yield make
    for detect in made:
        detect.close()
    assert threading.active_count() == before


class Plug:
    """A camera that is unplugged after each of ``lives`` frames; in between ``refusals`` attempts to open it fail."""

    def __init__(self, lives: list[int], refusals: int = 0) -> None:
        self.lives, self.refusals = lives, refusals
        self.opened = self.released = self.refused = 0

    def __call__(self) -> Capture:
        if self.opened and self.refused < self.refusals:
            self.refused += 1
            raise SourceError("cam does not open; check that it is connected")
        self.refused = 0
        self.opened += 1
        return Plugged(self, self.lives.pop(0) if self.lives else 0)


class Plugged:
    fps: float | None = 100.0
    total: int | None = None

    def __init__(self, plug: Plug, left: int) -> None:
        self.plug, self.left = plug, left
        self.gone = False

    def read(self) -> np.ndarray | None:
        assert not self.gone
        self.left -= 1
        return None if self.left < 0 else np.zeros((2, 2, 3), np.uint8)

    def position(self) -> float:
        return 0.0

    def release(self) -> None:
        assert not self.gone
        self.gone = True
        self.plug.released += 1
