import contextlib
import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from edge_yolov9.checkpoint import load
from edge_yolov9.compiler.reference import checkpoint_detector
from edge_yolov9.data import ImageRecord, Split, load_data
from edge_yolov9.data.labels import make_objects
from edge_yolov9.detections import Detections
from edge_yolov9.errors import DataError, SourceError
from edge_yolov9.scoring.accuracy import FIGURES, evaluate, score
from tests.conftest import DATA, EXAMPLES

NAMES = ("RBC", "WBC", "Platelets")


@pytest.fixture
def one_thread():
    """PyTorch's threads wait for each other: on a busy machine two are eight times slower than one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def detections(rows, names=NAMES):
    """Rows (class, x1, y1, x2, y2, confidence)."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    table = table[np.argsort(-table[:, 5], kind="stable")]
    return Detections(table[:, 1:5], table[:, 5], table[:, 0].astype(np.int64), tuple(names))


def noisy(split: Split, seed: int) -> dict[int, Detections]:
    """Ground truth moved, thinned, sometimes of another class, with false alarms: a detector of middling quality."""
    rng = np.random.default_rng(seed)
    found = {}
    for record in split.images:
        rows = []
        for box, index in zip(record.xyxy, record.class_id, strict=True):
            size = np.tile(box[2:] - box[:2], 2)
            if rng.random() < 0.85:
                other = index if rng.random() < 0.9 else (index + 1) % len(split.names)
                rows.append((other, *(box + size * rng.normal(0, 0.06, 4)), rng.uniform(0.2, 1)))
            if rng.random() < 0.3:
                x, y, w, h = rng.uniform(1, 200, 4)
                rows.append((rng.integers(len(split.names)), x, y, x + w, y + h, rng.uniform(0, 0.6)))
        found[record.image_id] = detections(rows, split.names)
    return found


def official(annotations: Path, found: dict[int, Detections], names: tuple[str, ...]) -> COCOeval:
    """pycocotools as its own demonstration uses it: from the file, category ids of the file."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        ids = {category["name"]: category["id"] for category in truth.dataset["categories"]}
        results = [
            {
                "image_id": image_id,
                "category_id": ids[names[index]],
                "bbox": [float(box[0]), float(box[1]), float(box[2]) - float(box[0]), float(box[3]) - float(box[1])],
                "score": confidence,
            }
            for image_id, result in found.items()
            for box, confidence, index in result
        ]
        run = COCOeval(truth, truth.loadRes(results), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run


def test_the_figures_are_pycocotools_own():
    split = load_data(DATA).split("val")
    found = noisy(split, seed=1)
    accuracy = evaluate(found, split, NAMES)
    run = official(EXAMPLES / "bccd" / "annotations" / "instances_val.json", found, NAMES)
    assert tuple(accuracy.figures) == FIGURES
    assert 0.2 < accuracy.ap < 0.9
    np.testing.assert_allclose(list(accuracy.figures.values()), run.stats, atol=1e-6)
    precision = run.eval["precision"]  # categories of the file are 1, 2, 3 in the order of NAMES
    for k, result in enumerate(accuracy.classes):
        assert result.name == NAMES[k]
        assert result.ap == pytest.approx(precision[:, :, k, 0, 2].mean(), abs=1e-6)
        assert result.ap50 == pytest.approx(precision[0, :, k, 0, 2].mean(), abs=1e-6)
    assert [result.objects for result in accuracy.classes] == [805, 71, 69]


def test_crowds_and_sparse_category_ids_of_official_coco(shared, tmp_path):
    annotations = shared / "coco" / "annotations" / "instances_val2017.json"
    names = tuple(category["name"] for category in json.loads(annotations.read_text())["categories"])
    file = tmp_path / "coco.yaml"
    file.write_text(
        json.dumps(
            {
                "path": str(shared / "coco"),
                "val": {"images": "val2017", "annotations": "annotations/instances_val2017.json"},
                "names": list(names),
            }
        )
    )
    split = load_data(file).split("val")
    found = noisy(split, seed=2)
    accuracy = evaluate(found, split, names)
    np.testing.assert_allclose(list(accuracy.figures.values()), official(annotations, found, names).stats, atol=1e-6)
    absent = [result for result in accuracy.classes if result.objects == 0]
    assert absent
    assert all(result.ap is None for result in absent)


def test_perfect_and_empty_detections():
    split = load_data(DATA).split("val")
    perfect = {
        record.image_id: detections([(c, *b, 0.9) for b, c in zip(record.xyxy, record.class_id, strict=True)])
        for record in split.images
    }
    assert evaluate(perfect, split, NAMES).ap == 1
    nothing = evaluate({}, split, NAMES)
    assert nothing.ap == 0
    assert nothing.images == 72


def one_image(path: Path, rows, names=NAMES) -> Split:
    return Split("val", names, (ImageRecord(path, 1, len(names), annotated=make_objects(rows), stated_size=(20, 40)),))


def test_a_size_without_objects_has_no_figure_and_crowds_are_not_counted(tmp_path, capsys):
    split = one_image(tmp_path / "a.png", [(0, 0, 0, 10, 10, 0, 100), (0, 20, 0, 40, 20, 1, 400)])
    hits = detections([(0, 0, 0, 10, 10, 0.5), (0, 22, 0, 30, 10, 0.9)])  # the second lies in the crowd
    accuracy = evaluate({1: hits}, split, NAMES)
    assert accuracy.ap == 1
    assert accuracy.figures["APm"] is None
    assert accuracy.classes[0].objects == 1
    assert accuracy.classes[1].ap is None
    assert json.loads(json.dumps(accuracy.as_dict(), allow_nan=False))["APl"] is None
    table = accuracy.table().splitlines()
    assert table[0] == "AP     1.0000"
    assert table[5].split() == ["APl", "-"]
    assert table[-1].split() == ["Platelets", "-", "-", "0"]
    assert capsys.readouterr().out == ""


def test_score_runs_over_the_images_and_reports_progress(tmp_path):
    frame = np.full((20, 40, 3), 7, np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), frame)
    split = one_image(tmp_path / "a.png", [(2, 1, 2, 11, 12, 0, 100)])
    seen, steps = [], []

    def detect(image):
        seen.append(image)
        return detections([(2, 1, 2, 11, 12, 0.5)])

    assert score(detect, split, NAMES, lambda done, total: steps.append((done, total))).ap == 1
    np.testing.assert_array_equal(seen, [frame])
    assert steps == [(1, 1)]


def test_what_score_refuses(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((40, 20, 3), np.uint8))
    rows = [(0, 1, 2, 11, 12, 0, 100)]
    split = one_image(tmp_path / "a.png", rows)
    with pytest.raises(DataError, match="differ from class 0 on"):
        score(lambda frame: detections([]), split, ("cell",))
    with pytest.raises(DataError, match="for 40 x 20 pixels, the image has 20 x 40"):
        score(lambda frame: detections([]), split, NAMES)
    with pytest.raises(SourceError, match="cannot read image"):
        score(lambda frame: detections([]), one_image(tmp_path / "b.png", rows), NAMES)
    with pytest.raises(DataError, match="no labelled object"):
        evaluate({}, one_image(tmp_path / "a.png", []), NAMES)
    with pytest.raises(DataError, match="must be of its images"):
        evaluate({2: detections([])}, split, NAMES)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("name", "ap"),
    [("bccd-yolov9-t.pt", 0.6068), ("bccd-yolov9-t-converted.pt", 0.6068), ("bccd-yolov9-t-unfinished.pt", 0.5669)],
)
def test_published_checkpoints_reach_theirs(shared, name, ap):
    split = load_data(DATA).split("val")
    checkpoint = load(shared / "checkpoints" / name)
    detect = checkpoint_detector(checkpoint, (320, 320))
    assert score(detect, split, checkpoint.names).ap == pytest.approx(ap, abs=0.003)
