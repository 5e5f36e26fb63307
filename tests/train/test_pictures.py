"""What a run leaves in its folder besides weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from edge_yolov9.checkpoint import load
from edge_yolov9.cli import main
from edge_yolov9.data import load_data
from edge_yolov9.decode import DecodeOptions, Decoder
from edge_yolov9.train import pictures
from edge_yolov9.train.tensorboard import BOARD, Board
from edge_yolov9.train.validation import predict

OPTIONS = [
    "--imgsz",
    "64",
    "--batch",
    "6",
    "--nominal-batch",
    "6",
    "--epochs",
    "2",
    "--close-mosaic",
    "1",
    "--device",
    "cpu",
]


@pytest.fixture(scope="module")
def run(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    result = CliRunner().invoke(main, ["train", "--data", str(made), "--out", str(out), *OPTIONS])
    assert result.exit_code == 0, result.output
    return out


def test_every_picture_is_there_and_decodes(run: Path) -> None:
    names = (pictures.TRAINING, pictures.VALIDATION, pictures.RESULTS, pictures.PRECISION_RECALL, pictures.CONFUSION)
    for name in names:
        image = cv2.imread(str(run / name))
        assert image is not None, name
        assert np.asarray(image).std() > 5
    sheet = cv2.imread(str(run / pictures.TRAINING))
    assert sheet is not None
    assert sheet.shape == (3 * pictures.TILE, 3 * pictures.TILE, 3)
    assert not [file for file in run.iterdir() if file.name.startswith(".")]


def test_validation_pictures_show_what_is_deployed(run: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def listening(self: Decoder, raw: object, options: DecodeOptions) -> object:
        asked.append(options)
        return np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)

    monkeypatch.setattr(Decoder, "__call__", listening)
    predict(load(run / "best.safetensors").model, load_data(made).split("val"), 64, pictures.DEPLOYED)
    assert asked == [pictures.DEPLOYED] * 4


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = EventAccumulator(str(folder / BOARD))
    log.Reload()
    return {tag: [(e.step, e.value) for e in log.Scalars(tag)] for tag in log.Tags()["scalars"]}


def test_tensorboard_holds_the_rows_of_results(run: Path) -> None:
    header, *rows = [line.split(",") for line in (run / "results.csv").read_text().split()]
    found = scalars(run)
    assert len(found) == len(header) - 1
    for tag, values in found.items():
        column = header.index(tag.split("/")[1])
        assert [step for step, _ in values] == [1, 2]
        assert [value for _, value in values] == pytest.approx([float(row[column]) for row in rows], rel=1e-5)


def test_an_epoch_that_is_done_again_replaces_what_was_logged(tmp_path: Path) -> None:
    for rows in ([(1, 0.1), (2, 0.2), (3, 0.3)], [(3, 0.4), (4, 0.5)]):
        board = Board(tmp_path)
        for epoch, ap in rows:
            board.epoch({"epoch": epoch, "AP": ap})
        board.close()
    values = scalars(tmp_path)["val/AP"]
    assert [step for step, _ in values] == [1, 2, 3, 4]
    assert [value for _, value in values] == pytest.approx([0.1, 0.2, 0.4, 0.5])


def test_without_matplotlib_and_tensorboard_a_run_ends_well(made: Path, tmp_path: Path) -> None:
    arguments = ["train", "--data", str(made), "--out", str(tmp_path / "out"), *OPTIONS, "--epochs", "1"]
    code = (
        "import sys; sys.modules['matplotlib'] = sys.modules['tensorboard'] = None\n"
        f"from edge_yolov9.cli import main; main({arguments})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no figures: this needs matplotlib, which is not installed; run: pip install" in done.stderr
    files = {file.name for file in (tmp_path / "out").iterdir()}
    assert {"best.safetensors", "results.csv", pictures.VALIDATION} <= files
    assert not files & {pictures.RESULTS, BOARD}
