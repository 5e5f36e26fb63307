"""``val`` and ``report`` measure the same AP to the last digit, and all five verbs say the same of the data."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from edge_yolov9 import bundle as bundles
from edge_yolov9.cli import main
from edge_yolov9.data import load_data
from edge_yolov9.evaluation import evaluate
from edge_yolov9.report.evaluation import Model, accuracy_section
from edge_yolov9.report.predictions import labelled, predict
from edge_yolov9.train.check import splits, survey
from tests.conftest import DEMO, EXAMPLES

NAMES = "[RBC, WBC, Platelets]"
BCCD = EXAMPLES / "bccd"


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """DATA of six pictures in each split, with labels of YOLO."""
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (tmp_path / kind / split).mkdir(parents=True)
        for file in sorted((BCCD / "images" / split).glob("*.jpg"))[:6]:
            shutil.copy(file, tmp_path / "images" / split)
            shutil.copy(BCCD / "labels" / split / f"{file.stem}.txt", tmp_path / "labels" / split)
    (tmp_path / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames: {NAMES}\n")
    return tmp_path / "data.yaml"


def labels(data: Path) -> list[Path]:
    return sorted((data.parent / "labels" / "val").iterdir())


def images(data: Path) -> list[Path]:
    return sorted((data.parent / "images" / "val").iterdir())


def plain(data: Path) -> None:
    pass


def windows(data: Path) -> None:
    for file in (data, *labels(data)):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))


def trailing(data: Path) -> None:
    for file in images(data):
        file.write_bytes(file.read_bytes() + bytes(6000))


def linked(data: Path) -> None:
    (data.parent / "images" / "val").rename(data.parent / "far")
    (data.parent / "images" / "val").mkdir()
    (data.parent / "images" / "val" / "site").symlink_to(data.parent / "far")
    (data.parent / "labels" / "val").rename(data.parent / "near")
    (data.parent / "labels" / "val").mkdir()
    (data.parent / "labels" / "val" / "site").symlink_to(data.parent / "near")


def doubled(data: Path) -> None:
    for file in labels(data):
        file.write_text(2 * file.read_text())


def renamed(data: Path) -> None:
    for file in labels(data)[:3]:
        file.rename(file.with_name(f"{file.stem}.jpg.txt"))


def broken(data: Path) -> None:
    images(data)[0].write_bytes(images(data)[0].read_bytes()[:9000])


def empty(data: Path) -> None:
    with labels(data)[0].open("a") as file:
        file.write("0 0.5 0.5 0 0.1\n0 0.2 0.2 0.001 0.1\n")


def outside(data: Path) -> None:
    with labels(data)[0].open("a") as file:
        file.write("0 0.99 0.5 0.2 0.2\n")


def neighbour(data: Path) -> None:
    first = images(data)[0]
    first.with_name("link.jpg").symlink_to(first)
    shutil.copy(labels(data)[0], labels(data)[0].with_name("link.txt"))


def lone(data: Path) -> None:
    for file in labels(data):
        rows = [line for line in file.read_text().splitlines() if line.startswith("0 ")]
        file.write_text("\n".join(rows) + "\n")


def keypoints(data: Path) -> None:
    for file in (data.parent / "labels").rglob("*.txt"):
        file.write_text("".join(f"{line} 0.5 0.5 2\n" for line in file.read_text().splitlines()))
    data.write_text(data.read_text() + "kpt_shape: [1, 3]\n")


RIGHT = [plain, windows, trailing, linked, keypoints]
WARNED = [
    (doubled, "box that is there twice"),
    (renamed, "label file without an image"),
    (broken, "image that does not decode"),
    (empty, "box without area"),
    (outside, "box outside its image"),
    (neighbour, "image that is there twice"),
    (lone, "class without an object"),
]


def ap_of_val(bundle: Path, data: Path, told: list[str]) -> dict[str, object]:
    return evaluate(bundle, data, report=told.append).accuracy.as_dict()


def ap_of_report(bundle: Path, data: Path, told: list[str]) -> dict[str, object]:
    opened = bundles.read(bundle)
    shown = labelled(data, "val", tell=told.append)
    model = Model(opened.manifest.names, opened.manifest.thresholds, None)
    section, _ = accuracy_section(predict(opened, shown), shown, model)
    own = section.as_accuracy()
    classes = [{"name": c.name, "AP": c.ap, "AP50": c.ap50, "objects": c.objects} for c in own.classes]
    return {**own.figures, "images": own.images, "classes": tuple(classes)}


@pytest.fixture(scope="module")
def right_ap(compiled: Callable[[str, str], Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    root = tmp_path_factory.mktemp("plain")
    (root / "images" / "val").mkdir(parents=True)
    (root / "labels" / "val").mkdir(parents=True)
    for file in sorted((BCCD / "images" / "val").glob("*.jpg"))[:6]:
        shutil.copy(file, root / "images" / "val")
        shutil.copy(BCCD / "labels" / "val" / f"{file.stem}.txt", root / "labels" / "val")
    (root / "data.yaml").write_text(f"val: images/val\nnames: {NAMES}\n")
    return ap_of_val(compiled("onnx", "fp32"), root / "data.yaml", [])


@pytest.mark.parametrize("change", RIGHT)
def test_one_right_reading_has_one_ap(
    change: Callable[[Path], None],
    few: Path,
    compiled: Callable[[str, str], Path],
    right_ap: dict[str, object],
) -> None:
    change(few)
    told: list[str] = []
    assert ap_of_val(compiled("onnx", "fp32"), few, told) == right_ap
    assert ap_of_report(compiled("onnx", "fp32"), few, told) == right_ap
    assert told == []


@pytest.mark.parametrize(("change", "kind"), WARNED)
def test_val_and_report_agree_to_the_last_digit(
    change: Callable[[Path], None],
    kind: str,
    few: Path,
    compiled: Callable[[str, str], Path],
    right_ap: dict[str, object],
) -> None:
    """And say the same; training counts the same objects in val."""
    change(few)
    val: list[str] = []
    report: list[str] = []
    figures = ap_of_val(compiled("onnx", "fp32"), few, val)
    assert figures == ap_of_report(compiled("onnx", "fp32"), few, report)
    assert val == report
    assert any(line.startswith("Warning: val: ") and kind in line for line in val)
    assert figures["AP"] != right_ap["AP"] or change in (empty, lone)
    checked = survey(*splits(load_data(few)))
    counts = np.bincount(np.concatenate([record.class_id for record in checked.val.images]), minlength=3)
    assert [entry["objects"] for entry in figures["classes"]] == counts.tolist()  # type: ignore[index, attr-defined]
    assert any(kind == group.kind and group.split == "val" for group in checked.findings)


def few_bits(data: Path) -> None:
    grey = cv2.imread(str(images(data)[0]), cv2.IMREAD_GRAYSCALE).astype(np.uint16)
    images(data)[0].unlink()
    cv2.imwrite(str(data.parent / "images" / "val" / "deep.png"), grey << 4)


def tracks(data: Path) -> None:
    for file in labels(data):
        file.write_text("".join(f"{line} 0.9 1\n" for line in file.read_text().splitlines()))


def verbs(data: Path, out: Path, strict: bool = False) -> dict[str, str]:
    """What each of the five verbs says when it refuses the data; the val split stands for train, too."""
    words = {
        "train": ["train", "--data", data, "--out", out / "run", "--imgsz", 64, "--device", "cpu"],
        "val": ["val", DEMO, "--data", data],
        "compile": ["compile", DEMO, "--target", "onnx", "--precision", "fp32", "--data", data, "-o", out / "bundle"],
        "calibration": ["calibration", "select", "--data", data, "--split", "val", "-o", out / "r.toml"],
        "report": ["report", "score", out / "d.json", "--data", data, "-o", out / "report"],
    }
    (out / "d.json").write_text("{}")
    said = {}
    for verb, line in words.items():
        result = CliRunner().invoke(main, [str(word) for word in line] + ["--strict"] * strict)
        assert result.exit_code == 1, (verb, result.output)
        (said[verb],) = [text for text in result.stderr.splitlines() if text.startswith("Error:")]
    assert not (out / "run").exists()
    assert not (out / "bundle").exists()
    assert not (out / "r.toml").exists()
    return said


def nothing(data: Path) -> None:
    for file in labels(data):
        file.write_text("")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (nothing, "no object is labelled in the val split"),
        (few_bits, "multiply them by 16"),
        (tracks, "a confidence and a track id"),
    ],
)
def test_what_is_fatal_in_one_verb_is_fatal_in_all(
    change: Callable[[Path], None], says: str, few: Path, tmp_path: Path
) -> None:
    change(few)
    said = verbs(few, tmp_path)
    assert len(set(said.values())) == 1
    assert says in said["val"]


def test_strict_makes_errors_of_warnings_in_all_verbs(few: Path, tmp_path: Path) -> None:
    empty(few)
    said = verbs(few, tmp_path, strict=True)
    assert len(set(said.values())) == 1
    assert said["val"].startswith("Error: --strict: val: 1 x box without area: ")
