"""Ids that stay: assignment against brute force, the filter against its matrices, and whole scenes."""

from __future__ import annotations

import pickle
import sys
import time
from itertools import permutations

import numpy as np
import pytest

from edge_yolov9.detections import Detections
from edge_yolov9.errors import InputError
from edge_yolov9.video.tracking import ByteTrack
from edge_yolov9.video.tracks.assignment import assign, match
from edge_yolov9.video.tracks.motion import MEASURED_NOISE, PLACE_DRIFT, SPEED_DRIFT, START_SPEED, Tracks
from tests.conftest import EXAMPLES

sys.path.insert(0, str(EXAMPLES))
from counting import LineCounter, ZoneCounter

NAMES = ("person", "car")


def found(*rows: tuple[float, ...]) -> Detections:
    """Rows of (class, centre x, centre y, width, height, score)."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    half = table[:, 3:5] / 2
    xyxy = np.concatenate((table[:, 1:3] - half, table[:, 1:3] + half), axis=1)
    return Detections(xyxy, table[:, 5], table[:, 0].astype(np.int64), NAMES)


def ids(tracked: Detections) -> list[int]:
    assert tracked.track_id is not None
    assert tracked.track_id.dtype == np.int64
    assert len(tracked.track_id) == len(tracked)
    return tracked.track_id.tolist()


def best(cost: np.ndarray) -> float:
    if cost.shape[0] > cost.shape[1]:
        cost = cost.T
    return min(sum(cost[i, j] for i, j in enumerate(way)) for way in permutations(range(cost.shape[1]), len(cost)))


def test_assignment_is_the_cheapest() -> None:
    random = np.random.default_rng(0)
    for _ in range(300):
        cost = random.normal(size=random.integers(1, 7, 2))
        if random.random() < 0.3:
            cost = cost.round()  # ties
        pairs = assign(cost)
        rows, columns = zip(*pairs, strict=True)
        assert len(set(rows)) == len(set(columns)) == min(cost.shape)
        assert np.isclose(sum(cost[pair] for pair in pairs), best(cost))
    assert assign(np.zeros((0, 4))) == assign(np.zeros((4, 0))) == []


def test_assignment_agrees_with_scipy_on_large_ones() -> None:
    optimize = pytest.importorskip("scipy.optimize", reason="scipy comes with the development extra supervision")
    random = np.random.default_rng(1)
    for shape in ((60, 60), (40, 90), (90, 40)):
        cost = -random.random(shape)
        assert np.isclose(sum(cost[pair] for pair in assign(cost)), cost[optimize.linear_sum_assignment(cost)].sum())


def test_pairs_have_the_greatest_overlap_and_none_is_under_the_least() -> None:
    random = np.random.default_rng(2)
    for _ in range(200):
        overlap = random.random(random.integers(1, 6, 2)) * (random.random() + 0.3)
        pairs = match(overlap, 0.4)
        assert all(overlap[pair] >= 0.4 for pair in pairs)
        assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
        gain = np.where(overlap >= 0.4, overlap, 0)
        assert np.isclose(sum(overlap[pair] for pair in pairs), -best(-gain))


def track_at(corner: float) -> Tracks:
    return Tracks.start(np.array([[corner, 0, corner + 40, 40]], np.float32), np.ones((1, 1)))


def test_the_filter_is_kalmans() -> None:
    """Against the textbook's matrices for white acceleration and a wandering place, for one coordinate of one track."""
    tracks = track_at(0)
    state, cov = np.array([20.0, 0.0]), np.diag([(2 * 40 * MEASURED_NOISE) ** 2, (40 * START_SPEED) ** 2])
    look = np.array([[1.0, 0.0]])
    for passed, seen in ((0.1, 23.0), (0.5, 25.0), (0.04, 31.0), (0.1, 30.0)):
        tracks.predict(passed)
        move = np.array([[1.0, passed], [0.0, 1.0]])
        wander = np.array([[passed**3 / 3, passed**2 / 2], [passed**2 / 2, passed]])
        noise = (40 * SPEED_DRIFT) ** 2 * wander + np.diag([passed * (40 * PLACE_DRIFT) ** 2, 0])
        state, cov = move @ state, move @ cov @ move.T + noise
        gain = cov @ look.T / (look @ cov @ look.T + (40 * MEASURED_NOISE) ** 2)
        state, cov = state + (gain * (seen - state[0]))[:, 0], (np.eye(2) - gain @ look) @ cov
        box = np.array([[seen - 20, 0, seen + 20, 40]], np.float32)
        tracks.update(np.array([0]), box)
        assert np.allclose((tracks.place[0, 0], tracks.velocity[0, 0]), state)
        assert np.allclose(tracks.covariance[0, 0], (cov[0, 0], cov[0, 1], cov[1, 1]))


def test_a_prediction_does_not_depend_on_the_rate_of_the_frames() -> None:
    once, often = track_at(0), track_at(0)
    for tracks in (once, often):
        tracks.predict(0.1)
        tracks.update(np.array([0]), track_at(9).xyxy)
    once.predict(1.0)
    for _ in range(60):
        often.predict(1 / 60)
    assert np.allclose(once.place[:, :2], often.place[:, :2])
    assert np.allclose(once.covariance, often.covariance)


def test_an_object_keeps_its_id_while_hidden() -> None:
    track = ByteTrack(30)
    seen = []
    for frame in range(60):
        hidden = 25 <= frame < 45
        scene = [(0, 100 + 3 * frame, 200, 40, 90, 0.8)] * (not hidden) + [(1, 500, 100 + 2 * frame, 120, 60, 0.7)]
        seen.append(ids(track.update(found(*scene))))
    assert seen[0] == [1, 2]
    assert seen[30] == [2]
    assert seen[-1] == [1, 2]


def test_after_lost_seconds_it_is_a_new_object() -> None:
    track = ByteTrack(10, lost_seconds=1)
    box = found((0, 100, 100, 40, 90, 0.8))
    assert ids(track.update(box)) == [1]
    for _ in range(11):
        assert ids(track.update(found())) == []
    assert ids(track.update(box)) == [0]
    assert ids(track.update(box)) == [2]


RATES = (1, 2, 5, 10, 30, 60)


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("told", [1, 30])
def test_a_second_is_a_second_at_every_rate(fps: int, told: int) -> None:
    """An object comes back with its id up to a second after it was seen last, whatever rate the source claims."""
    box = found((0, 100, 100, 40, 90, 0.8))
    for away in (k / fps for k in {1, 2, (fps + 1) // 2, fps, fps + 1, 3 * fps}):
        track = ByteTrack(told)
        times = [k / fps for k in range(6)]
        for now in times:
            assert ids(track.update(box, seconds=now)) == [1]
        back = times[-1] + away
        for now in (times[-1] + k / fps for k in range(1, round(away * fps))):
            track.update(found(), seconds=now)
        kept = ids(track.update(box, seconds=back)) == [1]
        assert kept == (away <= max(1.0, 1 / fps) + 1e-9), (away, kept)


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6])
@pytest.mark.parametrize("empty", [0, 1])
def test_one_object_has_one_id_at_every_rate(fps: int, share: float, empty: int) -> None:
    """It moves by a share of its width from frame to frame, seen from the first frame on or from the second."""
    track = ByteTrack(fps)
    scenes = [found()] * empty + [found((0, 50 + 60 * share * k, 100, 60, 60, 0.9)) for k in range(12)]
    rows = [ids(track.update(scene, seconds=k / fps)) for k, scene in enumerate(scenes)]
    assert rows == [[]] + [[0]] + [[1]] * 11 if empty else [[1]] * 12


def test_a_rate_that_changes_and_an_hour_of_silence() -> None:
    track, box, now = ByteTrack(30), found((0, 100, 100, 40, 90, 0.8)), 0.0
    for period in (*[1 / 30] * 60, *[0.5] * 20, *[0.9] * 10):
        now += period
        assert ids(track.update(box, seconds=now)) == [1]
    assert ids(track.update(box, seconds=now + 3600)) == [0]
    for back in (now + 3600.1, now - 5, float("nan"), now):  # a clock that jumps
        assert ids(track.update(box, seconds=back)) == [2]


FLIPS = {
    "steady": lambda k: [(0.8, 0)],
    "one odd frame": lambda k: [(0.8, int(k == 20))],
    "one flip": lambda k: [(0.8, int(k >= 20))],
    "every seventh": lambda k: [(0.8, int(k % 7 == 0))],
    "every fifth": lambda k: [(0.8, k // 5 % 2)],
    "each frame": lambda k: [(0.8, k % 2)],
    "both at once": lambda k: [(0.8, 0), (0.6, 1)],
    "both, in turn the better": lambda k: [(0.8, k % 2), (0.6, 1 - k % 2)],
}


@pytest.mark.parametrize("kind", FLIPS)
def test_one_object_of_changing_class_is_counted_once(kind: str) -> None:
    track, line = ByteTrack(10), LineCounter((0, 240), (640, 240))
    zone = ZoneCounter([(0, 0), (640, 0), (640, 480), (0, 480)])
    apart, apart_ids = ByteTrack(10, by_class=True), set()
    classes = set()
    for k in range(40):
        scene = found(*((index, 330, 70 + 6 * k, 60, 60, score) for score, index in FLIPS[kind](k)))
        tracked = track.update(scene, seconds=k / 10)
        assert set(ids(tracked)) == {1}
        assert len(tracked) == len(scene)
        classes |= set(tracked.class_id.tolist()) if k > 5 else set()
        line.update(tracked)
        zone.update(tracked, k / 10)
        apart_ids |= set(ids(apart.update(scene, seconds=k / 10))) - {0}
    assert line.to_right.total() + line.to_left.total() == zone.entered == 1
    assert classes == {0} or kind != "one odd frame"
    assert len(apart_ids) <= 1 + (kind not in ("steady", "one odd frame"))
    assert len(apart_ids) == 2 or kind in ("steady", "one odd frame", "each frame")


def test_two_objects_of_two_classes_are_two() -> None:
    """A rider and a motorcycle overlap by less than what makes two boxes one object."""
    track = ByteTrack(10)
    for k in range(20):
        assert ids(track.update(found((0, 100 + 5 * k, 100, 60, 120, 0.8), (1, 100 + 5 * k, 130, 70, 90, 0.7)))) == [
            1,
            2,
        ]


def test_weak_boxes_continue_a_track_and_start_none() -> None:
    track = ByteTrack(30)
    for frame in range(20):
        score = 0.8 if frame < 5 else 0.15
        scene = found((0, 100 + frame, 100, 40, 90, score), (0, 400, 300, 40, 90, 0.2), (1, 600, 300, 40, 90, 0.05))
        assert ids(track.update(scene)) == [1] * (frame < 5), "none below the threshold is in the result"
    assert ids(track.update(found((0, 120, 100, 40, 90, 0.8)))) == [1]


def test_one_frame_makes_no_object() -> None:
    track = ByteTrack(30)
    track.update(found((0, 100, 100, 40, 90, 0.8)))
    flicker = track.update(found((0, 100, 100, 40, 90, 0.8), (0, 500, 100, 40, 90, 0.9)))
    assert ids(flicker) == [1, 0]
    for _ in range(3):
        assert ids(track.update(found((0, 100, 100, 40, 90, 0.8)))) == [1]
    track.update(found((0, 300, 100, 40, 90, 0.8)))
    assert ids(track.update(found((0, 300, 100, 40, 90, 0.8)))) == [2], "the flicker used up no id"


def test_objects_that_meet_keep_their_ids() -> None:
    """Two walk past each other, one of another class stands where they meet."""
    track = ByteTrack(30)
    for frame in range(100):
        left, right = 100 + 4 * frame, 500 - 4 * frame
        scene = found((0, left, 200, 40, 90, 0.9), (0, right, 210, 44, 94, 0.8), (1, 300, 205, 44, 94, 0.7))
        tracked = track.update(scene)
        assert ids(tracked) == [1, 2, 3], frame
        assert tracked.class_id.tolist() == [0, 0, 1]


def test_boxes_are_the_detectors_own_and_the_most_confident_first() -> None:
    track = ByteTrack(30)
    scene = found((0, 100, 100, 40, 90, 0.9), (1, 300, 100, 40, 90, 0.5), (0, 500, 100, 40, 90, 0.3))
    tracked = track.update(scene)
    assert np.array_equal(tracked.xyxy, scene.xyxy)
    assert np.array_equal(tracked.confidence, scene.confidence)
    assert tracked.names == NAMES


def test_dropped_frames_are_told_by_steps() -> None:
    """Fast for its size: without the number of steps the prediction would not reach it."""
    every, third = ByteTrack(30), ByteTrack(30)
    for frame in range(60):
        scene = found((0, 50 + 12 * frame, 100, 40, 40, 0.8))
        assert ids(every.update(scene)) == [1]
        if frame < 12 or frame % 4 == 3:
            assert ids(third.update(scene, steps=1 if frame < 12 else 4)) == [1]


def test_noisy_crowd_keeps_nearly_all_ids() -> None:
    """30 walkers, one in ten boxes missing, places off by 3 % of the size, scores from 0.12 to 0.9, false boxes."""
    random = np.random.default_rng(3)
    place = random.uniform((50, 50), (1850, 1000), (30, 2))
    velocity = random.uniform(-4, 4, (30, 2))
    track, owners, switches, sightings = ByteTrack(30), {}, 0, 0
    for _ in range(200):
        place += velocity
        velocity[(place < 40) | (place > (1880, 1040))] *= -1
        rows = [
            (0, *(place[i] + random.normal(0, 2, 2)), *(random.normal((50, 110), (1.5, 3))), random.uniform(0.12, 0.9))
            for i in range(30)
            if random.random() > 0.1
        ]
        rows += [(0, *random.uniform((0, 0), (1920, 1080)), 50, 110, random.uniform(0.1, 0.4)) for _ in range(3)]
        tracked = track.update(found(*sorted(rows, key=lambda row: -row[5])))
        for (x1, y1, x2, y2), name in zip(tracked.xyxy.tolist(), ids(tracked), strict=True):
            distance = np.hypot(*(place - ((x1 + x2) / 2, (y1 + y2) / 2)).T)
            if distance.min() < 12:
                walker = int(distance.argmin())
                sightings += 1
                switches += owners.get(walker, name) != name
                owners[walker] = name
    assert sightings > 0.95 * 0.9 * 30 * 200 * (0.9 - 0.25) / (0.9 - 0.12)
    assert switches <= 0.005 * sightings


def test_memory_is_bounded_and_a_crowd_is_quick() -> None:
    random = np.random.default_rng(4)
    track, spent = ByteTrack(30), []
    for _ in range(120):
        rows = np.column_stack(
            (random.integers(0, 2, 300), random.uniform(0, 600, (300, 2)), np.full((300, 2), 40), random.random(300))
        )
        scene = found(*rows)
        start = time.thread_time()
        track.update(scene)
        spent.append(time.thread_time() - start)
        if len(spent) == 40:
            early = len(pickle.dumps(track))
    assert len(pickle.dumps(track)) < 1.5 * early
    assert np.median(spent) < 0.25


@pytest.mark.parametrize(
    "options", [{"frame_rate": 0}, {"frame_rate": float("nan")}, {"lost_seconds": -1}, {"low": 0.5}, {"confidence": 2}]
)
def test_numbers_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match="expected"):
        ByteTrack(**options)


def test_steps_must_be_positive() -> None:
    with pytest.raises(InputError, match="steps"):
        ByteTrack().update(found(), steps=0)
