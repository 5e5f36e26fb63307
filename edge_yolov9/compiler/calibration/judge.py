"""Whether calibration images show anything: what the float model finds on them, and how far its outputs reach."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.decode import DecodeOptions, Decoder
from edge_yolov9.registry import Session

JUDGED, SCORED = 32, 16
"""Images that are looked at, at most, spread over all: of those that calibrate, and that are scored."""
FEW_BOXES = 20
"""Boxes of the float model on all images, under which at least half of the images must show one."""
LEAST_IMAGES = 2
BEYOND = 0.05
"""Share of a tensor's values on images that are scored, beyond all that it has on calibration images, that is none of
chance."""


@dataclass(frozen=True)
class Shown:
    """What the float model makes of some images."""

    images: int
    showing: int
    """Images on which it finds a box at the thresholds of a Detector."""
    boxes: int
    ranges: tuple[tuple[float, float], ...]
    """Least and largest value of each raw tensor."""

    @property
    def nothing(self) -> str:
        """Why INT8 ranges of these images are of no use; empty where they are."""
        if self.images < LEAST_IMAGES:
            return "there is only one image, copies left out"
        if self.boxes < FEW_BOXES and 2 * self.showing < self.images:
            return f"the float model finds {self.boxes} boxes on {self.showing} of {self.images} images"
        return ""


def shown(model: Session, images: Iterable[NDArray[np.uint8]], input_size: tuple[int, int]) -> Shown:
    """Run the float model over letterboxed frames (height, width, 3) uint8 BGR."""
    decode = Decoder(input_size)
    count = showing = boxes = 0
    lows, highs = [], []
    for image in images:
        maps = model.infer(image)
        found = len(decode(maps, DecodeOptions())[0])
        count, boxes, showing = count + 1, boxes + found, showing + (found > 0)
        lows.append([float(one.min()) for one in maps])
        highs.append([float(one.max()) for one in maps])
    ranges = zip(np.min(lows, axis=0).tolist(), np.max(highs, axis=0).tolist(), strict=True)
    return Shown(count, showing, boxes, tuple(ranges))


def beyond(
    model: Session, images: Iterable[NDArray[np.uint8]], ranges: tuple[tuple[float, float], ...]
) -> tuple[float, ...]:
    """Share of each raw tensor's values on letterboxed frames that lie beyond its range, in [0, 1]."""
    outside, values = np.zeros(len(ranges)), np.zeros(len(ranges))
    for image in images:
        for place, (one, (low, high)) in enumerate(zip(model.infer(image), ranges, strict=True)):
            outside[place] += int(((one < low) | (one > high)).sum())
            values[place] += one.size
    return tuple((outside / values).tolist())
