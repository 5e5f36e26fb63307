"""Stable ids for the objects of a stream: ByteTrack (Zhang et al., arXiv 2110.06864) on numpy, in seconds.

Boxes that are surely objects are matched to the predicted boxes of known tracks first; uncertain ones (an object half
hidden, or blurred) only get what is left, so they continue a track but never start one, and nobody sees them. IoU
decides; a track is of the class that most of its boxes were found to be.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from statistics import median

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.bundle import Thresholds
from edge_yolov9.detections import Detections
from edge_yolov9.errors import InputError
from edge_yolov9.geometry import iou_matrix
from edge_yolov9.video.tracks.assignment import match
from edge_yolov9.video.tracks.motion import Floats, Ints, Tracks

LEAST_IOU = 0.1
"""IoU of a sure box with the prediction of its track, at least."""
LEAST_IOU_UNSURE = 0.5
"""IoU of an unsure box: here the place is most of the evidence."""
LEAST_IOU_TENTATIVE = 0.2
"""IoU of the second sighting that confirms a track: nobody knows yet how fast the object is."""
LEAST_IOU_CLASS = 0.5
"""IoU of a box of another class than its track."""
CLASS_PENALTY = 0.1
"""IoU by which a box of the track's class may be worse than one of another, and get the track all the same."""
SAME_IOU = 0.6
"""IoU from which two boxes of one frame and two classes are one object."""
MISSED_FRAMES = 1.5
"""Usual frame periods for which a track lives at least, where frames come more slowly than ``lost_seconds``."""
RECENT = 5
"""Frame periods whose median is the usual one."""


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
        by_class: bool = False,
    ) -> None:
        """Start without tracks.

        Args:
            frame_rate: frames per second of a stream whose frames have no times.
            confidence: least score of a box that starts a track.
            low: least score of a box that continues one; detect down to this score, or nothing can.
            lost_seconds: how long an object may be out of sight and keep its id. Where a frame comes only every second
                or later, it may be missing in none.
            by_class: keep classes apart: a box never continues a track of another class.

        Raises:
            InputError: a number is out of range.
        """
        if not (frame_rate > 0 and lost_seconds >= 0):
            raise InputError(f"expected frame_rate > 0 and lost_seconds >= 0, got {frame_rate} and {lost_seconds}")
        if not 0 <= low <= confidence <= 1:
            raise InputError(f"expected 0 <= low <= confidence <= 1, got low {low} and confidence {confidence}")
        self.confidence, self.low = confidence, low
        self._lost_seconds, self._by_class = lost_seconds, by_class
        self._frame_rate = frame_rate
        self._periods = deque([1 / frame_rate], RECENT)
        self._tracks: Tracks | None = None
        self._last_id = 0
        self._now: float | None = None

    def update(self, detections: Detections, steps: float = 1, *, seconds: float | None = None) -> Detections:
        """Take the next frame's detections.

        Args:
            detections: what the detector found, down to the score ``low``, as it comes after suppression.
            steps: frames since the last call, for frames without times; more than 1 where frames were dropped.
            seconds: time of the frame, on a clock that grows. Where it does not, ``steps`` counts.

        Returns:
            Those of score ``confidence`` or more, in their order, with ``track_id``: 0 until the object is seen for the
            second time; what the first frame shows counts at once. Boxes of one object that was found under two
            classes have one id. The class of an object is the one that it was found as most, weighed by confidence.

        Raises:
            InputError: ``steps`` is not positive.
        """
        if not steps > 0:
            raise InputError(f"expected steps > 0 frames since the last call, got {steps}")
        votes = np.zeros((len(detections), len(detections.names)))
        votes[np.arange(len(detections)), detections.class_id] = detections.confidence
        sure = detections.confidence >= self.confidence
        passed = self._passed(steps, seconds)
        tracks = self._moved(passed, len(detections.names))
        owner = self._match(detections, tracks, passed)
        leader = self._leaders(detections, sure, owner)
        new = np.flatnonzero(sure & (owner < 0) & (leader < 0))
        owner[new] = len(tracks) + np.arange(len(new))
        first = self._tracks is None
        known = len(tracks)
        tracks = tracks.join(Tracks.start(detections.xyxy[new], np.zeros((len(new), len(detections.names)))))
        again = np.unique(owner[(owner >= 0) & (owner < known)])
        self._confirm(tracks, np.arange(len(tracks)) if first else again[tracks.track_id[again] == 0])
        owner = np.where(leader >= 0, owner[leader], owner)
        np.add.at(tracks.votes, owner[owner >= 0], votes[owner >= 0])
        self._tracks = tracks
        kept, rows = detections.select(sure), owner[sure]
        return replace(kept, track_id=tracks.track_id[rows], class_id=tracks.class_id[rows])

    def _passed(self, steps: float, seconds: float | None) -> float:
        """Seconds since the last call."""
        before, self._now = self._now, seconds
        passed = -1.0 if before is None or seconds is None else seconds - before
        if not (math.isfinite(passed) and passed > 0):
            return steps / self._frame_rate
        self._periods.append(passed)
        return passed

    def _moved(self, passed: float, classes: int) -> Tracks:
        """The tracks that may be seen now, where they should be."""
        if self._tracks is None:
            return Tracks.start(np.zeros((0, 4), np.float32), np.zeros((0, classes)))
        tracks = self._tracks
        tracks.predict(passed)
        patience = max(self._lost_seconds, MISSED_FRAMES * median(self._periods)) + 1e-6
        return tracks.keep((tracks.missed <= patience) & ((tracks.track_id > 0) | (tracks.missed <= passed)))

    def _confirm(self, tracks: Tracks, rows: Ints) -> None:
        """Give tentative tracks the next ids."""
        tracks.track_id[rows] = self._last_id + 1 + np.arange(len(rows))
        self._last_id += len(rows)

    def _match(self, detections: Detections, tracks: Tracks, passed: float) -> Ints:
        """(N,) row of the track that each detection continues, -1 for none; corrects those tracks."""
        owner = np.full(len(detections), -1, np.int64)
        free = np.ones(len(tracks), np.bool_)
        known, sure = tracks.track_id > 0, detections.confidence >= self.confidence
        unsure = ~sure & (detections.confidence >= self.low)
        fresh = tracks.missed <= passed  # seen in the frame before
        rounds = (
            (sure, known, tracks.xyxy, LEAST_IOU),
            (sure, known & fresh, tracks.seen, LEAST_IOU),  # one that turned or stopped
            (unsure, known & fresh, tracks.xyxy, LEAST_IOU_UNSURE),
            (sure, ~known, tracks.xyxy, LEAST_IOU_TENTATIVE),
        )
        for boxes, rows, places, least in rounds:
            left, right = np.flatnonzero(boxes & (owner < 0)), np.flatnonzero(rows & free)
            overlap = iou_matrix(detections.xyxy[left], places[right]).astype(np.float64)
            other = detections.class_id[left][:, None] != tracks.class_id[right]
            fits = overlap >= np.where(other, 2.0 if self._by_class else max(least, LEAST_IOU_CLASS), least)
            for i, j in match(np.where(fits, overlap - CLASS_PENALTY * other, 0), 1e-6):
                owner[left[i]], free[right[j]] = right[j], False
        seen = np.flatnonzero(owner >= 0)
        tracks.update(owner[seen], detections.xyxy[seen])
        return owner

    def _leaders(self, detections: Detections, sure: NDArray[np.bool_], owner: Ints) -> Ints:
        """(N,) for a box that continues no track: the box of another class that is the same object; -1 for none."""
        leader = np.full(len(detections), -1, np.int64)
        if self._by_class:
            return leader
        overlap: Floats = iou_matrix(detections.xyxy, detections.xyxy).astype(np.float64)
        overlap[detections.class_id[:, None] == detections.class_id] = 0
        leads = owner >= 0
        for index in np.argsort(-detections.confidence, kind="stable"):
            if leads[index] or not sure[index]:
                continue
            best = int(np.where(leads, overlap[index], 0).argmax())
            if leads[best] and overlap[index, best] >= SAME_IOU:
                leader[index] = best
            else:
                leads[index] = True
        return leader
