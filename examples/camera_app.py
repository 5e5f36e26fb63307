"""A camera and what is in it, in a window, or headless with a line per second.

    python examples/camera_app.py BUNDLE SOURCE [--headless] [--track] [--frames N]

SOURCE: 0, /dev/video2, rtsp://..., a GStreamer pipeline, a video, a folder. Keys: q or Esc ends, space pauses, b hides
the boxes, + and - move the least score that is shown, s saves the picture as it is on the screen.
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from edge_yolov9 import one_line_errors

with one_line_errors():  # a package that does not load is one line too
    import cv2

    from edge_yolov9 import Detector, Window


class Meter:
    """Speed and age of the last second or so."""

    def __init__(self) -> None:
        self.frames = 0
        self._finished: deque[float] = deque(maxlen=30)
        self._text = ""

    def add(self, detections: Any, dropped: int) -> str:
        """Take the next result; what to write on the picture."""
        self.frames += 1
        self._finished.append(detections.finished)
        span = self._finished[-1] - self._finished[0]
        rate = f"{(len(self._finished) - 1) / span:.1f} fps" if span > 0 else "- fps"
        work, age = (1000 * (detections.finished - since) for since in (detections.started, detections.captured))
        self._text = f"{rate}, {work:.0f} ms, age {age:.0f} ms, {dropped} dropped, {len(detections)} objects"
        return self._text


def write_on(picture: Any, text: str) -> None:
    """White on black in the upper left corner, as large as the picture allows."""
    scale = max(0.4, picture.shape[1] / 1600)
    for colour, width in (((0, 0, 0), round(6 * scale) + 2), ((255, 255, 255), max(1, round(2 * scale)))):
        cv2.putText(picture, text, (8, round(32 * scale)), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, width, cv2.LINE_AA)


def save(picture: Any) -> None:
    """Write a snapshot into the current folder."""
    path = f"{datetime.now():%Y%m%d-%H%M%S-%f}.jpg"
    print(f"saved {path}" if cv2.imwrite(path, picture) else f"cannot write {path}", flush=True)


class Screen:
    """The window and what the keys have set."""

    def __init__(self, window: Window, least: float) -> None:
        self._window, self._least, self._boxes = window, least, True

    def show(self, frame: Any, detections: Any, text: str) -> bool:
        """Show one result and obey a key; False once the user wants to end."""
        detections = detections.select(detections.confidence >= self._least)
        picture = detections.draw(frame) if self._boxes else frame.copy()
        write_on(picture, text)
        key = self._window.show(picture)
        while key == " ":  # until the next key; a live source goes on, and its old frames are dropped
            key = self._window.show(picture, wait=True)
        if key == "b":
            self._boxes = not self._boxes
        elif key in ("+", "-"):
            self._least = min(0.95, max(0.05, self._least + (0.05 if key == "+" else -0.05)))
        elif key == "s":
            save(picture)
        return key != "q"


def main() -> None:
    """Read the command line and run until the source or the user ends it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("source")
    parser.add_argument("--headless", action="store_true", help="no window; a line per second instead")
    parser.add_argument("--track", action="store_true", help="ids that stay with the objects")
    parser.add_argument("--frames", type=int, help="end after so many")
    options = parser.parse_args()
    meter, spoken = Meter(), 0.0
    with ExitStack() as stack:
        window = None if options.headless else stack.enter_context(Window("camera (q ends)"))
        detect = stack.enter_context(Detector(options.bundle))
        screen = None if window is None else Screen(window, detect.options.confidence)
        stream = stack.enter_context(
            detect.stream(options.source, track=options.track, status=lambda news: print(news, flush=True))
        )
        for frame, detections in stream:
            text = meter.add(detections, stream.dropped)
            if screen is None and time.monotonic() - spoken >= 1:
                print(text, flush=True)
                spoken = time.monotonic()
            if (screen is not None and not screen.show(frame, detections, text)) or meter.frames == options.frames:
                break
    print(f"{meter.frames} frames")


if __name__ == "__main__":
    with one_line_errors():
        main()
