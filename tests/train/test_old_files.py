"""Run folders, checkpoints and recipes that commit 1757f0c wrote still open."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from edge_yolov9.cli import main
from edge_yolov9.compiler.calibration import choose
from tests.conftest import EXAMPLES, ROOT

OLD = ROOT / "tests" / "fixtures" / "training-1757f0c"
PICTURES = EXAMPLES / "bccd" / "images" / "train"
TYPES = {"F32": torch.float32, "I64": torch.int64, "U8": torch.uint8}


def filled(name: str, path: Path) -> Path:
    """The recorded file with small random weights; statistics of 1 and a valid random generator where one was."""
    recorded: dict[str, Any] = json.loads(gzip.decompress((OLD / f"{name}.json.gz").read_bytes()))
    random = torch.Generator().manual_seed(0)
    tensors = {}
    for key, (kind, shape) in recorded["tensors"].items():
        value = torch.zeros(shape, dtype=TYPES[kind])
        if key.endswith(("running_var", "bn.weight")):
            value += 1
        elif kind == "F32" and not key.startswith("momentum/"):
            value = 0.02 * torch.randn(shape, generator=random)
        tensors[key] = value
    if "rng/cpu" in tensors:
        tensors["rng/cpu"] = torch.get_rng_state()
    save_file(tensors, path, recorded["metadata"])
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The DATA file of the recorded run: four pictures to learn from, two to score."""
    for split, count in (("train", 4), ("val", 2)):
        files = sorted((EXAMPLES / "bccd" / "images" / split).iterdir())[:count]
        (tmp_path / f"{split}.txt").write_text("".join(f"{file}\n" for file in files))
    file = tmp_path / "data.yaml"
    file.write_text("train: train.txt\nval: val.txt\nnames: [RBC, WBC, Platelets]\n")
    return file


def test_a_run_goes_on(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    filled("state", run / "state.safetensors")
    result = CliRunner().invoke(main, ["train", "--resume", str(run), "--data", str(data)])
    assert result.exit_code == 0, result.output
    rows = (run / "results.csv").read_text().splitlines()
    assert [row.partition(",")[0] for row in rows] == ["epoch", "1", "2"]


def test_a_checkpoint_opens(tmp_path: Path) -> None:
    from edge_yolov9.checkpoint import load

    checkpoint = load(filled("checkpoint", tmp_path / "best.safetensors"))
    assert (checkpoint.variant, checkpoint.names) == ("gelan-t", ("RBC", "WBC", "Platelets"))
    assert checkpoint.input_size == (64, 64)
    assert checkpoint.facts["training"]["epoch"] == 1


def test_a_recipe_gives_its_images() -> None:
    images = choose(f"{OLD / 'recipe.toml'}={PICTURES}", 2, 0, (64, 64), ("RBC", "WBC", "Platelets"))
    assert [path.name for path in images.paths] == ["BloodImage_00003.jpg", "BloodImage_00002.jpg"]
