import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from edge_yolov9.data import check_names, image_paths, load_data
from edge_yolov9.data.coco import read_coco
from edge_yolov9.data.labels import read_yolo
from edge_yolov9.errors import CalibrationError, DataError
from tests.conftest import DATA, EXAMPLES

NAMES = ["cat", "dog"]


def picture(path: Path, width: int = 40, height: int = 20) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.zeros((height, width, 3), np.uint8))
    return path


def data_file(folder: Path, **content: object) -> Path:
    file = folder / "data.yaml"
    file.write_text(yaml.safe_dump({"names": NAMES, **content}), encoding="utf-8")
    return file


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    """Three images 40 x 20, natural order 2, 10, 11; labels for 2 (elsewhere) and 11 (beside it)."""
    for name in ("2.jpg", "10.jpg", "11.png"):
        picture(tmp_path / "images" / "val" / name)
    (tmp_path / "labels" / "val").mkdir(parents=True)
    (tmp_path / "labels" / "val" / "2.txt").write_text("1 0.5 0.5 0.5 1.0\n\n0 0.1 0.1 0.2 0.2 0.1 0.4\n")
    (tmp_path / "images" / "val" / "11.txt").write_text("0 0.25 0.5 0.5 0.5\n")
    return tmp_path


def test_yolo_labels_become_pixel_boxes(yolo):
    split = load_data(data_file(yolo, val="images/val", nc=2)).split("val")
    assert [record.path.name for record in split.images] == ["2.jpg", "10.jpg", "11.png"]
    assert [record.image_id for record in split.images] == [1, 2, 3]
    first, empty, beside = split.images
    assert (first.width, first.height) == (40, 20)
    np.testing.assert_allclose(first.xyxy, [[10, 0, 30, 20], [4, 2, 8, 8]], atol=1e-5)  # box; polygon's bounds
    assert first.class_id.tolist() == [1, 0]
    np.testing.assert_allclose(first.area, [400, 24])
    assert first.iscrowd.tolist() == [False, False]
    assert empty.xyxy.shape == (0, 4)
    assert empty.class_id.shape == (0,)
    np.testing.assert_allclose(beside.xyxy, [[0, 5, 20, 15]])
    assert first.xyxy.dtype == np.float32


def test_folders_lists_and_absolute_paths(yolo, tmp_path):
    picture(yolo / "more" / "deep" / "a.jpg")
    (yolo / "list.txt").write_text("./images/val/10.jpg\nimages/val/2.jpg\n\n")
    (yolo / "labels" / "val" / "10.txt").write_text("")
    data = load_data(
        data_file(yolo, path=str(yolo), train=["images/val", "more"], val="list.txt", names={0: "a", 1: "b"})
    )
    assert data.names == ("a", "b")
    assert [path.name for path in data.image_paths("train")] == ["2.jpg", "10.jpg", "11.png", "a.jpg"]
    assert [record.path.name for record in data.split("val").images] == ["10.jpg", "2.jpg"]
    assert [path.name for path in image_paths(data.file, "val")] == ["2.jpg", "10.jpg"]


def test_labels_are_not_read_before_they_are_needed(yolo):
    (yolo / "labels" / "val" / "2.txt").write_text("nonsense")
    record = load_data(data_file(yolo, val="images/val")).split("val").images[0]
    with pytest.raises(DataError, match=r"2\.txt:1: .*found 1 values"):
        _ = record.objects


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.5", "found 4 values"),
        ("0 0.5 0.5 0.5 0.5 0.5", "found 6 values"),
        ("0 0.5 0.5 0.5 nan", "finite"),
        ("0 0.5 0.5 inf 0.5", "finite"),
        ("0 0.5 half 0.5 0.5", "expected numbers"),
        ("2 0.5 0.5 0.5 0.5", "class 2 is not one of 0 to 1"),
        ("-1 0.5 0.5 0.5 0.5", "class -1"),
        ("0.5 0.5 0.5 0.5 0.5", "class 0.5"),
        ("0 12 7 20 14", "fractions"),
        ("0 0.5 0.5 -0.5 0.5", "fractions"),
    ],
)
def test_malformed_labels_name_file_and_line(yolo, line, message):
    (yolo / "labels" / "val" / "2.txt").write_text(f"0 0.5 0.5 0.5 0.5\n{line}\n")
    record = load_data(data_file(yolo, val="images/val")).split("val").images[0]
    with pytest.raises(DataError, match=message) as caught:
        _ = record.objects
    assert "2.txt:2:" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_yolo_and_coco_say_the_same_of_bccd(tmp_path):
    root = EXAMPLES / "bccd"
    names = ["RBC", "WBC", "Platelets"]
    text = data_file(tmp_path, path=str(root), val="images/val", names=names)
    by_text = load_data(text).split("val").images
    by_json = load_data(DATA).split("val").images
    assert len(by_text) == len(by_json) == 72
    assert sum(len(record.objects) for record in by_json) == 945
    for one, other in zip(by_text, by_json, strict=True):
        assert one.path.name == other.path.name
        assert one.size == other.size
        np.testing.assert_allclose(one.xyxy, other.xyxy, atol=1e-3)  # six decimals in the text
        np.testing.assert_array_equal(one.class_id, other.class_id)
        np.testing.assert_allclose(one.area, other.area, rtol=1e-4)


def coco(folder: Path, **changes: object) -> Path:
    picture(folder / "pictures" / "a.jpg")
    content = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 40, "height": 20}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 18, "bbox": [1, 2, 3.5, 4], "area": 9.5, "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 17, "bbox": [0, 0, 40, 20], "area": 300, "iscrowd": 1},
        ],
        "categories": [{"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}],
        **changes,
    }
    (folder / "coco.json").write_text(json.dumps(content))
    return data_file(folder, val={"images": "pictures", "annotations": "coco.json"})


def test_coco_categories_map_by_name(tmp_path):
    (record,) = load_data(coco(tmp_path)).split("val").images
    assert record.image_id == 7
    assert record.class_id.tolist() == [1, 0]
    assert record.xyxy.tolist() == [[1, 2, 4.5, 6], [0, 0, 40, 20]]
    assert record.iscrowd.tolist() == [False, True]
    assert record.area.tolist() == [9.5, 300]


def test_a_category_nobody_uses_needs_no_name(tmp_path):
    file = coco(tmp_path, categories=[{"id": i, "name": n} for i, n in ((0, "pets"), (17, "cat"), (18, "dog"))])
    assert load_data(file).split("val").images[0].class_id.tolist() == [1, 0]


ANNOTATION = {"id": 1, "image_id": 7, "category_id": 18, "bbox": [1, 2, 3, 4]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"categories": [{"id": 18, "name": "dog"}, {"id": 17, "name": "puma"}]}, r"\[dog, puma\].*\[cat, dog\]"),
        ({"categories": [{"id": 18, "name": "dog"}]}, r"\[dog\].*\[cat, dog\]"),
        ({"categories": [{"id": 18}]}, "category needs an id and a name"),
        ({"annotations": [{**ANNOTATION, "bbox": [1, 2, 3]}]}, "annotation 1"),
        ({"annotations": [{**ANNOTATION, "bbox": [1, 2, -3, 4]}]}, "annotation 1: bbox"),
        ({"annotations": [{**ANNOTATION, "image_id": 8}]}, "annotation 1: 8 is missing or unknown"),
        ({"annotations": ["x"]}, "object"),
        ({"annotations": {}}, "no list 'annotations'"),
        ({"images": [{"id": 7}]}, "file_name"),
        ({"images": [{"id": 7, "file_name": "gone.jpg"}], "annotations": []}, r"gone\.jpg, which is missing"),
        ({"images": [], "annotations": []}, "lists no image"),
    ],
)
def test_malformed_coco(tmp_path, changes, message):
    file = coco(tmp_path, **changes)
    with pytest.raises(DataError, match=message):
        load_data(file).split("val")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [a", "not YAML"),
        ("- a\n- b\n", "mapping"),
        ("", "mapping"),
        ("train: x\n", "no class names"),
        ("names: []\n", "no class names"),
        ("names: {1: a, 2: b}\n", "keys 0 to 1"),
        ("names: [a, a]\n", "must differ"),
        ("names: [yes, no]\n", "class name 0 is True"),
        ("names: [a, b]\nnc: 3\n", "nc is 3, but there are 2 names"),
        ("names: [a]\npath: [x]\n", "path must be a folder"),
        ("names: !!python/object/apply:os.system [echo]\n", "not YAML"),
    ],
)
def test_malformed_data_files(tmp_path, text, message):
    file = tmp_path / "data.yaml"
    file.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        load_data(file)
    assert "\n" not in str(caught.value)


def test_files_that_are_not_there(yolo):
    with pytest.raises(DataError, match="cannot read the data file"):
        load_data(yolo / "none.yaml")
    (yolo / "bytes.yaml").write_bytes(b"\xff\x00names")
    with pytest.raises(DataError, match="not YAML"):
        load_data(yolo / "bytes.yaml")
    (yolo / "list.txt").write_text("images/val/2.jpg\nimages/val/3.jpg\n")
    (yolo / "empty").mkdir()
    picture(yolo / "unlabelled" / "1.jpg")
    for entry, message in (
        ("gone", "gone does not exist"),
        ("list.txt", r"list\.txt:2: the image images/val/3\.jpg does not exist"),
        ("empty", "holds no image"),
        ("unlabelled", "no image of val has labels"),
        ("images/val/2.jpg", "neither a folder nor a text file"),
        ([[3]], "must name a folder"),
        ({"images": "images/val"}, "annotations: COCO.json"),
        ({"images": "images/val", "annotations": "gone.json"}, "cannot read annotations"),
        ({"images": "gone", "annotations": "gone.json"}, "does not exist"),
    ):
        with pytest.raises(DataError, match=message):
            load_data(data_file(yolo, val=entry)).split("val")
    with pytest.raises(DataError, match="no split 'test'; it has val"):
        load_data(data_file(yolo, val="images/val")).split("test")


def test_image_paths_of_folders(yolo):
    paths = image_paths(yolo / "images")
    assert [path.name for path in paths] == ["2.jpg", "10.jpg", "11.png"]
    assert len(image_paths(DATA, "train")) == 292
    (yolo / "empty").mkdir()
    with pytest.raises(CalibrationError, match="holds no image"):
        image_paths(yolo / "empty")
    with pytest.raises(DataError, match="does not exist"):
        image_paths(yolo / "gone")


def test_an_image_that_does_not_decode_is_named(yolo):
    (yolo / "images" / "val" / "2.jpg").write_bytes(b"not a picture")
    record = load_data(data_file(yolo, val="images/val")).split("val").images[0]
    with pytest.raises(DataError, match=r"2\.jpg does not decode"):
        _ = record.objects


def test_names_must_be_the_models():
    check_names(("a", "b"), ("a", "b"))
    with pytest.raises(DataError, match=r"\[a, b\].*\[a, c\].*differ from class 1 on"):
        check_names(("a", "b"), ("a", "c"))
    with pytest.raises(DataError, match=r"80 in all.*differ from class 0 on"):
        check_names(tuple(map(str, range(80))), ("a",))


def test_official_coco_with_eighty_classes(shared, tmp_path):
    root = shared / "coco"
    content = json.loads((root / "annotations" / "instances_val2017.json").read_text())
    names = [category["name"] for category in content["categories"]]
    file = data_file(
        tmp_path,
        path=os.fspath(root),
        val={"images": "val2017", "annotations": "annotations/instances_val2017.json"},
        names=names,
    )
    split = load_data(file).split("val")
    assert len(split) == 79
    assert sum(int(record.iscrowd.sum()) for record in split.images) == 5
    first = content["annotations"][0]
    record = next(record for record in split.images if record.image_id == first["image_id"])
    name = next(category["name"] for category in content["categories"] if category["id"] == first["category_id"])
    x, y, w, h = first["bbox"]
    index = int(np.abs(record.xyxy - [x, y, x + w, y + h]).sum(axis=1).argmin())
    np.testing.assert_allclose(record.xyxy[index], [x, y, x + w, y + h], rtol=1e-6)
    assert names[record.class_id[index]] == name


def test_outlines_of_coco_and_yolo(tmp_path: Path) -> None:
    part = [0, 0, 4, 0, 4, 4]
    rows = [part, [part[:4]], [part, [9, 9, 12, 9, 12, 13]], {"counts": "abc", "size": [9, 9]}, None, [["a"] * 6]]
    file = tmp_path / "a.json"
    annotations = [
        {"id": i, "image_id": 1, "category_id": 1, "bbox": [0, 0, 4, 4], "segmentation": row}
        for i, row in enumerate(rows)
    ]
    categories, images = [{"id": 1, "name": "a"}], [{"id": 1, "file_name": "a.png"}]
    file.write_text(json.dumps({"images": images, "categories": categories, "annotations": annotations}))
    (image,) = read_coco(file, ("a",))
    assert [len(outline) for outline in image.objects.outlines] == [0, 0, 2, 0, 0, 0]
    assert image.objects.outlines[2][1].tolist() == [[9, 9], [12, 9], [12, 13]]
    label = tmp_path / "a.txt"
    label.write_text("0 0.5 0.5 1 1\n0 0.1 0.1 0.5 0.1 0.5 0.5\n")
    objects = read_yolo(label, (100, 200), 1)
    assert [len(outline) for outline in objects.outlines] == [0, 1]
    np.testing.assert_allclose(objects.outlines[1][0], [[20, 10], [100, 10], [100, 50]], rtol=1e-6)
    label.write_text("0 0.5 0.5 1 1\n")
    assert read_yolo(label, (100, 200), 1).outlines == ()
