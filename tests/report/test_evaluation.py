"""The accuracy section: against truth, and against the float model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edge_yolov9.bundle import Thresholds
from edge_yolov9.data import load_data
from edge_yolov9.errors import BundleError
from edge_yolov9.report import document, evaluation
from edge_yolov9.report import predictions as images
from edge_yolov9.report.accuracy import AccuracySection
from edge_yolov9.report.document import BundleSection, Column, Provenance
from edge_yolov9.report.evaluation import Model
from edge_yolov9.report.page import as_text
from edge_yolov9.report.predictions import ImageSet, Predictions
from edge_yolov9.report.render_accuracy import accuracy
from tests.conftest import DATA
from tests.reporting import machine
from tests.scoring.test_accuracy import detections, noisy

NAMES = ("RBC", "WBC", "Platelets")
MODEL = Model(NAMES, Thresholds(), None)


@pytest.fixture(scope="module")
def found() -> ImageSet:
    return images.labelled(DATA, "val")


def boxes(found: ImageSet, by_id: dict[int, Any]) -> Predictions:
    assert found.truth is not None
    keyed = {key: by_id[record.image_id] for key, record in zip(found.keys, found.truth.images, strict=True)}
    return Predictions(keyed, keyed, dict.fromkeys(keyed, "0" * 64))


def model(float_ap: float, **changes: Any) -> Model:
    """What a manifest says about the float model."""
    figures = dict.fromkeys(evaluation.FIGURES, float_ap)
    classes = [{"name": name, "AP": float_ap, "AP50": float_ap, "objects": 1} for name in NAMES]
    before = {"data": DATA.name, "split": "val", "images": 72, "float": {**figures, "images": 72, "classes": classes}}
    return replace(MODEL, accuracy={**before, **changes})


def column(section: AccuracySection | None, label: str = "mine", created: str = "monday", soc: str = "") -> Column:
    about = BundleSection(
        *("bundle", "a", 1, "gelan-t", "onnx", "cpu", "fp32", (64, 64), {}, Provenance(None, None, None), {}),
        *(NAMES, Thresholds(), None),
    )
    return Column(label, created, about, [], {}, accuracy=section, machine=machine(soc) if soc else None)


def page(section: AccuracySection) -> str:
    return as_text(accuracy([column(section)], {}, drawn=False))


def test_finding_everything_is_right_without_spread(found: ImageSet) -> None:
    assert found.truth is not None
    perfect = {
        r.image_id: detections([(c, *box, 0.9) for box, c in zip(r.xyxy, r.class_id, strict=True)])
        for r in found.truth.images
    }
    section, sheets = evaluation.accuracy_section(boxes(found, perfect), found, MODEL)
    assert (section.AP, section.standard_error.AP) == (1.0, 0.0)
    assert (section.worst, sheets, section.float) == ((), [], None)
    assert np.trace(section.matrix()) == np.sum(section.matrix())
    assert "the bundle has no float figures" in page(section)


def test_against_the_float_model(found: ImageSet) -> None:
    by_id = noisy(load_data(DATA).split("val"), 1)
    section, sheets = evaluation.accuracy_section(boxes(found, by_id), found, model(0.9))
    assert section.AP is not None
    assert section.float is not None
    assert section.float.comparable
    ap = {own.name: own.AP or 0 for own in section.classes}
    assert list(section.float.losing_classes) == sorted(NAMES, key=lambda name: ap[name])
    shown = page(section)
    assert f"{section.AP:.4f} ± {section.standard_error.AP:.4f} ({100 * (section.AP - 0.9):+.2f})" in shown
    assert "mine: WBC loses" in shown
    assert len(sheets) == 2
    assert [one.f1 for one in section.worst] == sorted(one.f1 for one in section.worst)
    assert section.data.images == 72


@pytest.mark.parametrize("change", [{"data": "other.yaml"}, {"images": 71}, {"split": "test"}])
def test_float_figures_of_other_images_are_not_compared(found: ImageSet, change: dict[str, Any]) -> None:
    by_id = noisy(load_data(DATA).split("val"), 1)
    section, _ = evaluation.accuracy_section(boxes(found, by_id), found, model(0.9, **change))
    assert section.float is not None
    assert not section.float.comparable
    assert section.float.losing_classes == {}
    shown = page(section)
    assert "not comparable with these" in shown
    assert "(-" not in shown


def test_labels_tell_columns_apart() -> None:
    same = [column(None, "a", "monday"), column(None, "a", "tuesday")]
    assert document.distinct(same) == ["a, monday", "a, tuesday"]
    boards = [column(None, "a", soc="Orin"), column(None, "a", soc="Pi")]
    assert document.distinct(boards) == ["a, Orin", "a, Pi"]
    assert document.distinct([same[0], same[0]]) == ["1: a", "2: a"]
    assert document.distinct([same[0], column(None, "b")]) == ["a", "b"]


@pytest.mark.parametrize("before", [{"AP": 1}, {"classes": [5]}, None])
def test_float_figures_that_are_malformed(found: ImageSet, before: object) -> None:
    nothing = dict.fromkeys(range(1, 73), detections([]))
    with pytest.raises(BundleError, match="manifest is malformed"):
        evaluation.accuracy_section(boxes(found, nothing), found, model(0.5, float=before))
