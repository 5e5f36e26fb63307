"""The delta report says who lost how much."""

from __future__ import annotations

from typing import Any

from edge_yolov9.scoring.delta import losers, rows, table


def figures(ap: float, classes: dict[str, float | None]) -> dict[str, Any]:
    each = [{"name": name, "AP": value, "AP50": value, "objects": 9} for name, value in classes.items()]
    return {"AP": ap, "AP50": ap, "AP75": ap, "APs": None, "APm": ap, "APl": ap, "classes": each}


ACCURACY = {
    "float": figures(0.5, {"cup": 0.4, "dog": 0.6, "ghost": None, "cat": 0.5}),
    "artifact": figures(0.49, {"cup": 0.379, "dog": 0.55, "ghost": None, "cat": 0.51}),
}


def test_rows_are_the_figures_and_then_the_classes() -> None:
    found = list(rows(ACCURACY))
    assert [name for name, _, _ in found[:6]] == ["AP", "AP50", "AP75", "APs", "APm", "APl"]
    assert found[6:] == [
        ("AP of cup", 0.4, 0.379),
        ("AP of dog", 0.6, 0.55),
        ("AP of ghost", None, None),
        ("AP of cat", 0.5, 0.51),
    ]


def test_classes_that_lose_over_two_points_are_named_worst_first() -> None:
    assert losers(ACCURACY) == {"dog": 5.0, "cup": 2.1}
    gone = {**ACCURACY, "artifact": figures(0.1, {"cup": None, "dog": 0.6, "ghost": None, "cat": 0.5})}
    assert losers(gone) == {"cup": 40.0}


def test_table() -> None:
    lines = table(ACCURACY, "int8").splitlines()
    assert lines[0].split() == ["float", "int8", "points"]
    assert lines[1].split() == ["AP", "0.5000", "0.4900", "-1.00"]
    assert lines[4].split() == ["APs", "-", "-", "-"]
    assert lines[-1].split() == ["AP", "of", "cat", "0.5000", "0.5100", "+1.00"]
    assert len({len(line) for line in lines}) == 1
