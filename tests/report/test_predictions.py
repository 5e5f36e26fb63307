"""What a bundle found survives the way through a file, and is only scored on the pictures it is of."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_yolov9 import Detector
from edge_yolov9.bundle import Thresholds, read
from edge_yolov9.data import load_data
from edge_yolov9.decode import EVALUATION
from edge_yolov9.detections import Detections
from edge_yolov9.errors import DataError
from edge_yolov9.files import finite, from_json
from edge_yolov9.images import read_image
from edge_yolov9.report import evaluation, worst
from edge_yolov9.report import predictions as images
from edge_yolov9.report.predictions import DetectionsEntry, ImageEntry, Predictions
from tests.conftest import Compiled
from tests.reporting import small_data


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return small_data(tmp_path / "set", 4)


def test_both_decodings_are_the_detectors_own(compiled: Compiled, data: Path) -> None:
    bundle, found = read(compiled("onnx", "fp32")), images.labelled(data, "val")
    boxes = images.predict(bundle, found)
    with Detector(bundle) as deployed, Detector(bundle, confidence=0.001, iou=0.7, multi_label=True) as scoring:
        for key, path in zip(found.keys, found.paths, strict=True):
            frame = read_image(path)
            for mine, theirs in ((boxes.deployed[key], deployed(frame)), (boxes.scored[key], scoring(frame))):
                np.testing.assert_array_equal(mine.xyxy, theirs.xyxy)
                np.testing.assert_array_equal(mine.confidence, theirs.confidence)
                np.testing.assert_array_equal(mine.class_id, theirs.class_id)
    assert EVALUATION.multi_label
    written = json.loads(json.dumps(finite(boxes.entry(found))))
    again = Predictions.read(from_json(DetectionsEntry, written, "a file").images, bundle.manifest.names)
    assert again.digest() == boxes.digest()
    for key in found.keys:
        np.testing.assert_array_equal(again.scored[key].xyxy, boxes.scored[key].xyxy)
        np.testing.assert_array_equal(again.scored[key].confidence, boxes.scored[key].confidence)


def test_names_do_not_depend_on_where_the_folder_lies(data: Path, tmp_path: Path) -> None:
    first = images.labelled(data, "val").keys
    moved = shutil.copytree(data.parent / "images", tmp_path / "elsewhere" / "deep")
    assert images.unlabelled(moved, "val").keys == first
    assert all("/" not in key for key in first)
    (moved / "b").mkdir()
    next(iter(sorted(moved.glob("*.jpg")))).rename(moved / "b" / "x.jpg")
    assert "b/x.jpg" in images.unlabelled(moved, "val").keys


@pytest.mark.parametrize(
    "rows",
    [
        *([[0, 0, 1, 1, 0.5]], [[0, 0, 1, 1, 0.5, 3]], [[0, 0, 1, float("nan"), 0.5, 0]], 5, "no"),
        *([[0, 0, 1, 1, 0.5, 1e300]], [[10**400] * 6], "x" * 10_000, [[[0] * 6], [0]], {"a": 1}),
        *([[0, 0, 1, 1, 1.5, 0]], [[0, 0, 1, 1, -0.5, 0]], [[2, 0, 1, 1, 0.5, 0]]),
    ],
)
def test_rows_that_are_no_detections(rows: object) -> None:
    with pytest.raises(ValueError, match="expected rows of x1, y1, x2, y2, confidence and a class") as caught:
        Predictions.read({"a": ImageEntry("", rows, [])}, ("a", "b"))
    assert len(str(caught.value)) < 300


def test_the_digest_of_truth_is_of_labels_not_of_their_place(data: Path, tmp_path: Path) -> None:
    found = images.labelled(data, "val")
    assert found.truth is not None
    digest = images.truth_digest(found.truth, found.keys)
    label = next(iter(sorted((data.parent / "labels").iterdir())))
    label.write_text("\n".join(label.read_text().splitlines()[1:]))
    fewer = images.labelled(data, "val")
    assert fewer.truth is not None
    assert images.truth_digest(fewer.truth, fewer.keys) != digest


def test_other_images_are_refused(data: Path) -> None:
    found = images.labelled(data, "val")
    model = evaluation.Model(("RBC", "WBC", "Platelets"), Thresholds(), None)
    with pytest.raises(DataError, match="are of 0 images, the split has 4"):
        evaluation.accuracy_section(Predictions({}, {}, {}), found, model)


def test_the_worst_image_comes_first_and_is_shown(data: Path) -> None:
    split = load_data(data).split("val")
    records = dict(zip(images.labelled(data, "val").keys, split.images, strict=True))
    truth = {
        key: Detections(r.xyxy, np.full(len(r.xyxy), 0.9, np.float32), r.class_id, split.names)
        for key, r in records.items()
    }
    assert worst.rank(truth, records) == []
    assert worst.sheets([], truth, records) == []
    first, second = list(records)[:2]
    truth[first] = truth[first].select(np.array([], np.int64))
    truth[second] = truth[second].select(np.arange(len(truth[second]) - 1))
    ranked = worst.rank(truth, records)
    assert [one.image for one in ranked] == [first, second]
    assert (ranked[0].right, ranked[0].missed, ranked[0].f1) == (0, len(records[first].xyxy), 0.0)
    assert (ranked[1].missed, ranked[1].wrong_class, ranked[1].nothing_there) == (1, 0, 0)
    (sheet,) = worst.sheets(ranked, truth, records)
    picture = cv2.imdecode(np.frombuffer(sheet, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape[1] > 2 * worst.PANEL
    assert picture.shape[0] > 2 * 300
    assert len(worst.sheets(ranked[:1] * 4, truth, records)) == 2
