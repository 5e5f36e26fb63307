"""Contact sheets: what a finding looks like, boxes drawn on pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from edge_yolov9.data import ImageRecord
from edge_yolov9.data.findings import Finding, Group
from edge_yolov9.draw import FONT
from edge_yolov9.errors import EdgeYoloError
from edge_yolov9.geometry import Image, letterbox
from edge_yolov9.images import read_image

TILE, COLUMNS, BAR = 240, 3, 18
"""Side of a picture, pictures of a row, height of a title; pixels."""
MOST = 6
MEANT, OTHER = (0, 0, 230), (190, 170, 120)
"""Colours of the boxes that are meant, and of the others; B, G, R."""


def sheet(group: Group, records: Mapping[Path, ImageRecord]) -> bytes | None:
    """A JPEG of the first pictures of a kind of finding; None where no picture can be shown.

    Args:
        group: the findings.
        records: every image by its path.
    """
    files = list(dict.fromkeys(finding.file for finding in group.first))[:MOST]
    first = {file: next(finding for finding in group.first if finding.file == file) for file in files}
    tiles = [tile for file in files if (tile := _tile(first[file], records.get(file))) is not None]
    if not tiles:
        return None
    rows = [tiles[at : at + COLUMNS] for at in range(0, len(tiles), COLUMNS)]
    blank = np.full_like(tiles[0], 255)
    width = min(COLUMNS, len(tiles))
    canvas = np.vstack([np.hstack(row + [blank] * (width - len(row))) for row in rows])
    done, data = cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, 80])
    return data.tobytes() if done else None


def _tile(finding: Finding, record: ImageRecord | None) -> Image | None:
    try:
        frame = read_image(finding.file)
    except EdgeYoloError:
        return None
    small, placed = letterbox(frame, (TILE, TILE))
    canvas = small.copy()
    if record is not None:
        try:
            (h, w), (height, width) = placed.frame_size, placed.resized
            scale = np.array([width / w, height / h] * 2)
            xyxy = record.labelled.xyxy * scale + np.array([placed.left, placed.top] * 2)
        except EdgeYoloError:
            xyxy = np.zeros((0, 4))
        for meant in (False, True):
            for index, box in enumerate(xyxy):
                if (index in finding.boxes) == meant:
                    x1, y1, x2, y2 = (int(np.clip(round(float(value)), -TILE, 2 * TILE)) for value in box)
                    cv2.rectangle(canvas, (x1, y1), (x2, y2), MEANT if meant else OTHER, 2 if meant else 1)
    bar = np.full((BAR, TILE, 3), 255, np.uint8)
    name = finding.file.name.encode("ascii", "replace").decode()[-36:]
    cv2.putText(bar, name, (2, BAR - 5), FONT, 0.38, (40, 40, 40), 1, cv2.LINE_AA)
    return np.asarray(np.vstack((bar, canvas)), np.uint8)
