"""Counting tracked objects, over a line and in a zone. An object stands where its box's lower edge has its middle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from edge_yolov9 import Detections, InputError

Point = tuple[float, float]
"""x, y in pixels of the frame."""

LOST_SECONDS = 1.0
"""An object out of sight for longer is forgotten: the tracker would give it a new id too."""
FORGET_AFTER = 300
"""The same in frames, more than enough, where there is no clock."""


def feet(detections: Detections) -> dict[int, Point]:
    """Track id -> where the object stands; of two boxes of one object the more confident, none for what has no id yet.

    Raises:
        ValueError: nobody tracks; use ``detect.stream(source, track=True)``.
    """
    if detections.track_id is None:
        raise ValueError("counting needs track ids; use detect.stream(source, track=True)")
    places = ((detections.xyxy[:, 0] + detections.xyxy[:, 2]) / 2, detections.xyxy[:, 3])
    standing: dict[int, Point] = {}
    for track, x, y in zip(detections.track_id.tolist(), *places, strict=True):
        if track:
            standing.setdefault(track, (float(x), float(y)))
    return standing


@dataclass
class LineCounter:
    """Counts who crosses the line from ``start`` to ``end``.

    Walking from start to end, ``to_right`` counts those who cross from your left to your right, ``to_left`` the others.
    Someone who stands on the line and sways by less than ``margin`` pixels is not counted.
    """

    start: Point
    end: Point
    margin: float = 8
    to_right: Counter[str] = field(default_factory=Counter)
    to_left: Counter[str] = field(default_factory=Counter)
    _side: dict[int, tuple[int, int]] = field(default_factory=dict)
    _updates: int = 0

    def __post_init__(self) -> None:
        if not np.hypot(*np.subtract(self.end, self.start)) > 0:
            raise InputError(f"a line needs two different points, got {self.start} and {self.end}")

    def update(self, detections: Detections) -> list[tuple[int, str, bool]]:
        """Take the next frame's objects; (track id, class name, whether to the right) of each that has just crossed."""
        self._updates += 1
        crossed = []
        standing = feet(detections)
        ids = np.asarray(detections.track_id).tolist()
        classes = dict(zip(ids[::-1], detections.class_id[::-1], strict=True))
        for track, place in standing.items():
            along, across = self._relative(place)
            side = 0 if abs(across) < self.margin else 1 if across > 0 else -1
            before = self._side.get(track, (side, 0))[0]
            if side * before < 0 and 0 <= along <= 1:
                name = detections.names[int(classes[track])]
                (self.to_right if side > 0 else self.to_left)[name] += 1
                crossed.append((track, name, side > 0))
            self._side[track] = (side or before, self._updates)
        self._side = {key: value for key, value in self._side.items() if self._updates - value[1] < FORGET_AFTER}
        return crossed

    def _relative(self, place: Point) -> tuple[float, float]:
        """Where along the line (0 start, 1 end) the point is, and its distance in pixels, positive to the right."""
        line, to = np.subtract(self.end, self.start), np.subtract(place, self.start)
        length = float(np.hypot(*line))
        return float(line @ to) / length**2, float(line[0] * to[1] - line[1] * to[0]) / length


@dataclass
class ZoneCounter:
    """Who is inside a polygon, and since when."""

    corners: Sequence[Point]
    since: dict[int, float] = field(default_factory=dict)
    """Track id -> time of entry in seconds, of those inside."""
    entered: int = 0
    """How many have come in so far."""
    _seen: dict[int, float] = field(default_factory=dict)

    def update(self, detections: Detections, now: float) -> None:
        """Take the next frame's objects at time ``now`` in seconds."""
        polygon = np.array(self.corners, np.float32)
        for track, place in feet(detections).items():
            if cv2.pointPolygonTest(polygon, place, False) < 0:
                self.since.pop(track, None)
                continue
            if track not in self.since:
                self.since[track] = now
                self.entered += 1
            self._seen[track] = now
        self.since = {track: since for track, since in self.since.items() if now - self._seen[track] <= LOST_SECONDS}
        self._seen = {track: self._seen[track] for track in self.since}
