"""The verb ``data``: what is in a data set and what is wrong with it, for people."""

from __future__ import annotations

import base64
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edge_yolov9.cli import main
from edge_yolov9.doctor import charts, memory
from edge_yolov9.doctor.examine import examine
from edge_yolov9.doctor.sheets import MEANT, sheet
from edge_yolov9.doctor.statistics import HEAT, input_sizes
from tests.train.made import make_data


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return make_data(tmp_path / "made")


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["data", *map(str, words)])


def written(folder: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((folder / "data.json").read_text())
    return data


def test_counts_are_those_of_the_data(made: Path, tmp_path: Path) -> None:
    (made.parent / "labels" / "val" / "003.txt").write_text("")
    (made.parent / "labels" / "val" / "002.txt").write_text(
        "1 0.5 0.5 0.25 0.5\n1 0.25 0.25 0.5 0.5\n0 0.1 0.1 0.1 0.1\n"
    )
    result = run(made, "-o", tmp_path / "out", "--json", tmp_path / "copy.json")
    assert result.exit_code == 0, result.output
    data = written(tmp_path / "out")
    assert data == json.loads((tmp_path / "copy.json").read_text())
    assert data["names"] == ["red", "green"]
    train, val = data["splits"]
    assert (train["split"], train["images"], train["listed"], train["objects"]) == ("train", 12, 12, 36)
    assert (val["images"], val["empty"], val["objects"], val["crowds"]) == (4, 1, 9, 0)
    assert val["image_sizes"] == [["128 x 96", 4]]
    assert val["objects_per_image"]["most"] == 3
    assert sum(entry["objects"] for entry in val["classes"]) == 9
    for entry in val["classes"]:
        assert sum(entry["sizes"]) == entry["objects"]
    assert sum(val["brightness_histogram"]) == 4
    assert data["findings"] == []
    assert "No finding" in result.output


def test_the_heat_map_counts_boxes_over_each_cell(made: Path) -> None:
    for file in (made.parent / "labels" / "val").iterdir():
        file.write_text("0 0.25 0.25 0.5 0.5\n1 0.75 0.5 0.5 1\n")
    val = examine(made).report.splits[1]
    cells = np.array(val.heat)
    half = HEAT // 2
    assert (cells[:half, :half] == 4).all()
    assert (cells[:, half:] == 4).all()
    assert (cells[half:, :half] == 0).all()
    drawn = cv2.imdecode(np.frombuffer(charts.heat_map(val.heat), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert drawn[-1, 0] == 255
    assert drawn[0, 0] < 10


def test_the_recommended_size_keeps_boxes_over_the_finest_stride(made: Path) -> None:
    """Boxes of 2 of 128 pixels: 8 pixels at 512."""
    for split in ("train", "val"):
        for file in (made.parent / "labels" / split).iterdir():
            file.write_text("0 0.5 0.5 0.02 0.0209\n1 0.2 0.2 0.5 0.0209\n")
    report = examine(made).report
    assert report.imgsz == 512
    by_size = {row.imgsz: row.under for row in report.input_sizes}
    assert by_size[416][0] == 1
    assert by_size[512] == (0, 1, 1)
    assert input_sizes([]) == ((), None)


def test_what_train_does_not_cover_is_named(made: Path) -> None:
    (made.parent / "labels" / "val" / "000.txt").write_text(
        "1 0.5 0.5 0.9 0.99\n0 0.3 0.3 0.1 0.1\n0 0.6 0.6 0.1 0.1\n"
    )
    cv2.imwrite(str(made.parent / "images" / "val" / "001.png"), np.full((96, 128, 3), 250, np.uint8))
    covered = examine(made).report.coverage
    assert covered is not None
    assert covered.missing == ("green, large",)
    assert covered.brightness_beyond == 0.25


def test_the_page_is_one_file_that_draws_each_finding(made: Path, tmp_path: Path) -> None:
    labels = made.parent / "labels" / "val"
    text = (labels / "000.txt").read_text()
    (labels / "000.txt").write_text(text + text.splitlines()[0] + "\n")
    (made.parent / "images" / "val" / "001.png").write_bytes(b"no picture")
    result = run(made, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    page = (tmp_path / "out" / "data.html").read_text()
    assert "<script" not in page
    assert set(re.findall(r'(?:src|href)="([^;"]*)', page)) == {
        "data:image/jpeg",
        "data:image/png",
        "data:image/svg+xml",
    }
    for kind in ("val: 1 x box that is there twice", "val: 1 x image that does not decode"):
        assert f"<h3>{kind}</h3>" in page
    for drawing in re.findall(r"data:image/svg\+xml;base64,([^\"]*)", page):
        assert base64.b64decode(drawing).startswith(b"<svg")
    groups = {group.kind: group for group in examine(made).findings}
    examined = examine(made)
    data = sheet(groups["box that is there twice"], examined.records)
    assert data is not None
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).astype(int)
    assert (abs(image - np.array(MEANT)).max(axis=2) < 60).sum() > 50
    assert sheet(groups["image that does not decode"], examined.records) is None


def test_the_exit_code_is_that_of_the_other_commands(made: Path) -> None:
    (made.parent / "labels" / "val" / "000.txt").write_text("0 0.5 0.5 0 0.2\n0 0.5 0.5 0.1 0.2\n1 0.2 0.2 0.1 0.1\n")
    assert run(made).exit_code == 0
    strict = run(made, "--strict")
    assert strict.exit_code == 1
    assert "Error: --strict: val: 1 x box without area" in strict.output
    (made.parent / "labels" / "val" / "000.txt").write_text("0 0.5 0.5\n")
    broken = run(made)
    assert broken.exit_code == 1
    assert "000.txt:1: expected class x y width height, found 3 values" in broken.output
    assert "Splits" in broken.output


def test_a_split_that_cannot_be_read_leaves_the_others(made: Path, tmp_path: Path) -> None:
    made.write_text(made.read_text().replace("images/val", "../images/val"))
    result = run(made, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "write images/val" in result.output
    assert [split["split"] for split in written(tmp_path / "out")["splits"]] == ["train"]
    made.write_text("names: [red, green]\n")
    assert "has no split" in run(made).output


def test_a_second_run_looks_at_changed_pictures_alone(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []
    original = memory.look

    def counted(path: Path):  # type: ignore[no-untyped-def]
        looked.append(path.name)
        return original(path)

    monkeypatch.setattr(memory, "look", counted)
    assert run(made, "-o", tmp_path / "out").exit_code == 0
    first = written(tmp_path / "out")
    assert len(looked) == 16
    picture = made.parent / "images" / "val" / "001.png"
    picture.write_bytes((made.parent / "images" / "val" / "002.png").read_bytes())
    looked.clear()
    assert run(made, "-o", tmp_path / "out").exit_code == 0
    assert looked == ["001.png"]
    assert written(tmp_path / "out")["splits"][0] == first["splits"][0]
    assert [entry["kind"] for entry in written(tmp_path / "out")["findings"]] == ["image that is there twice"]
    (tmp_path / "out" / "pictures.json").write_text("[]")
    assert "not as edge-yolov9 wrote it" in run(made, "-o", tmp_path / "out").output


def test_images_that_look_alike_are_a_note(made: Path) -> None:
    rng = np.random.default_rng(1)
    picture = cv2.resize(rng.integers(0, 255, (6, 8, 3)).astype(np.uint8), (128, 96), interpolation=cv2.INTER_CUBIC)
    for place, name in enumerate(("004.png", "007.png")):
        cv2.imwrite(str(made.parent / "images" / "train" / name), np.clip(picture.astype(int) + place, 0, 255))
    (group,) = examine(made).findings
    assert str(group).startswith("train: 1 x image that looks like another one of its split")
    assert "007.png (as 004.png)" in str(group)


PROGRAM = """
import sys, time
from edge_yolov9.doctor import memory
real = memory.look
def slow(path):
    print("looking", flush=True)
    time.sleep(0.3)
    return real(path)
memory.look = slow
from edge_yolov9.cli import main
main(["data", sys.argv[1]])
"""


def test_ctrl_c_ends_with_one_line(made: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(made)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "looking\n"
    began = time.monotonic()
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 1
    assert time.monotonic() - began < 30
    assert "Traceback" not in errors
    assert errors.strip().splitlines()[-1] == "Aborted!"
