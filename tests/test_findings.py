"""Data sets as other programs export them: each kind of finding on a tiny made one, alike for every command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_yolov9.compiler import calibration
from edge_yolov9.data import load_data, read_data
from edge_yolov9.data.reader import survey as read_all
from edge_yolov9.errors import DataError
from edge_yolov9.report.predictions import labelled, unlabelled
from edge_yolov9.train.check import splits, survey
from tests.train.made import make_data

PHOTO = np.random.default_rng(3).integers(0, 255, (96, 128, 3)).astype(np.uint8)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """The DATA file of twelve and four images of 128 x 96 pixels with three boxes each."""
    return make_data(tmp_path)


def label(data: Path, name: str = "000", split: str = "val") -> Path:
    return data.parent / "labels" / split / f"{name}.txt"


def image(data: Path, name: str = "000.png", split: str = "val") -> Path:
    return data.parent / "images" / split / name


def each_row(data: Path, change: Callable[[list[str]], list[str]]) -> None:
    for split in ("train", "val"):
        for file in (data.parent / "labels" / split).iterdir():
            rows = [change(line.split()) for line in file.read_text().splitlines()]
            file.write_text("".join(" ".join(row) + "\n" for row in rows))


def coco(data: Path, **image_values: object) -> None:
    """Turn the val split into COCO's JSON."""
    images, annotations = [], []
    for i, file in enumerate(sorted((data.parent / "images" / "val").iterdir())):
        images.append({"id": i, "file_name": file.name, "width": 128, "height": 96, **image_values})
        for line in label(data, file.stem).read_text().splitlines():
            c, x, y, w, h = (float(word) for word in line.split())
            box = [(x - w / 2) * 128, (y - h / 2) * 96, w * 128, h * 96]
            own = {"id": len(annotations) + 1, "image_id": i, "category_id": int(c), "bbox": box}
            annotations.append({**own, "area": box[2] * box[3], "iscrowd": 0})
    categories = [{"id": i, "name": name} for i, name in enumerate(("red", "green"))]
    write_coco(data, {"images": images, "annotations": annotations, "categories": categories})
    data.write_text("train: images/train\nval: {images: images/val, annotations: val.json}\nnames: [red, green]\n")


def write_coco(data: Path, content: object) -> None:
    (data.parent / "val.json").write_text(json.dumps(content))


def change_coco(data: Path, change: Callable[[dict], object]) -> None:  # type: ignore[type-arg]
    coco(data)
    content = json.loads((data.parent / "val.json").read_text())
    change(content)
    write_coco(data, content)


def found(data: Path) -> dict[str, tuple[str, int]]:
    """Kinds of the val split with level and count."""
    groups = read_all(load_data(data), ("train", "val")).findings
    return {group.kind: (group.level.value, group.count) for group in groups if group.split == "val"}


def same_everywhere(data: Path, strict: bool = False) -> str:
    """What every reader of the val split says; the same boxes come from each where it is read.

    Returns:
        The refusal, or the warnings.
    """
    said: list[str] = []
    texts = []
    boxes = []
    for read in (
        lambda: read_data(data, ("val",), strict=strict, tell=said.append).splits["val"],
        lambda: labelled(data, "val", strict).truth,
        lambda: survey_val(data, strict),
    ):
        try:
            split = read()
            assert split is not None
            boxes.append([(r.path, r.xyxy.tolist(), r.class_id.tolist(), r.iscrowd.tolist()) for r in split.images])
            texts.append("")
        except DataError as error:
            texts.append(str(error))
            boxes.append([])
    assert boxes[0] == boxes[1] == boxes[2]
    assert bool(texts[0]) == bool(texts[1]) == bool(texts[2]), texts
    return texts[0] or "\n".join(said)


def survey_val(data: Path, strict: bool):  # type: ignore[no-untyped-def]
    checked = survey(*splits(load_data(data)))
    checked.findings.settle(strict, lambda line: None)
    return checked.val


def val_boxes(data: Path) -> list[list[float]]:
    split = read_data(data, ("val",)).splits["val"]
    return [row for record in split.images for row in record.xyxy.round(1).tolist()]


def test_data_as_it_should_be_has_no_finding(made: Path) -> None:
    assert found(made) == {}
    assert same_everywhere(made, strict=True) == ""
    coco(made)
    assert found(made) == {}
    assert same_everywhere(made, strict=True) == ""


BOM = b"\xef\xbb\xbf"


def bom(data: Path) -> None:
    for file in (data, *data.parent.rglob("*.txt")):
        file.write_bytes(BOM + file.read_bytes())


def crlf(data: Path) -> None:
    for file in (data, *data.parent.rglob("*.txt")):
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))


def utf16(data: Path) -> None:
    for file in (data, *data.parent.rglob("*.txt")):
        file.write_bytes(file.read_text().encode("utf-16"))


def listed(data: Path) -> None:
    for split in ("train", "val"):
        names = sorted((data.parent / "images" / split).iterdir())
        text = "".join(f"images/{split}/{name.name}\r\n" for name in names)
        (data.parent / f"{split}.txt").write_bytes(BOM + text.encode())
    data.write_text("train: train.txt\nval: val.txt\nnames: [red, green]\n")


def linked(data: Path) -> None:
    for kind in ("images", "labels"):
        for split in ("train", "val"):
            (data.parent / "far" / kind / split).parent.mkdir(parents=True, exist_ok=True)
            (data.parent / kind / split).rename(data.parent / "far" / kind / split)
            (data.parent / kind / split / "near").parent.mkdir()
            (data.parent / kind / split / "near").symlink_to(data.parent / "far" / kind / split)
        (data.parent / kind / "val" / "near" / "round").symlink_to(data.parent / kind / "val")


def keypoints(data: Path) -> None:
    each_row(data, lambda row: [*row, row[1], row[2], "2", "0.5", "0.5", "0"])
    data.write_text(data.read_text() + "kpt_shape: [2, 3]\n")


def valid(data: Path) -> None:
    data.write_text(data.read_text().replace("val:", "valid:"))


def trailing(data: Path) -> None:
    for file in (data.parent / "images" / "val").iterdir():
        file.write_bytes(file.read_bytes() + bytes(6000))


@pytest.mark.parametrize("change", [bom, crlf, utf16, listed, linked, keypoints, valid, trailing])
def test_what_has_one_right_reading_is_read_without_a_word(change: Callable[[Path], None], made: Path) -> None:
    before = val_boxes(made)
    change(made)
    assert val_boxes(made) == before
    assert len(before) == 12
    assert same_everywhere(made, strict=True) == ""


def test_a_jpeg_is_whole_or_not_whatever_follows_it(made: Path) -> None:
    data = cv2.imencode(".jpg", PHOTO)[1].tobytes()
    forms = {
        "000": data + bytes(6000),
        "001": data + data,
        "002": data[: len(data) // 2] + b"\xff\xd9",
        "003": data[:-2],
    }
    for name, content in forms.items():
        image(made, f"{name}.png").unlink()
        image(made, f"{name}.jpg").write_bytes(content)
    assert found(made) == {"image that does not decode": ("warning", 2)}
    said = same_everywhere(made)
    assert "002.jpg, " in said
    assert "003.jpg (the file ends before the picture does)" in said
    assert [record.path.name for record in read_data(made, ("val",)).splits["val"].images] == ["000.jpg", "001.jpg"]
    assert same_everywhere(made, strict=True).startswith("--strict: val: 2 x image that does not decode")


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_few_bits_in_sixteen_are_refused(suffix: str, made: Path) -> None:
    image(made).unlink()
    grey = PHOTO[..., 0].astype(np.uint16)
    cv2.imwrite(str(image(made, f"000{suffix}")), grey * 257)
    assert found(made) == {}
    cv2.imwrite(str(image(made, f"000{suffix}")), grey << 4)
    assert found(made) == {"image of few bits in 16": ("error", 1)}
    assert "multiply them by 16" in same_everywhere(made)


@pytest.mark.parametrize(
    ("names", "read"),
    [
        ("[007, 010]", ("007", "010")),
        ("[1_000, 12:30]", ("1_000", "12:30")),
        ("[1.10, .inf]", ("1.10", ".inf")),
        ("{0: 007, 1: 0x1F}", ("007", "0x1F")),
        ('{"0": a, "1": b}', ("a", "b")),
        ("{1: b, 0: a}", ("a", "b")),
    ],
)
def test_class_names_are_read_as_they_are_written(names: str, read: tuple[str, ...], made: Path) -> None:
    made.write_text(f"train: images/train\nval: images/val\nnames: {names}\n")
    assert load_data(made).names == read


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"width": 96, "height": 128}, "the annotations are for 96 x 128 pixels, the image has 128 x 96"),
        ({"width": 256, "height": 192}, "the annotations are for 256 x 192 pixels, the image has 128 x 96"),
    ],
)
def test_sizes_that_coco_states_are_the_images(values: dict[str, object], said: str, made: Path) -> None:
    coco(made, **values)
    assert found(made)["image of another size than its annotations state"] == ("error", 4)
    assert said in same_everywhere(made)


def test_sizes_are_those_of_the_upright_image(made: Path) -> None:
    """A picture that EXIF turns has the size that it is shown in."""
    data = cv2.imencode(".jpg", PHOTO)[1].tobytes()
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    turned = data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]
    for file in (made.parent / "images" / "val").iterdir():
        file.unlink()
        file.with_suffix(".jpg").write_bytes(turned)
    records = read_data(made, ("val",)).splits["val"].images
    assert {record.size for record in records} == {(128, 96)}
    coco(made)
    assert "128 x 96 pixels, the image has 96 x 128, which its EXIF tag turns" in same_everywhere(made)


def seven(*more: str) -> Callable[[list[str]], list[str]]:
    return lambda row: [*row, *more]


def point(row: list[str]) -> list[str]:
    x, y, w, h = map(float, row[1:])
    return [*row, f"{x + w / 5:.4f}", f"{y - h / 5:.4f}"]


def two_points(row: list[str]) -> list[str]:
    x, y, w, h = map(float, row[1:])
    return [*row, f"{x + w / 5:.4f}", f"{y:.4f}", f"{x:.4f}", f"{y - h / 5:.4f}"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (seven("0.87", "1"), "a confidence and a track id, or an angle"),
        (seven("0.3", "0"), "a confidence and a track id, or an angle"),
        (seven("0.87", "12"), "found others (pixels, keypoints with a visibility, or a track id?)"),
        (seven("0.87"), "found 6 values (the sixth is a confidence or an angle?"),
        (point, "kpt_shape: [1, 2]"),
        (two_points, "kpt_shape: [2, 2]"),
        (lambda row: [*row, row[1], row[2], "1", row[1], row[2], "0"], "kpt_shape: [2, 3]"),
        (lambda row: [*row, *(row[1], row[2], "1") * 17], "kpt_shape"),
    ],
)
def test_rows_of_another_format_are_refused(change: Callable[[list[str]], list[str]], said: str, made: Path) -> None:
    each_row(made, change)
    assert said in same_everywhere(made)
    assert all(level == "error" for level, _ in found(made).values())


def test_polygons_are_polygons(made: Path) -> None:
    """Of one length or not; the boxes around them are those that they were made of."""
    before = np.array(sorted(val_boxes(made)))
    for count in (4, 5, 9, 20):

        def around(row: list[str], count: int = count) -> list[str]:
            x, y, w, h = map(float, row[1:])
            angles = np.linspace(0, 2 * np.pi, count * 4, endpoint=False)
            places = [(x + w / 2 * np.cos(a), y + h / 2 * np.sin(a)) for a in angles]
            return [row[0], *(f"{value:.6f}" for place in places for value in place)]

        originals = {file: file.read_text() for file in made.parent.rglob("*.txt")}
        each_row(made, around)
        assert same_everywhere(made, strict=True) == ""
        np.testing.assert_allclose(np.array(sorted(val_boxes(made))), before, atol=0.2)
        for file, text in originals.items():
            file.write_text(text)


def test_rotated_boxes_become_upright_ones_with_a_word(made: Path) -> None:
    def turned(row: list[str]) -> list[str]:
        x, y, w, h = map(float, row[1:])
        corners = [(x - w / 2, y), (x, y - h / 2), (x + w / 2, y), (x, y + h / 2)]
        return [row[0], *(f"{value:.6f}" for corner in corners for value in corner)]

    before = val_boxes(made)
    each_row(made, turned)
    assert found(made) == {"label row of four corners": ("warning", 12)}
    assert val_boxes(made) == before


def test_corners_taken_for_centres_are_refused(made: Path) -> None:
    def corners(row: list[str]) -> list[str]:
        x, y, w, h = map(float, row[1:])
        return [row[0], *(f"{v:.4f}" for v in (x - w / 2, y - h / 2, x + w / 2, y + h / 2))]

    each_row(made, corners)
    assert found(made)["box whose numbers look like corners"][0] == "error"
    assert "expected x y of the centre" in same_everywhere(made)


@pytest.mark.parametrize("exact", [True, False])
def test_boxes_that_are_there_twice(exact: bool, made: Path) -> None:
    rows = label(made).read_text().splitlines()
    again = (
        rows if exact else [" ".join([row.split()[0], *(f"{float(v):.3f}" for v in row.split()[1:])]) for row in rows]
    )
    label(made).write_text("\n".join([*rows, *again]) + "\n")
    assert found(made) == {"box that is there twice": ("warning", 3)}
    said = same_everywhere(made)
    assert "val: 3 x box that is there twice: " in said
    assert "000.txt:4" in said
    assert len(val_boxes(made)) == 15
    other = [f"{1 - int(row.split()[0])} {' '.join(row.split()[1:])}" for row in rows]
    label(made).write_text("\n".join([*rows, *other]) + "\n")
    assert found(made) == {"box of two classes": ("warning", 3)}


def test_coco_annotations_that_are_there_twice(made: Path) -> None:
    change_coco(made, lambda content: content["annotations"].append({**content["annotations"][0], "id": 99}))
    assert found(made) == {"box that is there twice": ("warning", 1)}
    assert "000.png, annotation 99" in same_everywhere(made)


def test_label_files_that_belong_to_no_image_or_to_two(made: Path) -> None:
    label(made).rename(label(made, "000.png"))
    label(made, "001").rename(label(made, "else"))
    cv2.imwrite(str(image(made, "002.jpg")), PHOTO)
    assert found(made) == {
        "image without a label file": ("warning", 2),
        "label file without an image": ("warning", 2),
        "label file of two images": ("warning", 1),
    }
    said = same_everywhere(made)
    assert "000.png.txt" in said
    assert "its name would be 000.txt" in said
    assert "002.jpg, 002.png" in said or "002.png, 002.jpg" in said
    label(made, "000.png").rename(label(made).with_suffix(".TXT"))
    assert found(made)["label file without an image"] == ("warning", 2)


def test_an_empty_label_file_is_an_image_without_objects(made: Path) -> None:
    label(made).write_text("")
    assert found(made) == {}
    (label(made).parent / "classes.txt").write_text("red\ngreen\n")
    assert found(made) == {}


def test_a_list_that_takes_some_images_of_a_folder_leaves_no_labels_over(made: Path) -> None:
    (made.parent / "val.txt").write_text("images/train/000.png\nimages/train/001.png\n")
    (made.parent / "train.txt").write_text("".join(f"images/train/{i:03}.png\n" for i in range(2, 12)))
    made.write_text("train: train.txt\nval: val.txt\nnames: [red, green]\n")
    assert found(made) == {}


def test_crowds_are_neither_trained_nor_counted(made: Path) -> None:
    def crowds(content: dict) -> None:  # type: ignore[type-arg]
        for annotation in content["annotations"][:3]:
            annotation["iscrowd"] = 1
        content["annotations"][3]["iscrowd"] = None

    change_coco(made, crowds)
    assert found(made)["crowd region"] == ("warning", 3)
    same_everywhere(made)
    summary = survey(*splits(load_data(made))).summary
    assert sum(int(word.strip(",")) for word in summary.splitlines()[1].partition(";")[2].split()[1::2]) == 9
    change_coco(made, lambda content: [annotation.update(iscrowd=1) for annotation in content["annotations"]])
    with pytest.raises(DataError, match=r"its 12 objects are crowd regions \(iscrowd\)"):
        labelled(made, "val")


def test_one_file_under_two_spellings_or_ids(made: Path) -> None:
    (made.parent / "val.txt").write_text("images/val/000.png\nimages/train/../val/000.png\nimages/val/001.png\n")
    made.write_text("train: images/train\nval: val.txt\nnames: [red, green]\n")
    assert found(made) == {"image that is listed twice": ("warning", 1)}
    assert len(read_data(made, ("val",)).splits["val"]) == 2
    change_coco(made, lambda content: content["images"].append({**content["images"][0], "id": 77}))
    assert "image ids 0 and 77 are one file" in same_everywhere(made)


def test_linked_images_count_as_copies_do(made: Path) -> None:
    """A link to a neighbour is one more image, with labels of its own; ``report`` knows both by their names."""
    image(made, "link.png").symlink_to(image(made))
    label(made, "link").write_text(label(made).read_text())
    assert found(made) == {"image that is there twice": ("warning", 1)}
    images = labelled(made, "val")
    assert images.keys == ("000.png", "001.png", "002.png", "003.png", "link.png")
    far = made.parent / "far.png"
    image(made).rename(far)
    image(made).symlink_to(far)
    assert labelled(made, "val").keys == images.keys


def test_pictures_without_their_labels_are_the_same_ones(made: Path) -> None:
    """For a report that is scored elsewhere, and for calibration: a missing picture, one spelled twice, one broken."""
    image(made, "003.png").write_bytes(b"broken")
    names = ("000.png", "../val/000.png", "gone.png", "001.png", "003.png")
    (made.parent / "val.txt").write_text("".join(f"images/val/{name}\n" for name in names))
    made.write_text("train: val.txt\nval: val.txt\nnames: [red, green]\n")
    said: list[str] = []
    alone = unlabelled(made, "val", tell=said.append)
    assert alone.keys == labelled(made, "val").keys == ("000.png", "001.png")
    assert {line.partition(" x ")[2].partition(":")[0] for line in said} == {
        "image that is missing",
        "image that is listed twice",
        "image that does not decode",
    }
    chosen = calibration.usable(calibration.choose(made, 9, 0, (64, 64), ("red", "green")))
    assert sorted(path.name for path in chosen.paths) == ["000.png", "001.png"]


@pytest.mark.parametrize(
    ("row", "kind", "level", "left"),
    [
        ("0 0.5 0.5 0 0.2", "box without area", "warning", 12),
        ("0 0.95 0.5 0.4 0.5", "box outside its image", "warning", 13),
        ("0 0.5 0.5 0.004 0.5", "box thinner than a pixel", "warning", 13),
        ("0 0.5 0.5 1 1", "box that covers its image", "note", 13),
    ],
)
def test_boxes_that_are_none(row: str, kind: str, level: str, left: int, made: Path) -> None:
    with label(made).open("a") as file:
        file.write(f"{row}\n")
    assert found(made) == {kind: (level, 1)}
    same_everywhere(made)
    assert len(val_boxes(made)) == left


def test_areas_that_are_no_areas(made: Path) -> None:
    def areas(content: dict) -> None:  # type: ignore[type-arg]
        for annotation, area in zip(content["annotations"], (0, -5, 1e9, None), strict=False):
            annotation["area"] = area

    change_coco(made, areas)
    assert found(made) == {"area that is none of its box": ("warning", 3)}
    record = read_data(made, ("val",)).splits["val"].images[0]
    sides = record.xyxy[:, 2:] - record.xyxy[:, :2]
    np.testing.assert_allclose(record.area, sides.prod(axis=1), rtol=1e-5)


def test_a_class_without_an_object_in_a_split(made: Path) -> None:
    for file in label(made).parent.iterdir():
        file.write_text("".join(f"0 {line.split(' ', 1)[1]}\n" for line in file.read_text().splitlines()))
    assert found(made) == {"class without an object": ("warning", 1)}
    assert "green" in same_everywhere(made)


def test_more_objects_than_are_counted(made: Path) -> None:
    rows = [f"0 {0.02 + 0.04 * (i % 24):.4f} {0.02 + 0.04 * (i // 24):.4f} 0.03 0.03\n" for i in range(101)]
    label(made).write_text("".join(rows[:100]))
    assert found(made) == {}
    label(made).write_text("".join(rows))
    assert found(made) == {"image with over 100 objects of a class": ("warning", 1)}
    small = [f"0 {0.02 + 0.04 * (i % 24):.4f} {0.02 + 0.04 * (i // 24):.4f} 0.03 0.03\n" for i in range(301)]
    label(made).write_text("".join(small))
    assert found(made)["image with over 300 objects"] == ("warning", 1)


def test_copies_and_frames_of_one_film(made: Path) -> None:
    picture = cv2.GaussianBlur(cv2.resize(PHOTO, (64, 48)), (0, 0), 4)
    picture = cv2.normalize(cv2.resize(picture, (256, 192)), None, 0, 255, cv2.NORM_MINMAX)
    noisy = np.clip(picture.astype(int) + np.random.default_rng(0).integers(-2, 3, picture.shape), 0, 255)
    cv2.imwrite(str(image(made, "000.png", "train")), picture)
    cv2.imwrite(str(image(made, "001.png")), noisy.astype(np.uint8))
    image(made, "002.png", "train").write_bytes(image(made, "003.png").read_bytes())
    groups = {group.kind: group for group in read_all(load_data(made), ("train", "val")).findings}
    assert set(groups) == {"image of train that is in val too", "image of train that val shows too"}
    assert "000.png (as 001.png)" in str(groups["image of train that val shows too"])


def test_classes_exchanged_between_splits(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = make_data(tmp_path, train=12, val=12)
    for split, order in (("train", (0, 1)), ("val", (1, 0))):
        for file in (tmp_path / "labels" / split).iterdir():
            rows = []
            for side, index in ((0.05, order[0]), (0.4, order[1])):
                for _ in range(3):
                    x, y = rng.uniform(0.3, 0.7, 2)
                    w, h = rng.uniform(0.8, 1.2, 2) * side
                    rows.append(f"{index} {x:.4f} {y:.4f} {w:.4f} {h:.4f}\n")
            file.write_text("".join(rows))
    assert found(data)["pair of classes that look exchanged"] == ("warning", 1)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ("train: ../images/train\nval: ../images/val", "write images/val"),
        ("train: images\\train\nval: images\\val", "write images/val"),
        ("train: 'C:\\data\\images\\train'\nval: 'C:\\data\\images\\val'", "write images/val"),
        ("path: /gone\ntrain: images/train\nval: images/val", "leave path out"),
    ],
)
def test_paths_of_other_systems_name_the_right_one(entries: str, said: str, made: Path) -> None:
    made.write_text(f"{entries}\nnames: [red, green]\n")
    with pytest.raises(DataError, match=said):
        read_data(made, ("val",))


def test_a_list_with_the_root_of_an_archive_names_the_right_path(made: Path) -> None:
    """CVAT writes data/ before every path; the archive has no such folder."""
    (made.parent / "val.txt").write_text("data/images/val/000.png\ndata/images/val/001.png\n")
    made.write_text("val: val.txt\nnames: [red, green]\n")
    with pytest.raises(DataError, match=r"val\.txt:1: .*images/val/000\.png does: write images/val/000\.png"):
        read_data(made, ("val",))


def test_frames_of_a_film_in_two_splits_are_named(made: Path) -> None:
    """A camera that pans over a scene by two pixels a frame: every other frame is in val."""
    scene = cv2.resize(np.random.default_rng(5).integers(0, 255, (9, 12, 3)).astype(np.uint8), (400, 300))
    for i in range(4):
        cv2.imwrite(str(image(made, f"{i:03}.png", "train")), scene[:, 4 * i : 320 + 4 * i])
        cv2.imwrite(str(image(made, f"{i:03}.png")), scene[:, 4 * i + 2 : 322 + 4 * i])
    groups = {group.kind: group.count for group in read_all(load_data(made), ("train", "val")).findings}
    assert groups["image of train that val shows too"] == 4


def test_home_is_known(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(made.parent))
    made.write_text("train: ~/images/train\nval: ~/images/val\nnames: [red, green]\n")
    with pytest.raises(DataError, match=f"write {made.parent}/images/val"):
        read_data(made, ("val",))
    (made.parent / "here").mkdir()
    for path in ("~", "$HOME"):
        (made.parent / "here" / "d.yaml").write_text(f"path: {path}/images\nval: val\nnames: [red, green]\n")
        with pytest.raises(DataError, match=rf"path .* does not exist; .*write {made.parent}/images"):
            read_data(made.parent / "here" / "d.yaml", ("val",))


def test_numbers_are_folders(made: Path) -> None:
    (made.parent / "2024").mkdir()
    for kind in ("images", "labels"):
        (made.parent / kind).rename(made.parent / "2024" / kind)
    made.write_text("path: 2024\ntrain: images/train\nval: images/val\nnames: [red, green]\n")
    assert len(val_boxes(made)) == 12


def test_missing_images_are_left_out_and_are_no_twins(made: Path) -> None:
    for split in ("train", "val"):
        names = "".join(f"images/{split}/{name}.png\n" for name in ("000", "001", "gone"))
        (made.parent / f"{split}.txt").write_text(names)
    made.write_text("train: train.txt\nval: val.txt\nnames: [red, green]\n")
    groups = [(group.kind, group.split, group.count) for group in read_all(load_data(made), ("train", "val")).findings]
    assert groups == [("image that is missing", "train", 1), ("image that is missing", "val", 1)]
    same_everywhere(made)
    (made.parent / "val.txt").write_text("images\\val\\000.png\nimages\\val\\001.png\n")
    with pytest.raises(DataError, match=r"does not exist; .*images/val/000.png does: write images/val/000.png"):
        read_data(made, ("val",))


def test_text_that_is_no_utf8_says_so(made: Path) -> None:
    label(made).write_bytes(b"0 0.5 0.5 0.1 0.1\n0 0.5 0.5 0.1 0.1 \xe9\n")
    assert "in line 2: it is not UTF-8; save it as UTF-8" in same_everywhere(made)


def test_every_error_is_told_and_the_first_one_raised(made: Path) -> None:
    label(made).write_text("0 1 2\n")
    label(made, "001").write_text("0 0.5 0.5 0 0.2\n")
    said: list[str] = []
    with pytest.raises(DataError, match=r"000\.txt:1: expected class x y width height, found 3 values") as caught:
        read_data(made, ("val",), tell=said.append)
    assert str(caught.value).startswith("val: 1 x malformed label")
    assert [line.split(":")[0] for line in said] == ["Warning"]
