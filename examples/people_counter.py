"""Count people who cross a line, and who is in a zone.

    python examples/people_counter.py BUNDLE SOURCE [--line 0,0.5,1,0.5] [--zone 0.1,0.6,0.9,0.6,0.9,1,0.1,1]
                                      [--name person] [--confidence 0.25] [--serve 8080]

Places are fractions of the picture, x then y. Walking along the line, from its first point to its second, "in" is from
your left to your right: the line above, from the left edge to the right, counts those who come down the picture as in.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from edge_yolov9 import one_line_errors

with one_line_errors():  # a package that does not load is one line too
    import cv2
    import numpy as np
    from counting import LineCounter, Point, ZoneCounter

    from edge_yolov9 import Detector, InputError, MjpegServer

YELLOW, GREEN = (0, 220, 255), (80, 220, 80)


def points(text: str) -> list[Point]:
    """``x,y,x,y,...`` -> corners."""
    values = [float(part) for part in text.split(",")]
    if len(values) % 2 or len(values) < 4:
        raise argparse.ArgumentTypeError("expected x,y,x,y,... with at least two points")
    return list(zip(values[::2], values[1::2], strict=True))


class Counter:
    """The line and the zone of one picture size."""

    def __init__(self, line: list[Point], zone: list[Point] | None, height: int, width: int) -> None:
        (start, end), corners = (self._pixels(part, width, height) for part in (line[:2], zone or []))
        self.line = LineCounter(start, end, margin=max(2, height / 100))
        self.zone = ZoneCounter(corners) if corners else None

    @staticmethod
    def _pixels(places: list[Point], width: int, height: int) -> list[Point]:
        return [(x * width, y * height) for x, y in places]

    def update(self, detections: Any, seconds: float) -> None:
        """Count one frame and say who crossed; ``seconds`` on the source's own clock."""
        for track, name, to_right in self.line.update(detections):
            print(f"{datetime.now():%H:%M:%S} {name} #{track} {'in' if to_right else 'out'}: {self}", flush=True)
        if self.zone is not None:
            self.zone.update(detections, seconds)

    def __str__(self) -> str:
        text = f"{self.line.to_right.total()} in, {self.line.to_left.total()} out"
        return text if self.zone is None else f"{text}, {len(self.zone.since)} in the zone, {self.zone.entered} entered"

    def draw(self, picture: Any) -> None:
        """Line, zone and numbers onto an annotated frame."""
        shapes = [([self.line.start, self.line.end], YELLOW)]
        if self.zone is not None:
            shapes.append((list(self.zone.corners), GREEN))
        for corners, colour in shapes:
            cv2.polylines(picture, [np.array(corners, np.int32)], True, colour, 2, cv2.LINE_AA)
        scale = max(0.5, picture.shape[1] / 1200)
        cv2.putText(picture, str(self), (8, round(40 * scale)), cv2.FONT_HERSHEY_SIMPLEX, scale, YELLOW, 2, cv2.LINE_AA)


def main() -> None:
    """Read the command line and count until the source ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("source")
    parser.add_argument("--line", type=points, default=[(0.0, 0.5), (1.0, 0.5)], metavar="X,Y,X,Y")
    parser.add_argument("--zone", type=points, metavar="X,Y,X,Y,X,Y,...")
    parser.add_argument("--name", default="person", help="class to count")
    parser.add_argument("--confidence", type=float, help="least score of a new object; the bundle's when left out")
    parser.add_argument("--serve", type=int, metavar="PORT", help="show it in the browser on this machine")
    options = parser.parse_args()
    counter = None
    with ExitStack() as stack:
        detect = stack.enter_context(Detector(options.bundle, confidence=options.confidence))
        if options.name not in detect.names:
            raise InputError(f"the model knows no {options.name!r}; --name takes one of {', '.join(detect.names)}")
        server = None if options.serve is None else stack.enter_context(MjpegServer(options.serve))
        if server is not None:
            print(f"open {server.url}", flush=True)
        stream = stack.enter_context(detect.stream(options.source, track=True))
        for frame, detections in stream:
            assert stream.frame is not None  # what was just delivered
            counter = counter or Counter(options.line, options.zone, *frame.shape[:2])
            detections = detections.select(detections.class_id == detect.names.index(options.name))
            counter.update(detections, stream.frame.timestamp)
            if server is not None:
                picture = detections.draw(frame)
                counter.draw(picture)
                server.show(picture)
    print(f"total: {counter or 'no frame'}")


if __name__ == "__main__":
    with one_line_errors():
        main()
