"""The images that a detector does worst on, with what is there beside what it found (numpy, cv2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge_yolov9.data import ImageRecord
from edge_yolov9.detections import Detections
from edge_yolov9.draw import FONT, class_colour
from edge_yolov9.errors import EdgeYoloError
from edge_yolov9.geometry import Image
from edge_yolov9.images import read_image
from edge_yolov9.scoring.confusion import match

SHOWN = 6
"""Images in all."""
ROWS = 3
"""Images of a contact sheet: as many as are still to be recognized on a printed page."""
IOU = 0.5
"""Least overlap of an object that counts as found."""
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

    @property
    def f1(self) -> float:
        """2 right / (objects + boxes)."""
        pairs = self.right + self.wrong_class
        return 2 * self.right / (2 * pairs + self.missed + self.nothing_there)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "f1": round(self.f1, 4)}

    def __str__(self) -> str:
        counts = ((self.right, "right"), (self.missed, "missed"), (self.wrong_class, "of a wrong class"))
        text = ", ".join(f"{count} {what}" for count, what in counts if count or what == "right")
        return f"{text}, {self.nothing_there} where nothing is" if self.nothing_there else text


def rank(found: Mapping[str, Detections], truth: Mapping[str, ImageRecord]) -> list[Mistakes]:
    """The worst ``SHOWN`` images that hold a mistake, lowest F1 first, then the most mistakes."""
    counted = [_count(key, found[key], record) for key, record in truth.items()]
    wrong = [one for one in counted if one.missed + one.wrong_class + one.nothing_there]
    return sorted(wrong, key=lambda one: (one.f1, -one.missed - one.wrong_class - one.nothing_there))[:SHOWN]


def _count(key: str, found: Detections, record: ImageRecord) -> Mistakes:
    boxes, classes = record.xyxy[~record.iscrowd], record.class_id[~record.iscrowd]
    pairs = match(found.xyxy, boxes, IOU)
    right = sum(int(found.class_id[row] == classes[column]) for row, column in pairs)
    return Mistakes(key, right, len(boxes) - len(pairs), len(pairs) - right, len(found) - len(pairs))


def sheets(worst: list[Mistakes], found: Mapping[str, Detections], truth: Mapping[str, ImageRecord]) -> list[bytes]:
    """JPEGs of ``ROWS`` images each: what is there on the left, what was found on the right.

    Raises:
        SourceError: an image is not there any more.
    """
    rows = [_row(one, read_image(truth[one.image].path), truth[one.image], found[one.image]) for one in worst]
    return [_stacked(rows[first : first + ROWS]) for first in range(0, len(rows), ROWS)]


def _stacked(rows: list[Image]) -> bytes:
    width = max(row.shape[1] for row in rows)
    white = (255, 255, 255)
    padded = [cv2.copyMakeBorder(row, 0, 8, 0, width - row.shape[1], cv2.BORDER_CONSTANT, value=white) for row in rows]
    fine, data = cv2.imencode(".jpg", np.vstack(padded), [cv2.IMWRITE_JPEG_QUALITY, 82])
    if not fine:
        raise EdgeYoloError("the contact sheet cannot be encoded as JPEG")
    return data.tobytes()


def _row(one: Mistakes, frame: Image, record: ImageRecord, found: Detections) -> Image:
    scale = PANEL / max(frame.shape[:2])
    small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    objects = Detections(record.xyxy * scale, np.ones(len(record.xyxy), np.float32), record.class_id, found.names)
    boxes = Detections(found.xyxy * np.float32(scale), found.confidence, found.class_id, found.names)
    picture = np.asarray(small, np.uint8)
    left = _titled(_outlined(picture, objects), f"there: {Path(one.image).name}")
    right = _titled(boxes.draw(picture), f"found: {one}")
    return np.hstack((left, np.full((len(left), 6, 3), 255, np.uint8), right))


def _outlined(frame: Image, objects: Detections) -> Image:
    """Truth has no confidence to write: box and class name alone."""
    canvas = frame.copy()
    for box, _, index in objects:
        x1, y1, x2, y2 = (round(float(value)) for value in box)
        cv2.rectangle(canvas, (x1, y1), (x2, y2), class_colour(index), 2, cv2.LINE_AA)
        name = objects.names[index].encode("ascii", "replace").decode()
        for colour, weight in (((255, 255, 255), 3), (INK, 1)):
            cv2.putText(canvas, name, (x1 + 3, y1 + 13), FONT, 0.42, colour, weight, cv2.LINE_AA)
    return canvas


def _titled(panel: Image, text: str) -> Image:
    bar = np.full((BAR, panel.shape[1], 3), 255, np.uint8)
    ascii_text = text.encode("ascii", "replace").decode()
    cv2.putText(bar, ascii_text, (2, BAR - 9), FONT, 0.42, INK, 1, cv2.LINE_AA)
    return np.vstack((bar, panel))
