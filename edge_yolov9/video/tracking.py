"""Stable ids for the objects of a stream: ByteTrack (Zhang et al., arXiv 2110.06864) on numpy.

Boxes that are surely objects are matched to the predicted boxes of known tracks first; uncertain ones (an object half
hidden, or blurred) only get what is left, so they continue a track but never start one. IoU decides, class by class.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.bundle import Thresholds
from edge_yolov9.detections import Detections
from edge_yolov9.errors import InputError
from edge_yolov9.geometry import iou_matrix

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAST_IOU = 0.2
"""Least IoU of a sure box with the prediction of its track, as in the paper."""
LEAST_IOU_UNSURE = 0.5
"""Least IoU of an unsure box with the prediction of its track: here the place is most of the evidence."""
LEAST_IOU_TENTATIVE = 0.3
"""Least IoU of the second box of a track, which confirms it, with the prediction."""

POSITION_NOISE, VELOCITY_NOISE = 1 / 20, 1 / 160
"""Standard deviations per frame as fractions of the box's size; measurements have the first too."""


@dataclass
class Tracks:
    """T tracks, one row each. Centre x, centre y, width and height (pixels) are filtered each on its own."""

    place: Floats
    """(T, 4)."""
    velocity: Floats
    """(T, 4) pixels per frame."""
    covariance: Floats
    """(T, 4, 3) of each coordinate: place with place, place with velocity, velocity with velocity."""
    class_id: Ints
    """(T,)."""
    track_id: Ints
    """(T,) from 1; 0 while the track is tentative: seen once."""
    missed: Floats
    """(T,) frames since it was seen."""

    @classmethod
    def start(cls, xyxy: NDArray[np.float32], class_id: Ints) -> Tracks:
        """Tentative tracks at rest, one per box (T, 4)."""
        place = _measured(xyxy)
        count = len(place)
        covariance = np.zeros((count, 4, 3))
        covariance[:, :, 0] = (2 * POSITION_NOISE * _size(place)) ** 2
        covariance[:, :, 2] = (10 * VELOCITY_NOISE * _size(place)) ** 2
        fresh = np.zeros(count, np.int64)
        return cls(place, np.zeros((count, 4)), covariance, class_id.astype(np.int64), fresh, np.zeros(count))

    def __len__(self) -> int:
        return len(self.track_id)

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

    def predict(self, steps: float) -> None:
        """Move on by ``steps`` frames at constant velocity; a track out of sight keeps its size."""
        self.velocity[self.missed > 0, 2:] = 0
        self.place += steps * self.velocity
        size, (both, cross, speed) = _size(self.place), np.moveaxis(self.covariance, 2, 0)
        both += steps * (2 * cross + steps * speed) + steps * (POSITION_NOISE * size) ** 2
        cross += steps * speed
        speed += steps * (VELOCITY_NOISE * size) ** 2
        self.missed += steps

    def update(self, rows: Ints, xyxy: NDArray[np.float32]) -> None:
        """Correct the tracks ``rows`` (M,) by the boxes (M, 4) that they were matched to (Kalman's gain)."""
        both, cross, speed = np.moveaxis(self.covariance[rows], 2, 0)
        total = both + (POSITION_NOISE * _size(self.place[rows])) ** 2
        surprise = _measured(xyxy) - self.place[rows]
        self.place[rows] += both / total * surprise
        self.velocity[rows] += cross / total * surprise
        rest = (both - both**2 / total, cross - both * cross / total, speed - cross**2 / total)
        self.covariance[rows] = np.stack(rest, axis=2)
        self.missed[rows] = 0


class ByteTrack:
    """Gives the objects of one stream ids that stay. One per stream; not for sharing between threads.

    Its memory holds the tracks of the last ``lost_seconds`` and nothing else, so it can run for months.
    """

    def __init__(
        self,
        frame_rate: float = 30,
        *,
        confidence: float = Thresholds.confidence,
        low: float = 0.1,
        lost_seconds: float = 1.0,
    ) -> None:
        """Start without tracks.

        Args:
            frame_rate: frames per second of the stream.
            confidence: least score of a box that starts a track.
            low: least score of a box that continues one; detect down to this score, or nothing can.
            lost_seconds: how long an object may be out of sight and keep its id.

        Raises:
            InputError: a number is out of range.
        """
        if not (frame_rate > 0 and lost_seconds >= 0):
            raise InputError(f"expected frame_rate > 0 and lost_seconds >= 0, got {frame_rate} and {lost_seconds}")
        if not 0 <= low <= confidence <= 1:
            raise InputError(f"expected 0 <= low <= confidence <= 1, got low {low} and confidence {confidence}")
        self._confidence, self._low = confidence, low
        self._patience = max(1.0, lost_seconds * frame_rate)
        self._tracks = Tracks.start(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
        self._last_id = 0
        self._first = True

    def update(self, detections: Detections, steps: float = 1) -> Detections:
        """Take the next frame's detections.

        Args:
            detections: what the detector found, down to the score ``low``, as it comes after suppression.
            steps: frames since the last call; more than 1 where frames were dropped.

        Returns:
            Those that belong to a track, with ``track_id``, the most confident first. A new object is in it from its
            second frame on; what the first frame shows counts at once.

        Raises:
            InputError: ``steps`` is not positive.
        """
        if not steps > 0:
            raise InputError(f"expected steps > 0 frames since the last call, got {steps}")
        self._tracks.predict(steps)
        owner = self._match(detections, steps)
        tracks, seen = self._tracks, owner >= 0
        self._confirm(tracks, owner[seen][tracks.track_id[owner[seen]] == 0])
        track_id = np.zeros(len(detections), np.int64)
        track_id[seen] = tracks.track_id[owner[seen]]
        new = ~seen & (detections.confidence >= self._confidence)
        fresh = Tracks.start(detections.xyxy[new], detections.class_id[new])
        if self._first:
            self._first = False
            self._confirm(fresh, np.arange(len(fresh)))
            track_id[new] = fresh.track_id
        self._tracks = tracks.keep((tracks.track_id > 0) & (tracks.missed <= self._patience)).join(fresh)
        tracked = np.flatnonzero(track_id)
        return replace(detections.select(tracked), track_id=track_id[tracked])

    def _confirm(self, tracks: Tracks, rows: Ints) -> None:
        """Give tentative tracks the next ids."""
        tracks.track_id[rows] = self._last_id + 1 + np.arange(len(rows))
        self._last_id += len(rows)

    def _match(self, detections: Detections, steps: float) -> Ints:
        """(N,) row of the track that each detection continues, -1 for none; corrects those tracks."""
        tracks = self._tracks
        owner = np.full(len(detections), -1, np.int64)
        free = np.ones(len(tracks), np.bool_)
        known, sure = tracks.track_id > 0, detections.confidence >= self._confidence
        unsure = ~sure & (detections.confidence >= self._low)
        fresh = tracks.missed <= steps  # seen in the frame before
        rounds = ((sure, known, LEAST_IOU), (unsure, known & fresh, LEAST_IOU_UNSURE))
        for boxes, rows, least in (*rounds, (sure, ~known, LEAST_IOU_TENTATIVE)):
            left, right = np.flatnonzero(boxes & (owner < 0)), np.flatnonzero(rows & free)
            overlap = iou_matrix(detections.xyxy[left], tracks.xyxy[right]).astype(np.float64)
            overlap[detections.class_id[left][:, None] != tracks.class_id[right]] = 0
            for i, j in match(overlap, least):
                owner[left[i]], free[right[j]] = right[j], False
        seen = np.flatnonzero(owner >= 0)
        tracks.update(owner[seen], detections.xyxy[seen])
        return owner


def match(overlap: Floats, least: float) -> list[tuple[int, int]]:
    """Pairs (row, column) with the greatest sum of ``overlap`` (N, M), none under ``least``, each used once."""
    fits = overlap >= least
    rows, columns = fits.sum(axis=1), fits.sum(axis=0)
    alone = fits & (rows[:, None] == 1) & (columns == 1)
    pairs = [(int(i), int(j)) for i, j in np.argwhere(alone)]
    busy_rows = np.flatnonzero((rows > 0) & ~alone.any(axis=1))
    busy_columns = np.flatnonzero((columns > 0) & ~alone.any(axis=0))
    if len(busy_rows):
        gain = np.where(fits, overlap, 0)[np.ix_(busy_rows, busy_columns)]
        chosen = ((int(busy_rows[i]), int(busy_columns[j])) for i, j in assign(-gain))
        pairs += [(i, j) for i, j in chosen if fits[i, j]]
    return pairs


def assign(cost: Floats) -> list[tuple[int, int]]:
    """Pairs (row, column) of least total ``cost`` (N, M), min(N, M) of them.

    The Hungarian method by shortest augmenting paths: rows enter one at a time, and prices on rows and columns keep
    every reduced cost at or above zero.
    """
    if cost.shape[0] > cost.shape[1]:
        return [(row, column) for column, row in assign(cost.T)]
    count, width = cost.shape
    row_price, column_price = np.zeros(count), np.zeros(width)
    row_of = np.full(width, -1)
    for entering in range(count):
        distance, before = np.full(width, np.inf), np.full(width, -1)
        done = np.zeros(width, np.bool_)
        row, column, length = entering, -1, 0.0
        while row >= 0:
            reach = length + cost[row] - row_price[row] - column_price
            shorter = ~done & (reach < distance)
            distance[shorter], before[shorter] = reach[shorter], column
            column = int(np.where(done, np.inf, distance).argmin())
            done[column], length, row = True, distance[column], row_of[column]
        used = done.copy()
        used[column] = False
        row_price[entering] += length
        row_price[row_of[used]] += length - distance[used]
        column_price[used] -= length - distance[used]
        while column >= 0:
            row_of[column] = entering if before[column] < 0 else row_of[before[column]]
            column = before[column]
    return [(int(row_of[column]), int(column)) for column in np.flatnonzero(row_of >= 0)]


def _measured(xyxy: NDArray[np.float32]) -> Floats:
    """Corners (N, 4) -> centre and size (N, 4)."""
    boxes = xyxy.astype(np.float64)
    return np.concatenate(((boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]), axis=1)


def _size(place: Floats) -> Floats:
    """(N, 1) side of the square of the same area, at least a pixel."""
    area = np.maximum(place[:, 2:], 1).prod(axis=1, keepdims=True)
    return np.asarray(np.sqrt(area), np.float64)
