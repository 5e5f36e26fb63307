"""examples/counting.py: lines and zones."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest

from edge_yolov9 import Detections
from edge_yolov9.errors import InputError
from tests.conftest import EXAMPLES

sys.path.insert(0, str(EXAMPLES))
from counting import FORGET_AFTER, LOST_SECONDS, LineCounter, ZoneCounter

NAMES = ("person", "car")


def standing(*rows: tuple[int, int, float, float]) -> Detections:
    """Rows of (track id, class, x, y) of the feet."""
    table = np.array(rows, np.float32).reshape(-1, 4)
    x, y = table[:, 2], table[:, 3]
    xyxy = np.stack((x - 10, y - 40, x + 10, y), axis=1)
    scores = np.full(len(table), 0.9, np.float32)
    return Detections(xyxy, scores, table[:, 1].astype(np.int64), NAMES, table[:, 0].astype(np.int64))


def walk(line: LineCounter, *places: tuple[float, float], track: int = 1, kind: int = 0) -> None:
    for x, y in places:
        line.update(standing((track, kind, x, y)))


def test_both_directions_and_classes() -> None:
    line = LineCounter((0, 100), (200, 100))  # from left to right: the right hand is below
    assert line.update(standing((1, 0, 50, 60), (2, 1, 150, 140))) == []
    assert line.update(standing((1, 0, 50, 140), (2, 1, 150, 60))) == [(1, "person", True), (2, "car", False)]
    assert (dict(line.to_right), dict(line.to_left)) == ({"person": 1}, {"car": 1})
    walk(line, (50, 60))
    assert (line.to_right.total(), line.to_left.total()) == (1, 2)


def test_swaying_on_the_line_is_no_crossing() -> None:
    line = LineCounter((0, 100), (200, 100), margin=8)
    walk(line, (50, 60), (50, 97), (50, 105), (50, 96), (50, 104), (50, 60))
    assert not line.to_right
    assert not line.to_left
    walk(line, (50, 97), (50, 105), (50, 110))  # slowly, but over
    assert line.to_right.total() == 1


def test_beginning_on_the_line_is_no_crossing() -> None:
    line = LineCounter((0, 100), (200, 100), margin=8)
    walk(line, (50, 102), (50, 150))
    assert not line.to_right


@pytest.mark.parametrize("end", [(5, 5), (float("nan"), 0)])
def test_a_line_has_two_ends(end: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="two different points"):
        LineCounter((5, 5), end)


def test_around_the_end_is_no_crossing() -> None:
    line = LineCounter((0, 100), (200, 100))
    walk(line, (150, 60), (250, 60), (250, 140), (150, 140))
    assert not line.to_right
    walk(line, (150, 60))
    assert line.to_left.total() == 1


def test_a_slanting_line_is_measured_across() -> None:
    line = LineCounter((0, 0), (100, 100), margin=8)
    walk(line, (50, 60), (50, 40))  # 7 pixels on either side
    assert not line.to_left
    walk(line, (40, 60), (60, 40))
    assert line.to_left.total() == 1


def test_zone_counts_those_inside_and_how_many_came() -> None:
    zone = ZoneCounter([(100, 100), (200, 100), (200, 200), (100, 200)])
    zone.update(standing((1, 0, 150, 150), (2, 0, 50, 150)), 0.0)
    zone.update(standing((1, 0, 150, 150), (2, 0, 120, 150)), 0.5)
    assert zone.since == {1: 0.0, 2: 0.5}
    zone.update(standing((1, 0, 250, 150), (2, 0, 120, 150)), 1.0)
    assert zone.since == {2: 0.5}
    zone.update(standing((1, 0, 150, 150)), 1.4)
    assert zone.since == {2: 0.5, 1: 1.4}
    zone.update(standing((1, 0, 150, 150)), 1.1 + LOST_SECONDS)
    assert zone.since == {1: 1.4}
    assert zone.entered == 3


def test_what_passed_is_forgotten() -> None:
    line, zone = LineCounter((0, 100), (200, 100)), ZoneCounter([(0, 0), (200, 0), (200, 200)])
    for i in range(3 * FORGET_AFTER):
        found = standing((i, 0, 100, 60))
        line.update(found)
        zone.update(found, 0.04 * i)
        if i == 2 * FORGET_AFTER:
            early = [len(pickle.dumps(counter)) for counter in (line, zone)]
    assert len(zone.since) <= 26
    late = [len(pickle.dumps(counter)) for counter in (line, zone)]
    assert all(after <= 1.05 * before for before, after in zip(early, late, strict=True))


def test_without_ids_there_is_nothing_to_count() -> None:
    plain = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), NAMES)
    with pytest.raises(ValueError, match="track=True"):
        LineCounter((0, 0), (1, 1)).update(plain)
