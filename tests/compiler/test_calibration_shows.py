"""Calibration images that show nothing: seen from what the float model finds on them, before anything is quantized."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_yolov9.compiler.inputs import CompileInputs
from edge_yolov9.compiler.options import CompileOptions
from edge_yolov9.compiler.stages import Stages
from edge_yolov9.errors import CalibrationError
from tests.conftest import DATA, DEMO, PICTURES

TRAIN = sorted((PICTURES.parent / "train").iterdir())
SIZE = (160, 160)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DATA with eight pictures."""
    root = tmp_path_factory.mktemp("few")
    for kind in ("images", "labels"):
        (root / kind).mkdir()
    for file in sorted(PICTURES.iterdir())[:8]:
        shutil.copy(file, root / "images")
        shutil.copy(PICTURES.parents[1] / "labels" / "val" / f"{file.stem}.txt", root / "labels")
    (root / "data.yaml").write_text("val: images\nnames: [RBC, WBC, Platelets]\n")
    return root / "data.yaml"


def black(folder: Path) -> None:
    for i in range(8):
        cv2.imwrite(str(folder / f"{i}.png"), np.full((480, 640, 3), i, np.uint8))


def noise(folder: Path) -> None:
    for i in range(8):
        cv2.imwrite(str(folder / f"{i}.png"), np.random.default_rng(i).integers(0, 255, (480, 640, 3)).astype(np.uint8))


def background(folder: Path) -> None:
    """Of each picture the 80 pixels that differ least, enlarged."""
    for i, file in enumerate(TRAIN[:8]):
        image = cv2.imread(str(file))
        corners = [(y, x) for y in range(0, 401, 40) for x in range(0, 561, 40)]
        y, x = min(corners, key=lambda at: image[at[0] : at[0] + 80, at[1] : at[1] + 80].std())
        cv2.imwrite(str(folder / f"{i}.png"), cv2.resize(image[y : y + 80, x : x + 80], (640, 480)))


def copies(folder: Path) -> None:
    for i in range(8):
        shutil.copy(TRAIN[0], folder / f"{i}.jpg")


def good(folder: Path) -> None:
    for file in TRAIN[:8]:
        shutil.copy(file, folder)


def told(folder: Path, scratch: Path, data: Path | None = None, strict: bool = False) -> list[str]:
    """Warnings of a compilation that calibrates on a folder."""
    lines: list[str] = []
    options = CompileOptions("onnx", precision="int8", input_size=SIZE, calibration=folder, data=data, strict=strict)
    CompileInputs(DEMO, options, scratch, Stages(lines.append)).check("int8")
    return [line.strip() for line in lines if "Warning:" in line]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (black, "finds 0 boxes on 0 of 8 images"),
        (noise, "finds 0 boxes on 0 of 8 images"),
        (background, "boxes on"),
        (copies, "there is only one image, copies left out"),
    ],
)
def test_what_shows_nothing(make, why: str, labelled: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "images").mkdir()
    make(tmp_path / "images")
    with pytest.raises(CalibrationError, match=f"hardly show what INT8 has to keep: .*{why}.*or add --data"):
        told(tmp_path / "images", tmp_path)
    assert why in told(tmp_path / "images", tmp_path, labelled)[-1]
    with pytest.raises(CalibrationError, match="--strict: "):
        told(tmp_path / "images", tmp_path, labelled, strict=True)


def test_good_images_need_no_word(labelled: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    good(tmp_path / "images")
    assert told(tmp_path / "images", tmp_path, labelled, strict=True) == []
    assert told(DATA, tmp_path) == []


def test_copies_calibrate_once_and_are_named(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    good(tmp_path / "images")
    shutil.copy(TRAIN[0], tmp_path / "images" / "z.jpg")
    (line,) = told(tmp_path / "images", tmp_path)
    assert f"calibration: 1 x image that is there twice: {tmp_path / 'images' / 'z.jpg'}"[-60:] in line
    assert line.endswith(f"(as {TRAIN[0].name}); it counts once")
