"""Several cameras, one model: a thread per camera, a line per camera and second, and all pictures in the browser.

    python examples/multi_camera.py BUNDLE SOURCE SOURCE SOURCE SOURCE [--serve 8080]

The threads share one Detector: the model is in memory once and their frames take turns, so each camera gets its part of
the frames per second that the model can do, and its picture stays fresh: frames that come too fast are dropped.
"""

from __future__ import annotations

import argparse
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from edge_yolov9 import one_line_errors

with one_line_errors():  # a package that does not load is one line too
    import cv2
    import numpy as np

    from edge_yolov9 import Detector, EdgeYoloError, MjpegServer

TILE = (640, 360)
"""Width and height of one camera in the browser, pixels."""


class Camera:
    """One source in a thread of its own. The newest result is kept, nothing else."""

    def __init__(self, detect: Detector, source: str) -> None:
        self.stream = detect.stream(source, track=True, status=lambda news: print(news, flush=True))
        self.newest: tuple[Any, Any] | None = None
        self.error: EdgeYoloError | None = None
        self.thread = threading.Thread(target=self._run, name=self.stream.source.name, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            for result in self.stream:
                self.newest = result
        except EdgeYoloError as error:
            self.error = error

    def close(self) -> None:
        """End the stream, and with it the thread."""
        self.stream.close()
        self.thread.join()

    def __str__(self) -> str:
        name, state = self.stream.source.name, self.error or ("live" if self.thread.is_alive() else "ended")
        if self.newest is None:
            return f"{name}: {state}, no frame yet"
        detections = self.newest[1]
        age = 1000 * (detections.finished - detections.captured)
        seen = f"{self.stream.frames} frames, {self.stream.dropped} dropped, {len(detections)} objects"
        return f"{name}: {state}, {seen}, {age:.0f} ms old when found"


def tiles(cameras: list[Camera]) -> Any:
    """The newest pictures side by side, two in a row."""
    pictures = [np.full((TILE[1], TILE[0], 3), 40, np.uint8) for _ in range(len(cameras) + len(cameras) % 2)]
    for picture, camera in zip(pictures, cameras, strict=False):
        if camera.newest is not None:
            frame, detections = camera.newest
            cv2.resize(detections.draw(frame), TILE, dst=picture, interpolation=cv2.INTER_AREA)
    rows = [np.hstack(pictures[i : i + 2]) for i in range(0, len(pictures), 2)]
    return np.vstack(rows)


def watch(cameras: list[Camera], server: MjpegServer | None) -> None:
    """Report until every camera has ended."""
    spoken = time.monotonic()
    while any(camera.thread.is_alive() for camera in cameras):
        time.sleep(0.05)
        if server is not None:
            server.show(tiles(cameras))
        if time.monotonic() - spoken >= 1:
            spoken = time.monotonic()
            print(*cameras, sep="\n", flush=True)


def main() -> None:
    """Read the command line and run until the sources end, or until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--serve", type=int, metavar="PORT", help="show them in the browser on this machine")
    options = parser.parse_args()
    with ExitStack() as stack:
        detect = stack.enter_context(Detector(options.bundle))
        server = None if options.serve is None else stack.enter_context(MjpegServer(options.serve))
        if server is not None:
            print(f"open {server.url}", flush=True)
        cameras = []
        for source in options.sources:
            cameras.append(Camera(detect, source))
            stack.callback(cameras[-1].close)
        watch(cameras, server)
    print(*cameras, sep="\n")


if __name__ == "__main__":
    with one_line_errors():
        main()
