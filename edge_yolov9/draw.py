"""Boxes with labels drawn onto a frame (numpy, cv2)."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_yolov9.errors import InputError
from edge_yolov9.geometry import Image
from edge_yolov9.letters import coverage

Colour = tuple[int, int, int]
"""B, G, R in 0 to 255."""

FONT = cv2.FONT_HERSHEY_SIMPLEX
LETTER_HEIGHT = 13
"""Pixels of a font that is as large as OpenCV's letters in a frame of 1000 pixels, width and height together."""
GOLDEN = 0.618034


def class_colour(index: int) -> Colour:
    """One colour per class: hues far apart for neighbouring indices, three brightnesses in turn."""
    red, green, blue = colorsys.hsv_to_rgb((0.02 + index * GOLDEN) % 1, 0.85, (1.0, 0.8, 0.6)[index // 8 % 3])
    return round(255 * blue), round(255 * green), round(255 * red)


def class_colours(classes: Iterable[int]) -> list[Colour]:
    """The colour of each class of ``classes``."""
    return [class_colour(int(index)) for index in classes]


def boxes(frame: Image, xyxy: NDArray[np.float32], labels: Sequence[str], colours: Sequence[Colour]) -> Image:
    """Draw boxes and their labels, the first on top; widths of lines and letters follow the frame's size.

    Args:
        frame: (H, W, 3) uint8 BGR; it stays as it is.
        xyxy: (N, 4) corners x1, y1, x2, y2 in pixels of the frame.
        labels: N texts.
        colours: N colours.

    Returns:
        A copy of the frame with the boxes.

    Raises:
        InputError: the frame is of another type.
    """
    if getattr(frame, "dtype", None) != np.uint8:
        raise InputError(f"expected a uint8 frame to draw on, got {getattr(frame, 'dtype', type(frame).__name__)}")
    canvas = frame.copy(order="C")
    unit = max(1.0, (frame.shape[0] + frame.shape[1]) / 1000)
    line = round(1.5 * unit)
    corners = [[round(float(value)) for value in box] for box in xyxy]
    drawn = list(zip(corners, labels, colours, strict=True))[::-1]
    for (x1, y1, x2, y2), _, colour in drawn:
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, line, cv2.LINE_AA)
    for (x1, y1, _, _), label, colour in drawn:
        _label(canvas, label, (x1, y1), colour, unit)
    return canvas


def _label(canvas: Image, text: str, corner: tuple[int, int], colour: Colour, unit: float) -> None:
    """Text on a filled background above the box's corner (x, y), moved inside the frame where it would leave it."""
    size, weight, pad = 0.42 * unit, max(1, round(unit)), round(2 * unit)
    letters = None if text.isascii() else coverage(text, max(8, round(LETTER_HEIGHT * unit)))
    if letters is None:
        text = text.encode("ascii", "replace").decode()  # OpenCV's fonts have nothing else
        (width, height), below = cv2.getTextSize(text, FONT, size, weight)
    else:
        (height, width), below = letters.shape, 0
    full = height + below + 2 * pad
    left = max(0, min(corner[0], canvas.shape[1] - width - 2 * pad))
    top = corner[1] - full if corner[1] >= full else max(0, min(corner[1], canvas.shape[0] - full))
    cv2.rectangle(canvas, (left, top), (left + width + 2 * pad, top + full), colour, cv2.FILLED)
    bright = 0.114 * colour[0] + 0.587 * colour[1] + 0.299 * colour[2] > 130
    ink = (0, 0, 0) if bright else (255, 255, 255)
    if letters is not None:
        place = canvas[top + pad : top + pad + height, left + pad : left + pad + width]
        share = letters[: place.shape[0], : place.shape[1], None] / np.float32(255)
        place[:] = np.round(place * (1 - share) + np.array(ink, np.float32) * share)
        return
    cv2.putText(canvas, text, (left + pad, top + pad + height), FONT, size, ink, weight, cv2.LINE_AA)
