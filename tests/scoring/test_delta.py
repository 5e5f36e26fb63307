"""The delta report says who lost how much."""

from __future__ import annotations

import pytest

from edge_yolov9.files import finite
from edge_yolov9.scoring.accuracy import FIGURES, ClassScore, Scores
from edge_yolov9.scoring.delta import Delta, losers, of_manifest


def figures(ap: float, classes: dict[str, float | None]) -> Scores:
    each = tuple(ClassScore(name, value, value, 9) for name, value in classes.items())
    return Scores(**{**dict.fromkeys(FIGURES, ap), "APs": None}, images=9, classes=each)


BEFORE = figures(0.5, {"cup": 0.4, "dog": 0.6, "ghost": None, "cat": 0.5})
AFTER = figures(0.49, {"cup": 0.379, "dog": 0.55, "ghost": None, "cat": 0.51})
DELTA = Delta(artifact=AFTER, float=BEFORE)


def test_rows_are_the_figures_and_then_the_classes() -> None:
    rows = list(DELTA.rows())
    assert [name for name, _, _ in rows[:6]] == ["AP", "AP50", "AP75", "APs", "APm", "APl"]
    assert rows[6:] == [
        ("AP of cup", 0.4, 0.379),
        ("AP of dog", 0.6, 0.55),
        ("AP of ghost", None, None),
        ("AP of cat", 0.5, 0.51),
    ]


def test_classes_that_lose_over_two_points_are_named_worst_first() -> None:
    assert losers(BEFORE, AFTER) == {"dog": 5.0, "cup": 2.1}
    gone = figures(0.1, {"cup": None, "dog": 0.6, "ghost": None, "cat": 0.5})
    assert losers(BEFORE, gone) == {"cup": 40.0}


def test_table() -> None:
    lines = DELTA.table("int8").splitlines()
    assert lines[0].split() == ["float", "int8", "points"]
    assert lines[1].split() == ["AP", "0.5000", "0.4900", "-1.00"]
    assert lines[4].split() == ["APs", "-", "-", "-"]
    assert lines[-1].split() == ["AP", "of", "cat", "0.5000", "0.5100", "+1.00"]
    assert len({len(line) for line in lines}) == 1


def test_figures_of_a_manifest() -> None:
    assert of_manifest({**finite(DELTA), "drop_points": 1.0}) == DELTA
    for broken, says in ((None, "must be an object"), ({"float": {"AP": 1}}, "is missing")):
        with pytest.raises(ValueError, match=says):
            of_manifest(broken)
    other = figures(0.5, {"mug": 0.4, "dog": 0.6, "ghost": None, "cat": 0.5})
    with pytest.raises(ValueError, match="classes of float and artifact differ"):
        of_manifest(finite(Delta(artifact=other, float=BEFORE)))
