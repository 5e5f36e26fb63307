"""Folders as programs export them: the same pictures and boxes as the DATA file that they were made of."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask

from edge_yolov9.data import load_data, read_data
from edge_yolov9.data.coco import read_coco
from edge_yolov9.errors import DataError
from tests.train.made import NAMES, make_data

Rows = dict[str, list[tuple[int, float, float, float, float]]]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return make_data(tmp_path / "made")


def rows(data: Path, split: str) -> Rows:
    """By image: class and x1, y1, x2, y2 in pixels."""
    records = read_data(data, (split,)).splits[split].images
    return {
        record.path.stem: [
            (int(c), *box) for c, box in zip(record.class_id, record.xyxy.astype(float).tolist(), strict=True)
        ]
        for record in records
    }


def pictures(made: Path, split: str, folder: Path) -> Path:
    return Path(shutil.copytree(made.parent / "images" / split, folder))


def voc_text(name: str, boxes: list[tuple[int, float, float, float, float]], size: tuple[int, int] = (128, 96)) -> str:
    objects = "".join(
        f"<object><name>{NAMES[c]}</name><difficult>0</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for c, x1, y1, x2, y2 in boxes
    )
    sides = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    return f"<annotation><filename>{name}.png</filename>{sides}{objects}</annotation>"


def coco_content(data: Rows, change: Callable[[list[float]], dict[str, Any]]) -> dict[str, Any]:
    images = [{"id": i, "file_name": f"{name}.png", "width": 128, "height": 96} for i, name in enumerate(data)]
    annotations = [
        {"id": 10 * i + k, "image_id": i, "category_id": c + 1, "iscrowd": 0, **change([x1, y1, x2, y2])}
        for i, boxes in enumerate(data.values())
        for k, (c, x1, y1, x2, y2) in enumerate(boxes)
    ]
    categories = [{"id": i, "name": name, "supercategory": "things"} for i, name in enumerate(("things", *NAMES))]
    categories[0]["supercategory"] = "none"
    return {"images": images, "annotations": annotations, "categories": categories}


def plain(box: list[float]) -> dict[str, Any]:
    return {"bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]]}


def voc(made: Path, folder: Path) -> None:
    (folder / "JPEGImages").mkdir(parents=True)
    for kind in ("Annotations", "ImageSets/Main"):
        (folder / kind).mkdir(parents=True)
    for split in ("train", "val"):
        for name, boxes in rows(made, split).items():
            shutil.copy(made.parent / "images" / split / f"{name}.png", folder / "JPEGImages" / f"{split}{name}.png")
            (folder / "Annotations" / f"{split}{name}.xml").write_text(voc_text(f"{split}{name}", boxes))
        names = [f"{split}{name}" for name in rows(made, split)]
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(names))
    (folder / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nred:1,0,0::\ngreen:0,1,0::\n"
    )


def roboflow_voc(made: Path, folder: Path) -> None:
    for split, word in (("train", "train"), ("val", "valid")):
        pictures(made, split, folder / word)
        for name, boxes in rows(made, split).items():
            (folder / word / f"{name}.xml").write_text(voc_text(name, boxes))
    (folder / "classes.txt").write_text("red\ngreen\n")


def roboflow_coco(made: Path, folder: Path) -> None:
    for split, word in (("train", "train"), ("val", "valid")):
        pictures(made, split, folder / word)
        content = coco_content(rows(made, split), plain)
        (folder / word / "_annotations.coco.json").write_text(json.dumps(content))


def roboflow_yolo(made: Path, folder: Path) -> None:
    for split, word in (("train", "train"), ("val", "valid")):
        pictures(made, split, folder / word / "images")
        shutil.copytree(made.parent / "labels" / split, folder / word / "labels")
    (folder / "data.yaml").write_text("train: train/images\nval: valid/images\nnc: 2\nnames: ['red', 'green']\n")


def cvat_coco(made: Path, folder: Path) -> None:
    (folder / "annotations").mkdir(parents=True)
    for split, word in (("train", "Train"), ("val", "Validation")):
        pictures(made, split, folder / "images" / word)
        content = coco_content(rows(made, split), plain)
        (folder / "annotations" / f"instances_{word}.json").write_text(json.dumps(content))


def official_coco(made: Path, folder: Path) -> None:
    (folder / "annotations").mkdir(parents=True)
    for split in ("train", "val"):
        pictures(made, split, folder / f"{split}2017")
        content = coco_content(rows(made, split), plain)
        (folder / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(content))


def cvat_yolo(made: Path, folder: Path) -> None:
    """``obj.data``, whose paths begin with a folder that the archive lacks."""
    for split, word in (("train", "train"), ("val", "valid")):
        place = pictures(made, split, folder / f"obj_{word}_data")
        for label in (made.parent / "labels" / split).iterdir():
            shutil.copy(label, place)
        names = [f"data/obj_{word}_data/{file.name}" for file in sorted(place.glob("*.png"))]
        (folder / f"{word}.txt").write_text("\n".join(names))
    (folder / "obj.names").write_text("red\ngreen\n")
    (folder / "obj.data").write_text(
        "classes = 2\ntrain = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\nbackup = backup/\n"
    )


@pytest.mark.parametrize(
    "export", [voc, roboflow_voc, roboflow_coco, roboflow_yolo, cvat_coco, official_coco, cvat_yolo]
)
def test_a_folder_is_read_as_its_data_file(export: Callable[[Path, Path], None], made: Path, tmp_path: Path) -> None:
    export(made, tmp_path / "out")
    assert load_data(tmp_path / "out").names == NAMES
    for split in ("train", "val"):
        before = rows(made, split)
        after = {name.removeprefix(split): boxes for name, boxes in rows(tmp_path / "out", split).items()}
        assert after.keys() == before.keys()
        for name, boxes in before.items():
            np.testing.assert_allclose(after[name], boxes, atol=1e-3)


def cvat_xml(made: Path, folder: Path) -> None:
    pictures(made, "val", folder / "images")
    parts = []
    for number, (name, boxes) in enumerate(rows(made, "val").items()):
        shapes = "".join(
            f'<box label="{NAMES[c]}" occluded="0" xtl="{x1}" ytl="{y1}" xbr="{x2}" ybr="{y2}" z_order="0"/>'
            if i
            else f'<polygon label="{NAMES[c]}" points="{x1},{y1};{x2},{y1};{x2},{y2};{x1},{y2}"/>'
            for i, (c, x1, y1, x2, y2) in enumerate(boxes)
        )
        parts.append(f'<image id="{number}" name="{name}.png" width="128" height="96">{shapes}</image>')
    labels = "".join(f"<label><name>{name}</name></label>" for name in NAMES)
    text = f"<annotations><meta><job><labels>{labels}</labels></job></meta>{''.join(parts)}</annotations>"
    (folder / "annotations.xml").write_text(f'<?xml version="1.0" encoding="utf-8"?>\n{text}')


def label_studio(made: Path, folder: Path) -> None:
    pictures(made, "val", folder / "images")
    shutil.copytree(made.parent / "labels" / "val", folder / "labels")
    (folder / "classes.txt").write_text("red\ngreen\n")
    (folder / "notes.json").write_text("{}")


def label_studio_coco(made: Path, folder: Path) -> None:
    pictures(made, "val", folder / "images")
    content = coco_content(rows(made, "val"), plain)
    for image in content["images"]:
        image["file_name"] = f"images/{image['file_name']}"
    content["categories"] = content["categories"][1:]
    (folder / "result.json").write_text(json.dumps(content))


@pytest.mark.parametrize("export", [cvat_xml, label_studio, label_studio_coco])
def test_a_folder_without_splits_is_train(export: Callable[[Path, Path], None], made: Path, tmp_path: Path) -> None:
    export(made, tmp_path / "out")
    after = rows(tmp_path / "out", "train")
    for name, boxes in rows(made, "val").items():
        np.testing.assert_allclose(after[name], boxes, atol=1e-3)
    with pytest.raises(DataError, match="no split 'val'; it has train"):
        load_data(tmp_path / "out").split("val")


def test_coco_without_boxes_has_those_of_its_segments(made: Path, tmp_path: Path) -> None:
    """Polygons, run lengths as numbers, and run lengths as text: the box around what they cover."""

    def polygon(box: list[float]) -> dict[str, Any]:
        x1, y1, x2, y2 = map(round, box)
        return {"segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]]}

    def covered(box: list[float]) -> Any:
        x1, y1, x2, y2 = map(round, box)
        bits = np.zeros((96, 128), np.uint8, order="F")
        bits[y1:y2, x1:x2] = 1
        return bits

    def text(box: list[float]) -> dict[str, Any]:
        encoded = mask.encode(covered(box))
        return {"segmentation": {"size": encoded["size"], "counts": encoded["counts"].decode()}}

    def numbers(box: list[float]) -> dict[str, Any]:
        flat = covered(box).ravel(order="F")
        ends = np.flatnonzero(np.diff(flat)) + 1
        counts = np.diff([0, *ends, len(flat)]).tolist()
        return {"segmentation": {"size": [96, 128], "counts": counts if not flat[0] else [0, *counts]}}

    before = rows(made, "val")
    for change in (polygon, text, numbers):
        (tmp_path / "a.json").write_text(json.dumps(coco_content(before, change)))
        for image, boxes in zip(read_coco(tmp_path / "a.json", NAMES), before.values(), strict=True):
            np.testing.assert_allclose(image.objects.xyxy, np.round([box[1:] for box in boxes]), atol=1e-3)


@pytest.mark.parametrize("lengths", [{"size": [96, 128], "counts": 5}, {"size": [0, 9], "counts": []}, {"counts": "x"}])
def test_run_lengths_without_sense_are_one_line(lengths: dict[str, Any], made: Path, tmp_path: Path) -> None:
    content = coco_content(rows(made, "val"), lambda box: {"segmentation": lengths})
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="annotation 0: "):
        read_coco(tmp_path / "a.json", NAMES)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<annotation><object><name>blue</name></object></annotation>", "object 1: class 'blue' is not one of"),
        ("<annotation><object><name>red</name></object></annotation>", "it has no bndbox"),
        ("<annotation><object><name>red</name><robndbox/></object></annotation>", "rotated box"),
        ("<annotation>", "is not XML"),
        ("<other/>", "expected annotation"),
        ('<!DOCTYPE a [<!ENTITY b "bb">]><annotation>&b;</annotation>', "definitions of its own"),
        (
            voc_text("000", [(0, 1, 1, 50, 50)], (640, 480)),
            "annotations are for 640 x 480 pixels, the image has 128 x 96",
        ),
        (voc_text("000", [(0, 50, 1, 10, 50)]), "ends before it begins"),
    ],
)
def test_malformed_voc_is_one_line(text: str, said: str, made: Path) -> None:
    (made.parent / "xml").mkdir()
    (made.parent / "xml" / "000.xml").write_text(text)
    made.write_text("val: {images: images/val, annotations: xml}\nnames: [red, green]\n")
    with pytest.raises(DataError, match=said) as caught:
        read_data(made, ("val",))
    assert str(caught.value).isprintable()


def test_voc_without_a_file_and_files_without_an_image_are_named(made: Path) -> None:
    (made.parent / "xml").mkdir()
    for name in ("000", "001", "else"):
        (made.parent / "xml" / f"{name}.xml").write_text(voc_text(name, [(0, 1, 1, 50, 50)]))
    made.write_text("val: {images: images/val, annotations: xml}\nnames: [red, green]\n")
    said: list[str] = []
    split = read_data(made, ("val",), tell=said.append).splits["val"]
    assert [len(record.objects) for record in split.images] == [1, 1, 0, 0]
    assert any("2 x image without a label file" in line for line in said)
    assert any("else.xml" in line for line in said)


def test_a_folder_of_nothing_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no data set that is known; expected"):
        load_data(tmp_path)
