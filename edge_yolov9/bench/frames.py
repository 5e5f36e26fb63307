"""What a detector does with a frame, in steps that can be timed, and the frames it is timed with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_yolov9.bundle import Bundle
from edge_yolov9.decode import DecodeOptions
from edge_yolov9.detections import Detections
from edge_yolov9.errors import SourceError
from edge_yolov9.geometry import Letterbox
from edge_yolov9.lane import Lane, Postprocess
from edge_yolov9.registry import Session

Image = NDArray[np.uint8]
Encoded = Sequence[NDArray[np.uint8]]
"""Image files in memory, each (bytes,)."""


class Pipeline:
    """A :class:`edge_yolov9.Detector`'s way from frame to detections, in the steps of its :class:`Lane`."""

    def __init__(self, bundle: Bundle, session: Session) -> None:
        lane = Lane(session, Postprocess.of(bundle.manifest))
        self._lane = lane
        self._options = DecodeOptions.of(bundle.manifest.thresholds)
        self.place, self.infer, self.bare, self.close = lane.place, lane.infer, lane.bare, lane.close

    def finish(self, raw: Sequence[NDArray[Any]], placed: Letterbox) -> Detections:
        """Raw maps to detections in pixels of the frame."""
        return self._lane.finish(raw, placed, self._options)

    def __call__(self, frame: Image) -> Detections:
        """Frame to detections."""
        return self._lane.detect(frame, self._options)


def pictures(files: Sequence[Path]) -> list[NDArray[np.uint8]]:
    """Encoded frames, each (bytes,) uint8: the files, or one made-up 1280 x 720 JPEG where there is none.

    Raises:
        SourceError: a file is missing or does not decode.
    """
    if not files:
        blobs = np.random.default_rng(0).integers(0, 256, (9, 16, 3), np.uint8)
        frame = cv2.resize(blobs, (1280, 720), interpolation=cv2.INTER_CUBIC)
        return [np.asarray(cv2.imencode(".jpg", frame, (cv2.IMWRITE_JPEG_QUALITY, 90))[1], np.uint8).ravel()]
    encoded = []
    for file in files:
        try:
            encoded.append(np.frombuffer(file.read_bytes(), np.uint8))
        except OSError as error:
            raise SourceError(f"cannot read image {file}: {error.strerror or error}") from None
        if not len(encoded[-1]) or cv2.imdecode(encoded[-1], cv2.IMREAD_COLOR) is None:
            raise SourceError(f"{file} does not decode as an image; expected JPEG, PNG, BMP, WebP or TIFF")
    return encoded


@dataclass(frozen=True)
class Frames:
    """What latency was measured with: how many pictures in turn, and the sizes (width, height) among them, pixels."""

    pictures: int
    sizes: tuple[tuple[int, int], ...]


def describe(encoded: Encoded) -> Frames:
    """Number and sizes of the pictures."""
    shapes = {decoded(item).shape for item in encoded}
    return Frames(len(encoded), tuple(sorted((shape[1], shape[0]) for shape in shapes)))


def decoded(encoded: NDArray[np.uint8]) -> Image:
    """(bytes,) to (H, W, 3) BGR."""
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
