"""Comparisons mark what is beyond noise, and only that."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from edge_yolov9.errors import InputError
from edge_yolov9.report import compare
from edge_yolov9.report.page import as_markdown
from edge_yolov9.scoring import noise
from edge_yolov9.scoring.accuracy import FIGURES
from tests.reporting import measured

BUNDLE = {"sha256": "a", "variant": "gelan-t", "target": "onnx", "precision": "int8", "input_size": [320, 320]}


def column(scale: float, ap: float = 0.6, seed: int = 0, **bundle: Any) -> dict[str, Any]:
    """Latency follows ``scale``, AP ``ap``; ``seed`` is how the hard images fall."""
    hard = np.random.default_rng(seed).normal(0, 0.002, 20)
    values = [float(value) for value in ap + hard]
    error = noise.jackknife(values)
    figures = dict.fromkeys(FIGURES, ap)
    accuracy = {
        **figures,
        "standard_error": dict.fromkeys(FIGURES, error),
        "replicates": dict.fromkeys(FIGURES, values),
        "classes": [{"name": "a", "AP": ap, "standard_error": error, "replicates": values}],
        "data": {"images_sha256": "p", "truth_sha256": "t"},
    }
    return {
        "label": "one",
        "created": "2026-01-01",
        "bundle": {**BUNDLE, **bundle},
        "warnings": [],
        "missing": {},
        "accuracy": accuracy,
        **{key: value for key, value in measured(scale).items() if key != "warnings"},
    }


def by_name(first: dict[str, Any], second: dict[str, Any]) -> dict[str, compare.Change]:
    return {f"{one.section} {one.name}": one for one in compare.changes(first, second)}


def test_a_slower_board_is_told_from_noise() -> None:
    again = by_name(column(1.0), column(1.001))
    assert again["latency stages, total"].beyond is False
    slower = by_name(column(1.0), column(1.2))
    assert slower["latency stages, total"].beyond
    assert slower["latency stages, total"].better is False
    assert slower["throughput fps"].better is False
    assert by_name(column(1.2), column(1.0))["throughput fps"].better
    assert slower["footprint memory, peak (MB)"].better is None


def test_a_size_has_no_noise() -> None:
    bigger = column(1.0)
    bigger["footprint"] = {"bundle_mb": 3.4}
    change = by_name(column(1.0), bigger)["footprint bundle (MB)"]
    assert change.beyond
    assert change.better is False


def test_accuracy_on_the_same_images_is_paired() -> None:
    first, second = column(1.0, 0.600), column(1.0, 0.595)
    change = by_name(first, second)["accuracy AP"]
    assert change.difference == pytest.approx(-0.5)
    assert change.first_error == pytest.approx(100 * first["accuracy"]["standard_error"]["AP"])
    assert change.difference_error == pytest.approx(0, abs=1e-9)
    assert change.beyond
    assert change.better is False
    second["accuracy"]["data"]["truth_sha256"] = "other labels"
    apart = by_name(first, second)["accuracy AP"]
    assert apart.difference_error == pytest.approx(np.hypot(change.first_error, change.second_error))
    assert apart.beyond is False


def test_an_unknown_spread_gives_no_verdict() -> None:
    second = column(1.0, 0.5)
    second["accuracy"]["standard_error"]["AP"] = None
    second["accuracy"]["data"]["images_sha256"] = "other"
    change = by_name(column(1.0), second)["accuracy AP"]
    assert (change.beyond, change.better) == (None, None)


def test_columns_find_their_partners() -> None:
    first = {"columns": [column(1.0), column(2.0, sha256="b", precision="fp32")]}
    second = {"columns": [column(2.1, sha256="c", precision="fp32"), column(1.1)]}
    found = compare.pairs(first, second)
    assert [(one["bundle"]["sha256"], other["bundle"]["sha256"]) for one, other in found] == [("a", "a"), ("b", "c")]
    lone = {"columns": [column(1.0, sha256="d", variant="gelan-c")]}
    assert len(compare.pairs({"columns": [column(1.0)]}, lone)) == 1
    with pytest.raises(InputError, match="is like one of the second"):
        compare.pairs(first, lone)


def test_the_page_says_what_changed_and_what_differs() -> None:
    first, second = column(1.0), column(1.5)
    second["warnings"] = ["the governor is powersave"]
    second["missing"] = {"power": "no sensor"}
    before = copy.deepcopy((first, second))
    page = as_markdown(compare.page(("a.json", "b.json"), [(first, second, compare.changes(first, second))]))
    total = next(line for line in page.splitlines() if line.startswith("| latency: stages, total"))
    assert total.endswith("beyond noise, worse |")
    assert "+50" in total
    assert "second: the governor is powersave" in page
    assert "second is partial: power: no sensor" in page
    assert "| machine, soc | chip at 1 | chip at 1.5 |" in page
    assert "machine, board" not in page
    assert (first, second) == before
