"""Comparisons mark what is beyond noise, and only that."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edge_yolov9.bundle import Thresholds
from edge_yolov9.errors import InputError
from edge_yolov9.files import from_json
from edge_yolov9.report import compare
from edge_yolov9.report.accuracy import AccuracySection, ClassSection, ConfusionSection, ScoredImages
from edge_yolov9.report.document import BundleSection, Column
from edge_yolov9.report.page import as_markdown
from edge_yolov9.scoring import noise
from edge_yolov9.scoring.accuracy import FIGURES, Figures
from tests.reporting import MEASURED, measured

BUNDLE = {
    **{"path": "bundle", "sha256": "a", "bytes": 1, "variant": "gelan-t", "target": "onnx", "board": "cpu"},
    **{
        "precision": "int8",
        "input_size": [320, 320],
        "tools": {},
        "source": dict.fromkeys(("file", "sha256", "variant")),
    },
    **{"licence": {}, "names": ["a"], "thresholds": {}, "accuracy": None},
}


def column(scale: float, ap: float = 0.6, seed: int = 0, **bundle: Any) -> Column:
    """Latency follows ``scale``, AP ``ap``; ``seed`` is how the hard images fall."""
    hard = np.random.default_rng(seed).normal(0, 0.002, 20)
    values = tuple(float(value) for value in ap + hard)
    error = noise.jackknife(values)
    accuracy = AccuracySection(
        **dict.fromkeys(FIGURES, ap),
        images=20,
        classes=(ClassSection("a", ap, ap, 9, (), values, error),),
        standard_error=Figures(**dict.fromkeys(FIGURES, error)),
        replicates=dict.fromkeys(FIGURES, values),
        data=ScoredImages("data.yaml", "val", 20, "p", "t"),
        confusion=ConfusionSection(Thresholds(), 0.5, ((9, 0), (0, 0))),
        float=None,
        worst=(),
    )
    about = from_json(BundleSection, {**BUNDLE, **bundle}, "a bundle")
    new = Column("one", "2026-01-01", about, [], {}, accuracy=accuracy)
    for name in MEASURED:
        setattr(new, name, getattr(measured(scale), name))
    return new


def other_data(column: Column, **digests: str) -> Column:
    """The same with AP of other images or labels."""
    assert column.accuracy is not None
    return replace(column, accuracy=replace(column.accuracy, data=replace(column.accuracy.data, **digests)))


def by_name(first: Column, second: Column) -> dict[str, compare.Change]:
    return {f"{one.section} {one.name}": one for one in compare.changes(first, second)}


def test_a_slower_board_is_told_from_noise() -> None:
    again = by_name(column(1.0), column(1.001))
    assert again["latency stages, total"].beyond_noise is False
    slower = by_name(column(1.0), column(1.2))
    assert slower["latency stages, total"].beyond_noise
    assert slower["latency stages, total"].better is False
    assert slower["throughput fps"].better is False
    assert by_name(column(1.2), column(1.0))["throughput fps"].better
    assert slower["footprint memory, peak (MB)"].better is None


def test_a_size_has_no_noise() -> None:
    bigger = column(1.0)
    assert bigger.footprint is not None
    bigger.footprint = replace(bigger.footprint, bundle_mb=3.4)
    change = by_name(column(1.0), bigger)["footprint bundle (MB)"]
    assert change.beyond_noise
    assert change.better is False


def test_accuracy_on_the_same_images_is_paired() -> None:
    first, second = column(1.0, 0.600), column(1.0, 0.595)
    assert first.accuracy is not None
    change = by_name(first, second)["accuracy AP"]
    assert change.difference == pytest.approx(-0.5)
    assert change.first_error == pytest.approx(100 * (first.accuracy.standard_error.AP or 0))
    assert change.difference_error == pytest.approx(0, abs=1e-9)
    assert change.beyond_noise
    assert change.better is False
    apart = by_name(first, other_data(second, truth_sha256="other labels"))["accuracy AP"]
    assert apart.difference_error == pytest.approx(np.hypot(change.first_error, change.second_error))
    assert apart.beyond_noise is False


def test_an_unknown_spread_gives_no_verdict() -> None:
    second = other_data(column(1.0, 0.5), images_sha256="other")
    assert second.accuracy is not None
    errors = replace(second.accuracy.standard_error, AP=None)
    second = replace(second, accuracy=replace(second.accuracy, standard_error=errors))
    change = by_name(column(1.0), second)["accuracy AP"]
    assert (change.beyond_noise, change.better) == (None, None)


def test_one_group_of_images_gives_no_verdict() -> None:
    """A file may claim a standard error that its replicates cannot give."""
    second = other_data(column(1.0, 0.5), images_sha256="other")
    assert second.accuracy is not None
    second = replace(second, accuracy=replace(second.accuracy, replicates=dict.fromkeys(FIGURES, (0.5,))))
    assert by_name(column(1.0), second)["accuracy AP"].beyond_noise is None


def test_columns_find_their_partners() -> None:
    first = [column(1.0), column(2.0, sha256="b", precision="fp32")]
    second = [column(2.1, sha256="c", precision="fp32"), column(1.1)]
    pairs = compare.partners(first, second)
    assert [(one.bundle.sha256, other.bundle.sha256) for one, other in pairs] == [("a", "a"), ("b", "c")]
    lone = [column(1.0, sha256="d", variant="gelan-c")]
    assert len(compare.partners([column(1.0)], lone)) == 1
    with pytest.raises(InputError, match="is like one of the second"):
        compare.partners(first, lone)


def test_the_page_says_what_changed_and_what_differs() -> None:
    first, second = column(1.0), column(1.5)
    second.warnings = ["the governor is powersave"]
    second.missing = {"power": "no sensor"}
    before = copy.deepcopy((first, second))
    page = as_markdown(
        compare.page(("a.json", "b.json"), [compare.Pair(first, second, tuple(compare.changes(first, second)))])
    )
    total = next(line for line in page.splitlines() if line.startswith("| latency: stages, total"))
    assert total.endswith("beyond noise, worse |")
    assert "+50" in total
    assert "second: the governor is powersave" in page
    assert "second is partial: power: no sensor" in page
    assert "| machine, soc | chip at 1 | chip at 1.5 |" in page
    assert "machine, board" not in page
    assert (first, second) == before
