"""What Detections turn into: dicts, COCO results, supervision, pixels."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_yolov9.detections import Detections
from edge_yolov9.draw import boxes, class_colours
from edge_yolov9.errors import InputError, RuntimeNotInstalled

FOUND = Detections(
    np.array([[10, 20, 40, 60.5], [0, 0, 5, 5], [30, 30, 50, 90]], np.float32),
    np.array([0.9, 0.5, 0.25], np.float32),
    np.array([1, 0, 1]),
    ("cat", "dog"),
)
TRACKED = replace(FOUND, track_id=np.array([7, 3, 12]))
NONE = FOUND.select(np.zeros(3, np.bool_))


def test_dicts_are_plain_and_say_the_track() -> None:
    assert json.loads(json.dumps(FOUND.as_dicts()))[0] == {
        "xyxy": [10, 20, 40, 60.5],
        "confidence": 0.9,
        "class_id": 1,
        "name": "dog",
    }
    assert [row["track_id"] for row in json.loads(json.dumps(TRACKED.as_dicts()))] == [7, 3, 12]


def test_select_takes_masks_and_positions() -> None:
    dogs = TRACKED.select(TRACKED.class_id == 1)
    assert dogs.xyxy.tolist() == [FOUND.xyxy[0].tolist(), FOUND.xyxy[2].tolist()]
    assert dogs.track_id is not None
    assert dogs.track_id.tolist() == [7, 12]
    assert FOUND.select(np.array([2, 0])).confidence.tolist() == [0.25, np.float32(0.9)]
    assert FOUND.select(np.array([2, 0])).track_id is None
    assert len(NONE) == 0
    assert NONE.xyxy.shape == (0, 4)


def test_coco_results_load_in_pycocotools(tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="the val extra has pycocotools")
    rows = json.loads(json.dumps(FOUND.as_coco(17, category_ids=(90, 18))))
    assert rows[0] == {"image_id": 17, "category_id": 18, "bbox": [10, 20, 30, 40.5], "score": pytest.approx(0.9)}
    assert [row["category_id"] for row in FOUND.as_coco(17)] == [2, 1, 2]
    truth = coco.COCO()
    truth.dataset = {"images": [{"id": 17}], "categories": [{"id": 18}, {"id": 90}], "annotations": []}
    truth.createIndex()
    (tmp_path / "results.json").write_text(json.dumps(rows))
    loaded = truth.loadRes(str(tmp_path / "results.json"))
    assert sorted(loaded.anns[i]["area"] for i in loaded.getAnnIds(catIds=[18])) == [20 * 60, 30 * 40.5]


def test_coco_wants_a_category_per_class() -> None:
    with pytest.raises(InputError, match="expected 2 category ids"):
        FOUND.as_coco(1, category_ids=range(80))


@pytest.mark.parametrize("found", [FOUND, TRACKED, NONE])
def test_supervision_takes_it_over(found: Detections) -> None:
    supervision = pytest.importorskip("supervision", reason="the development extra has supervision")
    theirs = found.as_supervision()
    assert isinstance(theirs, supervision.Detections)
    assert np.array_equal(theirs.xyxy, found.xyxy)
    assert np.array_equal(theirs.confidence, found.confidence)
    assert np.array_equal(theirs.class_id, found.class_id)
    assert (theirs.tracker_id is None) == (found.track_id is None)
    assert list(theirs.data["class_name"]) == [found.names[index] for index in found.class_id]
    assert len(theirs[theirs.class_id == 1]) == int((found.class_id == 1).sum())
    scene = np.zeros((100, 100, 3), np.uint8)
    drawn = supervision.LabelAnnotator().annotate(supervision.BoxAnnotator().annotate(scene.copy(), theirs), theirs)
    assert drawn.any() == (len(found) > 0)


def test_supervision_counts_our_tracks() -> None:
    supervision = pytest.importorskip("supervision", reason="the development extra has supervision")
    line = supervision.LineZone(start=supervision.Point(0, 100), end=supervision.Point(200, 100))
    for y in range(40, 160, 10):
        box = np.array([[90, y, 110, y + 10]], np.float32)
        one = Detections(box, np.ones(1, np.float32), np.zeros(1, np.int64), ("cat",), np.array([4]))
        line.trigger(one.as_supervision())
    assert line.in_count + line.out_count == 1


def test_without_supervision_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(RuntimeNotInstalled, match="pip install supervision"):
        FOUND.as_supervision()


def test_it_draws_itself_with_track_ids() -> None:
    frame = np.full((300, 400, 3), 90, np.uint8)
    drawn = TRACKED.draw(frame)
    labels = [
        f"#{track} {TRACKED.names[index]} {score:.2f}"
        for track, (_, score, index) in zip(TRACKED.track_id, TRACKED, strict=True)
    ]
    assert np.array_equal(drawn, boxes(frame, TRACKED.xyxy, labels, class_colours(TRACKED.class_id)))
    assert (frame == 90).all()
    assert not np.array_equal(drawn, FOUND.draw(frame)), "the label says which object it is"
