"""Letterbox and its inverse, and box formats. One letterbox serves validation, calibration and the device.

Boxes: ``xyxy`` is (x1, y1, x2, y2) and ``xywh`` is (x, y, width, height) with the corner, both in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_yolov9.errors import InputError

PAD_VALUE = 114
"""Grey of the letterbox border, on all three channels."""

Image = NDArray[np.uint8]
Boxes = NDArray[np.float32]


@dataclass(frozen=True)
class Letterbox:
    """How a frame lies inside the network's input: scaled by (``scale_x``, ``scale_y``), moved by (``left``, ``top``).

    The two scales are equal but for the rounding of the resized size to whole pixels.
    """

    frame_size: tuple[int, int]
    """(height, width) of the frame, pixels."""
    input_size: tuple[int, int]
    """(height, width) of the network's input, pixels."""
    resized: tuple[int, int]
    """(height, width) of the frame inside the input, pixels."""
    left: int
    top: int

    @classmethod
    def fit(cls, frame_size: tuple[int, int], input_size: tuple[int, int]) -> Letterbox:
        """The largest centred placement that keeps the aspect ratio; small frames are enlarged too."""
        (h, w), (height, width) = frame_size, input_size
        if h < 1 or w < 1:
            raise InputError(f"a frame must have at least one pixel, got {w} x {h}")
        scale = min(height / h, width / w)
        new_h, new_w = max(1, min(height, round(h * scale))), max(1, min(width, round(w * scale)))
        return cls(frame_size, input_size, (new_h, new_w), (width - new_w) // 2, (height - new_h) // 2)

    def apply(self, frame: Image, out: Image | None = None) -> Image:
        """Draw ``frame`` (H, W, 3) into the input (height, width, 3); ``out`` is reused when given."""
        (height, width), (h, w) = self.input_size, self.resized
        if out is None:
            out = np.full((height, width, 3), PAD_VALUE, np.uint8)
        inner = out[self.top : self.top + h, self.left : self.left + w]
        if frame.shape[:2] == self.resized:
            inner[:] = frame
        else:
            shrinks = h * w < frame.shape[0] * frame.shape[1]
            cv2.resize(frame, (w, h), dst=inner, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        out[: self.top] = PAD_VALUE
        out[self.top + h :] = PAD_VALUE
        out[:, : self.left] = PAD_VALUE
        out[:, self.left + w :] = PAD_VALUE
        return out

    def to_frame(self, xyxy: Boxes) -> Boxes:
        """Boxes (N, 4) in input pixels -> boxes in frame pixels, clipped to the frame."""
        (h, w), (new_h, new_w) = self.frame_size, self.resized
        offset = np.array([self.left, self.top, self.left, self.top], np.float32)
        scale = np.array([w / new_w, h / new_h, w / new_w, h / new_h], np.float32)
        limit = np.array([w, h, w, h], np.float32)
        return np.asarray(np.clip((xyxy - offset) * scale, 0, limit), np.float32)


def letterbox(frame: Image, input_size: tuple[int, int]) -> tuple[Image, Letterbox]:
    """``frame`` (H, W, 3) placed in an input of ``input_size`` (height, width), and the placement."""
    box = Letterbox.fit((frame.shape[0], frame.shape[1]), input_size)
    return box.apply(frame), box


def planes(image: Image) -> NDArray[np.float32]:
    """A letterboxed frame (height, width, 3) uint8 BGR as the network takes it: (1, 3, height, width) RGB in [0, 1]."""
    result = np.empty((1, 3, *image.shape[:2]), np.float32)
    for plane, channel in zip(result[0, ::-1], cv2.split(image), strict=True):
        np.divide(channel, np.float32(255), out=plane, dtype=np.float32)
    return result


def iou_matrix(a: Boxes, b: Boxes) -> Boxes:
    """Intersection over union (N, M) of boxes ``a`` (N, 4) and ``b`` (M, 4), xyxy."""
    corner = np.maximum(a[:, None, :2], b[None, :, :2])
    size = np.clip(np.minimum(a[:, None, 2:], b[None, :, 2:]) - corner, 0, None)
    overlap = size.prod(axis=2)
    area_a, area_b = (np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (a, b))
    union = area_a[:, None] + area_b[None] - overlap
    return np.asarray(overlap / np.maximum(union, 1e-9), np.float32)
