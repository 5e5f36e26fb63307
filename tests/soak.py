"""A camera application's months in short: calls, streams and lost cameras, again and again, in a process of its own.

    python -m tests.soak BUNDLE FRAMES

Prints one JSON object: resident memory (MB), threads and file handles of the process after every lap of 250 frames.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np

from edge_yolov9 import Detector
from edge_yolov9.images import read_image
from edge_yolov9.video import reader as live
from edge_yolov9.video.frames import Frame, Iterated
from edge_yolov9.video.latest import Latest
from edge_yolov9.video.reader import Reader
from edge_yolov9.video.source import Source
from tests.conftest import PICTURES

CALLS, STREAMED, LIVE = 100, 100, 50
LAP = CALLS + STREAMED + LIVE


class Camera:
    """Breaks after 20 frames."""

    fps: float | None = None
    total: int | None = None

    def __init__(self, pictures: Iterator[np.ndarray]) -> None:
        self._pictures = islice(pictures, 20)
        self._handle = Path(os.devnull).open("rb")  # noqa: SIM115  (one that has to be freed)

    def read(self) -> np.ndarray | None:
        picture = next(self._pictures, None)
        return None if picture is None else picture.copy()

    def position(self) -> float:
        return 0.0

    def release(self) -> None:
        self._handle.close()


def lap(detect: Detector, pictures: Iterator[np.ndarray]) -> None:
    """Calls, a stream with tracks, and a camera that is lost every 20 frames."""
    for picture in islice(pictures, CALLS):
        detect(picture)
    frames = (Frame(picture.copy(), "film", index, 0.0) for index, picture in enumerate(islice(pictures, STREAMED)))
    assert sum(1 for _ in detect.stream(Source("film", "video", Iterated(frames)), track=True)) == STREAMED
    reader = Reader(lambda: Camera(pictures), "camera", live=True)
    for _ in islice(detect.stream(Source("camera", "live", Latest(reader)), track=True), LIVE):
        pass
    assert reader.reconnects >= 1


def state(before: int | None = None) -> tuple[float, int, int]:
    """Resident MB, threads (also of the runtime), file handles. The kernel may take a moment to bury a thread."""
    if before is None:
        time.sleep(1)
    end = time.monotonic() + 5
    while before is not None and time.monotonic() < end and len(os.listdir("/proc/self/task")) > before:  # noqa: PTH208
        time.sleep(0.01)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    threads, handles = (len(os.listdir(f"/proc/self/{part}")) for part in ("task", "fd"))  # noqa: PTH208
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, threads, handles


def main(bundle: str, frames: str) -> None:
    """Go round and print."""
    # small ones: how many frames wait in a stream when it ends is chance, and malloc keeps their memory
    pictures = cycle([cv2.resize(read_image(file), (320, 240)) for file in sorted(PICTURES.iterdir())[:7]])
    rows: list[tuple[float, int, int]] = []
    live.FIRST_WAIT = live.LONGEST_WAIT = 0.001
    with Detector(bundle) as detect:
        for _ in range(int(frames) // LAP):
            lap(detect, pictures)
            rows.append(state(rows[0][1] if rows else None))
    print(json.dumps(dict(zip(("memory", "threads", "handles"), zip(*rows, strict=True), strict=True))))


if __name__ == "__main__":
    main(*sys.argv[1:])
