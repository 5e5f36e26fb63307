"""Where tracked objects are believed to be: constant velocity, in seconds, filtered by Kalman's gain (numpy)."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MEASURED_NOISE = 1 / 20
"""Standard deviation of a box's centre and size as a fraction of the box's side."""
START_SPEED = 1.9
"""Standard deviation of the speed of an object seen once, in sides per second."""
PLACE_DRIFT, SPEED_DRIFT = 0.27, 0.8
"""What the place (sides) and the speed (sides per second) may change by in a second beyond constant velocity."""


@dataclass
class Tracks:
    """T tracks, one row each. Centre x, centre y, width and height (pixels) are filtered each on its own."""

    place: Floats
    """(T, 4)."""
    velocity: Floats
    """(T, 4) pixels per second."""
    covariance: Floats
    """(T, 4, 3) of each coordinate: place with place, place with velocity, velocity with velocity."""
    seen: NDArray[np.float32]
    """(T, 4) corners of the box that it was matched to last."""
    votes: Floats
    """(T, classes) sum of the confidences with which each class was found."""
    track_id: Ints
    """(T,) from 1; 0 while the track is tentative: seen once."""
    missed: Floats
    """(T,) seconds since it was seen."""

    @classmethod
    def start(cls, xyxy: NDArray[np.float32], votes: Floats) -> Tracks:
        """Tentative tracks at rest, one per box (T, 4), with their first votes (T, classes)."""
        place = _measured(xyxy)
        count = len(place)
        covariance = np.zeros((count, 4, 3))
        covariance[:, :, 0] = (2 * MEASURED_NOISE * _side(place)) ** 2
        covariance[:, :, 2] = (START_SPEED * _side(place)) ** 2
        return cls(place, np.zeros((count, 4)), covariance, xyxy, votes, np.zeros(count, np.int64), np.zeros(count))

    def __len__(self) -> int:
        return len(self.track_id)

    @property
    def class_id(self) -> Ints:
        """(T,) the class with the most votes."""
        return self.votes.argmax(axis=1) if len(self) else np.zeros(0, np.int64)

    def keep(self, mask: NDArray[np.bool_]) -> Tracks:
        """The rows that ``mask`` (T,) names."""
        return Tracks(*(getattr(self, part.name)[mask] for part in fields(self)))

    def join(self, other: Tracks) -> Tracks:
        """These and the other's."""
        pairs = ((getattr(self, part.name), getattr(other, part.name)) for part in fields(self))
        return Tracks(*(np.concatenate(pair) for pair in pairs))

    @property
    def xyxy(self) -> NDArray[np.float32]:
        """(T, 4) corners where the tracks are believed to be."""
        centre, half = self.place[:, :2], np.maximum(self.place[:, 2:], 0) / 2
        return np.concatenate((centre - half, centre + half), axis=1).astype(np.float32)

    def predict(self, seconds: float) -> None:
        """Move on at constant velocity; a track out of sight keeps its size.

        Twice ``a`` and ``b`` seconds are once ``a + b``: the rate of the frames plays no part.
        """
        self.velocity[self.missed > 0, 2:] = 0
        side, (both, cross, speed) = _side(self.place), np.moveaxis(self.covariance, 2, 0)
        self.place += seconds * self.velocity
        drift, wander = (PLACE_DRIFT * side) ** 2, (SPEED_DRIFT * side) ** 2
        both += seconds * (2 * cross + seconds * speed) + seconds * drift + seconds**3 / 3 * wander
        cross += seconds * speed + seconds**2 / 2 * wander
        speed += seconds * wander
        self.missed += seconds

    def update(self, rows: Ints, xyxy: NDArray[np.float32]) -> None:
        """Correct the tracks ``rows`` (M,) by the boxes (M, 4) that they were matched to (Kalman's gain)."""
        both, cross, speed = np.moveaxis(self.covariance[rows], 2, 0)
        total = both + (MEASURED_NOISE * _side(self.place[rows])) ** 2
        surprise = _measured(xyxy) - self.place[rows]
        self.place[rows] += both / total * surprise
        self.velocity[rows] += cross / total * surprise
        rest = (both - both**2 / total, cross - both * cross / total, speed - cross**2 / total)
        self.covariance[rows] = np.stack(rest, axis=2)
        self.seen[rows], self.missed[rows] = xyxy, 0


def _measured(xyxy: NDArray[np.float32]) -> Floats:
    """Corners (N, 4) -> centre and size (N, 4)."""
    boxes = xyxy.astype(np.float64)
    return np.concatenate(((boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]), axis=1)


def _side(place: Floats) -> Floats:
    """(N, 1) side of the square of the same area, at least a pixel."""
    area = np.maximum(place[:, 2:], 1).prod(axis=1, keepdims=True)
    return np.asarray(np.sqrt(area), np.float64)
