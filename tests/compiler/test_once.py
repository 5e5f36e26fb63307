"""What every precision and every attempt of a compilation shares is read, computed and measured once."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from click.testing import CliRunner

from edge_yolov9 import bundle as bundles
from edge_yolov9 import registry
from edge_yolov9.bench import latency
from edge_yolov9.cli import main
from edge_yolov9.compiler import auto, search
from edge_yolov9.compiler.calibration import recipe
from edge_yolov9.compiler.gate import Gate
from edge_yolov9.compiler.pipeline import CompileOptions
from edge_yolov9.data import dataset
from tests.compiler.test_auto import BOARD
from tests.conftest import DATA, DEMO

BCCD = DATA.parent / "bccd"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A DATA file of four validation pictures of BCCD."""
    coco = json.loads((BCCD / "annotations" / "instances_val.json").read_text())
    coco["images"] = coco["images"][:4]
    kept = {image["id"] for image in coco["images"]}
    coco["annotations"] = [item for item in coco["annotations"] if item["image_id"] in kept]
    (tmp_path / "val.json").write_text(json.dumps(coco))
    val = {"images": str(BCCD / "images" / "val"), "annotations": str(tmp_path / "val.json")}
    data = {"val": val, "names": ["RBC", "WBC", "Platelets"]}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(data))
    return tmp_path / "small.yaml"


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each step is taken."""
    calls: Counter[str] = Counter()

    def count(owner: Any, name: str, step: str, relevant: Callable[..., bool] = lambda *_: True) -> None:
        function = getattr(owner, name)

        @functools.wraps(function)
        def counted(*args: Any, **kwargs: Any) -> Any:
            calls[step] += relevant(*args)
            return function(*args, **kwargs)

        monkeypatch.setattr(owner, name, counted)

    count(torch.nn.Module, "load_state_dict", "checkpoint loaded")
    count(torch.onnx, "export", "exported")
    count(Gate, "simulate", "float AP measured")
    count(bundles, "sha256", "checkpoint hashed", lambda path: path == DEMO)
    count(recipe, "read", "recipe read")
    count(dataset, "read_yaml", "DATA read")
    return calls


@pytest.mark.slow
def test_precisions_and_attempts_share_what_does_not_depend_on_them(
    small: Path, tmp_path: Path, counts: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = tmp_path / "bccd.toml"
    words = ["calibration", "select", "--data", str(DATA), "-n", "4", "-o", str(chosen)]
    assert CliRunner().invoke(main, words).exit_code == 0
    monkeypatch.setattr(search, "AIM", -100.0)  # so that INT8 takes several attempts
    monkeypatch.setattr(search, "RIVAL", 1e9)
    monkeypatch.setattr(latency, "in_turn", lambda folders: [[5.0] for _ in folders])
    counts.clear()
    options = CompileOptions(
        "onnx",
        device=BOARD,
        input_size=(64, 64),
        calibration=f"{chosen}={BCCD / 'images' / 'train'}",
        data=small,
        max_drop=100,
        fine_tuning=0,
    )
    made = auto.compile_fastest(DEMO, options, tmp_path / "b", lambda line: None).manifest.compilation
    assert made.auto is not None
    assert set(made.auto.candidates) == set(registry.boards("onnx")[BOARD].precisions) == {"int8", "fp16", "fp32"}
    assert {row.out for row in made.auto.candidates.values()} == {None}
    assert dict(counts) == dict.fromkeys(counts, 1)
    assert len(counts) == 6


@pytest.mark.slow
def test_a_data_file_that_calibrates_and_scores_is_read_once(
    tmp_path: Path, counts: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    read_coco = dataset.read_coco
    monkeypatch.setattr(dataset, "read_coco", lambda file, names: read.append(file.name) or read_coco(file, names))
    words = ["compile", DEMO, "--target", "onnx", "--precision", "int8", "--imgsz", 64, "--calibration", DATA]
    words += ["--calibration-images", 2, "--max-drop", 100, "--fine-tuning", 0, "-o", tmp_path / "b"]
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.stderr
    assert counts["DATA read"] == 1
    assert sorted(read) == ["instances_train.json", "instances_val.json"]
