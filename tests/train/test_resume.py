"""Never lose a run: killed, interrupted, full disk, NaN."""

from __future__ import annotations

import csv
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from edge_yolov9.checkpoint import Checkpoint, load
from edge_yolov9.errors import InputError, TrainingError
from edge_yolov9.train import pictures
from edge_yolov9.train.engine import Engine
from edge_yolov9.train.folder import BEST, LAST, RESULTS, Folder
from edge_yolov9.train.loop import Trainer
from edge_yolov9.train.start import Request, start
from edge_yolov9.train.state import STATE, Position, atomic_write, read_state, write_state
from edge_yolov9.train.tensorboard import BOARD

TINY: dict[str, Any] = {
    "model": "gelan-t", "imgsz": 64, "batch": 4, "nominal_batch": 8, "epochs": 3, "close_mosaic": 1,
    "warmup_iterations": 4, "warmup_epochs": 1.0, "save_minutes": 0.0, "workers": 0,
}  # fmt: skip


def command(data: Path, out: Path) -> list[str]:
    options = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    return [sys.executable, "-m", "edge_yolov9", "train", "--data", str(data), "--out", str(out), *options]


def rows(out: Path) -> list[dict[str, str]]:
    """results.csv without its clock."""
    with (out / RESULTS).open() as file:
        return [{k: v for k, v in r.items() if k not in ("seconds", "images_per_s")} for r in csv.DictReader(file)]


def assert_same_run(a: Path, b: Path) -> None:
    """Every bit of model, average, optimizer, random state and results."""
    (left, at, _), (right, there, _) = read_state(a / STATE), read_state(b / STATE)
    assert left.keys() == right.keys()
    assert [key for key in left if not torch.equal(left[key], right[key])] == []
    assert (at.epoch, at.batch, at.updates, at.best_ap) == (there.epoch, there.batch, there.updates, there.best_ap)
    assert rows(a) == rows(b)
    for name in (BEST, LAST):
        one, two = load_file(a / name), load_file(b / name)
        assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.fixture(scope="module")
def whole(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nobody disturbed."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("whole") / "run"
    result = start(Request(made, out, device="cpu", settings=TINY))
    torch.set_num_threads(before)
    assert result.finished
    return out


def test_a_run_leaves_checkpoints_and_results(whole: Path) -> None:
    figures = {pictures.TRAINING, pictures.VALIDATION, pictures.RESULTS, pictures.PRECISION_RECALL, pictures.CONFUSION}
    assert {file.name for file in whole.iterdir()} == {BEST, LAST, RESULTS, STATE, BOARD} | figures
    checkpoint = load(whole / LAST)
    assert (checkpoint.variant, checkpoint.names, checkpoint.input_size) == ("gelan-t", ("red", "green"), (64, 64))
    assert checkpoint.facts["training"]["settings"]["nominal_batch"] == 8
    assert checkpoint.facts["training"]["epoch"] == 3
    assert [row["epoch"] for row in rows(whole)] == ["1", "2", "3"]


@pytest.mark.slow
def test_killed_twice_and_resumed_is_bit_identical(made: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = command(made, out)
    for epoch in (0, 1):
        process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            if (out / STATE).exists():
                with safe_open(out / STATE, framework="pt") as file:
                    position = json.loads(file.metadata()["state"])["position"]
                if position["epoch"] == epoch and position["batch"] > 0:  # inside an epoch
                    break
            time.sleep(0.02)
        assert process.poll() is None, "the run ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
        arguments = [sys.executable, "-m", "edge_yolov9", "train", "--resume", str(out)]
    assert start(Request(resume=out, device="cpu")).finished
    assert_same_run(whole, out)


def test_ctrl_c_saves_and_the_rest_is_bit_identical(made: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    step = Engine.step
    taken = 0

    def interrupting(self: Engine, rates: Any) -> bool:
        nonlocal taken
        moved = step(self, rates)
        taken += 1
        if taken == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return moved

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "step", interrupting)
        result = start(Request(made, out, device="cpu", settings={**TINY, "save_minutes": 99.0}))
    assert not result.finished
    assert read_state(out / STATE)[1].updates == 1
    assert start(Request(resume=out, device="cpu")).finished
    assert_same_run(whole, out)


class Killed(BaseException):
    """Stands for SIGKILL where a test picks the moment."""


def test_a_kill_between_checkpoint_and_state_repeats_the_epoch(made: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"

    def killed(self: Trainer) -> None:
        if self.position.epoch == 2 and self.position.batch == 0:
            raise Killed
        save(self)

    save = Trainer.save
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "save", killed)
        with pytest.raises(Killed):
            start(Request(made, out, device="cpu", settings=TINY))
    assert len(rows(out)) == 2
    assert read_state(out / STATE)[1].epoch == 1
    assert start(Request(resume=out, device="cpu")).finished
    assert_same_run(whole, out)


def test_a_kill_before_the_first_iteration_is_resumed_too(made: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"

    def killed(self: Trainer) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "run", killed)
        with pytest.raises(Killed):
            start(Request(made, out, device="cpu", settings=TINY))
    assert {file.name for file in out.iterdir()} == {STATE, pictures.TRAINING}
    assert start(Request(resume=out, device="cpu")).finished
    assert_same_run(whole, out)


@contextmanager
def file_limit(size: int) -> Iterator[None]:
    """No file may grow over ``size`` bytes: what a full disk looks like to a writer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_is_an_error_that_leaves_the_last_good_files(made: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    save_epoch = Folder.save_epoch

    def filling(self: Folder, checkpoint: Checkpoint, history: Sequence[Mapping[str, float]], best: bool) -> None:
        with file_limit(1 << 20 if len(history) == 2 else resource.RLIM_INFINITY):
            save_epoch(self, checkpoint, history, best)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Folder, "save_epoch", filling)
        with pytest.raises(TrainingError, match="make room"):
            start(Request(made, out, device="cpu", settings=TINY))
    assert {file.name for file in out.iterdir()} == {BEST, LAST, RESULTS, STATE, BOARD, pictures.TRAINING}
    assert load(out / LAST).facts["training"]["epoch"] == 1
    assert start(Request(resume=out, device="cpu")).finished
    assert_same_run(whole, out)


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "state"
    atomic_write(file, b"good")
    with file_limit(1024), pytest.raises(TrainingError, match="last good files are kept"):
        atomic_write(file, bytes(4096))
    assert file.read_bytes() == b"good"
    assert list(tmp_path.iterdir()) == [file]


def test_nan_loss_stops_with_the_batch_named_and_saved(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    step = Engine.step

    def poisoned(self: Engine, rates: Any) -> bool:
        moved = step(self, rates)
        with torch.no_grad():
            next(self.model.parameters()).fill_(float("nan"))
        return moved

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "step", poisoned)
        with pytest.raises(TrainingError, match=r"epoch 1, batch \d.*\.png.*bad-batch-0\.safetensors: weight backbone"):
            start(Request(made, out, device="cpu", settings={**TINY, "save_minutes": 99.0}))
    kept = load_file(out / "bad-batch-0.safetensors")
    assert kept["images"].shape == (4, 64, 64, 3)
    assert kept["boxes"].shape[1] == 6
    assert not (out / LAST).exists()


def test_resume_with_other_settings_or_data_says_which(made: Path, whole: Path, tmp_path: Path) -> None:
    before = (whole / STATE).read_bytes()
    with pytest.raises(InputError, match=r"lr: 0.01 there, 0.5 here; flip: 0.5 there, 0.1 here"):
        start(Request(resume=whole, device="cpu", settings={"lr": 0.5, "flip": 0.1}))
    with pytest.raises(InputError, match="finished after 3 epochs"):
        start(Request(resume=whole, device="cpu"))
    with pytest.raises(InputError, match="leave out --out"):
        start(Request(resume=whole, out=tmp_path))
    with pytest.raises(TrainingError, match="no run to resume"):
        start(Request(resume=tmp_path))
    with pytest.raises(InputError, match="not empty, nothing was overwritten; go on with --resume"):
        start(Request(made, whole, device="cpu", settings=TINY))
    assert (whole / STATE).read_bytes() == before


def test_state_round_trip_and_damage(tmp_path: Path) -> None:
    file = tmp_path / STATE
    position = Position(3, 1, 40, (0.1, 0.2, 1 / 3), ({"epoch": 1, "AP": 0.1},), 2, 0.1, {"scale": 65536.0})
    write_state(file, {"a": torch.arange(6.0).view(2, 3).t()}, position, {"settings": {}})
    tensors, told, run = read_state(file)
    assert told == position
    assert run == {"settings": {}}
    assert torch.equal(tensors["a"], torch.arange(6.0).view(2, 3).t())
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(TrainingError, match="damaged"):
        read_state(file)
