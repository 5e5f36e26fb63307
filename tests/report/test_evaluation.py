"""The accuracy section: against truth, and against the float model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_yolov9.data import load_data
from edge_yolov9.errors import BundleError
from edge_yolov9.report import document, evaluation
from edge_yolov9.report import predictions as images
from edge_yolov9.report.page import as_text
from edge_yolov9.report.predictions import Found, ImageSet
from edge_yolov9.report.render_accuracy import accuracy
from tests.conftest import DATA
from tests.report.test_accuracy import detections, noisy

NAMES = ["RBC", "WBC", "Platelets"]
BUNDLE = {"names": NAMES, "thresholds": {"confidence": 0.25, "iou": 0.45, "max_detections": 300}}


@pytest.fixture(scope="module")
def found() -> ImageSet:
    return images.labelled(DATA, "val")


def boxes(found: ImageSet, by_id: dict[int, Any]) -> Found:
    assert found.truth is not None
    keyed = {key: by_id[record.image_id] for key, record in zip(found.keys, found.truth.images, strict=True)}
    return Found(keyed, keyed, dict.fromkeys(keyed, "0" * 64))


def told(float_ap: float, **changes: Any) -> dict[str, Any]:
    """What a manifest says about the float model."""
    figures = dict.fromkeys(evaluation.FIGURES, float_ap)
    classes = [{"name": name, "AP": float_ap, "AP50": float_ap, "objects": 1} for name in NAMES]
    before = {"data": DATA.name, "split": "val", "images": 72, "float": {**figures, "classes": classes}}
    return {**BUNDLE, "accuracy": {**before, **changes}}


def page(section: dict[str, Any]) -> str:
    column = {"label": "mine", "accuracy": section, "worst_pictures": []}
    return as_text(accuracy([column], {}, drawn=False))


def test_finding_everything_is_right_without_spread(found: ImageSet) -> None:
    assert found.truth is not None
    perfect = {
        r.image_id: detections([(c, *box, 0.9) for box, c in zip(r.xyxy, r.class_id, strict=True)])
        for r in found.truth.images
    }
    section, sheets = evaluation.section(boxes(found, perfect), found, BUNDLE)
    assert (section["AP"], section["standard_error"]["AP"]) == (1.0, 0.0)
    assert (section["worst"], sheets, section["float"]) == ([], [], None)
    assert np.trace(section["confusion"]["matrix"]) == np.sum(section["confusion"]["matrix"])
    assert "the bundle has no float figures" in page(section)


def test_against_the_float_model(found: ImageSet) -> None:
    by_id = noisy(load_data(DATA).split("val"), 1)
    section, sheets = evaluation.section(boxes(found, by_id), found, told(0.9))
    lost = 100 * (section["AP"] - 0.9)
    assert section["float"]["comparable"]
    assert list(section["float"]["losing_classes"]) == sorted(
        NAMES, key=lambda name: section["classes"][NAMES.index(name)]["AP"]
    )
    shown = page(section)
    assert f"{section['AP']:.4f} ± {section['standard_error']['AP']:.4f} ({lost:+.2f})" in shown
    assert "mine: WBC loses" in shown
    assert len(sheets) == 2
    assert [one["f1"] for one in section["worst"]] == sorted(one["f1"] for one in section["worst"])
    assert section["data"]["images"] == 72


@pytest.mark.parametrize("change", [{"data": "other.yaml"}, {"images": 71}, {"split": "test"}])
def test_float_figures_of_other_images_are_not_compared(found: ImageSet, change: dict[str, Any]) -> None:
    by_id = noisy(load_data(DATA).split("val"), 1)
    section, _ = evaluation.section(boxes(found, by_id), found, told(0.9, **change))
    assert not section["float"]["comparable"]
    assert section["float"]["losing_classes"] == {}
    shown = page(section)
    assert "not comparable with these" in shown
    assert "(-" not in shown


def test_labels_tell_columns_apart() -> None:
    same = [{"label": "a", "created": "monday"}, {"label": "a", "created": "tuesday"}]
    assert document.distinct(same) == ["a, monday", "a, tuesday"]
    boards = [{**entry, "machine": {"soc": soc}} for entry, soc in zip(same, ("Orin", "Pi"), strict=True)]
    assert document.distinct(boards) == ["a, Orin", "a, Pi"]
    assert document.distinct([same[0], same[0]]) == ["1: a", "2: a"]
    assert document.distinct([same[0], {**same[1], "label": "b"}]) == ["a", "b"]


@pytest.mark.parametrize("before", [{"AP": 1}, {"classes": [5]}, None])
def test_float_figures_that_are_malformed(found: ImageSet, before: object) -> None:
    bundle, nothing = told(0.5), dict.fromkeys(range(1, 73), detections([]))
    bundle["accuracy"]["float"] = before
    with pytest.raises(BundleError, match="manifest is malformed"):
        evaluation.section(boxes(found, nothing), found, bundle)
