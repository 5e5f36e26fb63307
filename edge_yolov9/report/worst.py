"""The images that a detector does worst on, with what is there beside what it detects (numpy, cv2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from edge_yolov9.data import ImageRecord
from edge_yolov9.detections import Detections
from edge_yolov9.draw import FONT, boxes, class_colours
from edge_yolov9.errors import EdgeYoloError
from edge_yolov9.geometry import Image
from edge_yolov9.images import read_image
from edge_yolov9.scoring.confusion import match

SHOWN = 6
"""Images in all."""
ROWS = 3
"""Images of a contact sheet: as many as are still to be recognized on a printed page."""
IOU = 0.5
"""Least overlap of an object that counts as detected."""
PANEL = 440
"""Longer side of a picture on the sheet, pixels."""
BAR = 26
INK = (40, 40, 40)


@dataclass(frozen=True)
class Mistakes:
    """One image at the bundle's own thresholds; crowd regions are left out."""

    image: str
    right: int
    missed: int
    wrong_class: int
    nothing_there: int
    """Boxes where no object is."""
    f1: float
    """2 right / (objects + boxes)."""

    def __str__(self) -> str:
        counts = ((self.right, "right"), (self.missed, "missed"), (self.wrong_class, "of a wrong class"))
        text = ", ".join(f"{count} {what}" for count, what in counts if count or what == "right")
        return f"{text}, {self.nothing_there} where nothing is" if self.nothing_there else text


def count_mistakes(key: str, detections: Detections, record: ImageRecord) -> Mistakes:
    """Mistakes of one image, named ``key``."""
    boxes, classes = record.xyxy[~record.iscrowd], record.class_id[~record.iscrowd]
    pairs = match(detections.xyxy, boxes, IOU)
    right = sum(int(detections.class_id[row] == classes[column]) for row, column in pairs)
    f1 = round(2 * right / max(1, len(boxes) + len(detections)), 4)
    return Mistakes(key, right, len(boxes) - len(pairs), len(pairs) - right, len(detections) - len(pairs), f1)


def rank(detections: Mapping[str, Detections], truth: Mapping[str, ImageRecord]) -> list[Mistakes]:
    """The worst ``SHOWN`` images that hold a mistake, lowest F1 first, then the most mistakes."""
    counted = [count_mistakes(key, detections[key], record) for key, record in truth.items()]
    wrong = [image for image in counted if image.missed + image.wrong_class + image.nothing_there]
    return sorted(wrong, key=_badness)[:SHOWN]


def _badness(image: Mistakes) -> tuple[float, int]:
    """Grows with F1 (unrounded), then with fewer mistakes."""
    wrong = image.missed + image.wrong_class + image.nothing_there
    return image.right / (2 * image.right + wrong + image.wrong_class), -wrong


def sheets(
    worst: list[Mistakes], detections: Mapping[str, Detections], truth: Mapping[str, ImageRecord]
) -> list[bytes]:
    """JPEGs of ``ROWS`` images each: what is there on the left, what was detected on the right.

    Raises:
        SourceError: an image is not there any more.
    """
    rows = [_row(m, read_image(truth[m.image].path), truth[m.image], detections[m.image]) for m in worst]
    return [_stacked(rows[first : first + ROWS]) for first in range(0, len(rows), ROWS)]


def _stacked(rows: list[Image]) -> bytes:
    width = max(row.shape[1] for row in rows)
    white = (255, 255, 255)
    padded = [cv2.copyMakeBorder(row, 0, 8, 0, width - row.shape[1], cv2.BORDER_CONSTANT, value=white) for row in rows]
    fine, data = cv2.imencode(".jpg", np.vstack(padded), [cv2.IMWRITE_JPEG_QUALITY, 82])
    if not fine:
        raise EdgeYoloError("the contact sheet cannot be encoded as JPEG")
    return data.tobytes()


def _row(mistakes: Mistakes, frame: Image, record: ImageRecord, detections: Detections) -> Image:
    scale = PANEL / max(frame.shape[:2])
    small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    picture = np.asarray(small, np.uint8)
    names = [detections.names[index] for index in record.class_id]  # truth has no confidence to write
    objects = boxes(picture, record.xyxy * np.float32(scale), names, class_colours(record.class_id))
    detected = replace(detections, xyxy=detections.xyxy * np.float32(scale)).draw(picture)
    left = _titled(objects, f"there: {Path(mistakes.image).name}")
    right = _titled(detected, f"found: {mistakes}")
    return np.hstack((left, np.full((len(left), 6, 3), 255, np.uint8), right))


def _titled(panel: Image, text: str) -> Image:
    bar = np.full((BAR, panel.shape[1], 3), 255, np.uint8)
    ascii_text = text.encode("ascii", "replace").decode()
    cv2.putText(bar, ascii_text, (2, BAR - 9), FONT, 0.42, INK, 1, cv2.LINE_AA)
    return np.vstack((bar, panel))
