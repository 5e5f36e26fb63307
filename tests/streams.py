"""What stands in for a runtime and for sources in the tests of streams."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_yolov9 import Detections, Detector, registry
from edge_yolov9.bundle import Bundle, InputRule, Manifest, TensorSpec
from edge_yolov9.errors import SourceError
from edge_yolov9.video.capture import Capture
from edge_yolov9.video.source import Frame, Source

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

    def __init__(self, items: Iterator[Any], kind: str = "video", **more: Any) -> None:
        self.read, self.closed = 0, threading.Event()
        super().__init__("test", kind, items, close=self.closed.set, **more)

    def __next__(self) -> Frame:
        frame = super().__next__()
        self.read += 1
        return frame


def paced(fps: float) -> Iterator[Frame]:
    """A camera: frame n arrives n periods after the first."""
    first = time.monotonic()
    for index in count():
        time.sleep(max(0.0, first + index / fps - time.monotonic()))
        yield Frame(np.full((48, 64, 3), index % 250, np.uint8), "camera", index, time.monotonic())


@contextmanager
def detectors(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Detector]]:
    """``make(seconds, lanes, **options)`` gives one whose sessions take ``seconds()`` per frame; leaves no thread."""
    made: list[Detector] = []

    def make(seconds: Callable[[], float] = lambda: 0.0, lanes: int = 3, **options: Any) -> Detector:
        monkeypatch.setattr("edge_yolov9.registry.cores", lambda: lanes)
        monkeypatch.setattr("edge_yolov9.detector.open_session", lambda *_: Session(seconds))
        sessions = "edge_yolov9.detector.open_sessions"
        monkeypatch.setattr(sessions, lambda bundle, runtime, threads, count: [Session(seconds) for _ in range(count)])
        made.append(Detector(Bundle(Path("nowhere"), MANIFEST), confidence=0.3, **options))
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
