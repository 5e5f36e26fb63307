"""``edge-yolov9 train``: one line for bad input, nothing written."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge_yolov9.bundle import read
from edge_yolov9.checkpoint import load
from edge_yolov9.cli import main
from edge_yolov9.compiler.pipeline import CompileOptions, compile_checkpoint
from edge_yolov9.train.settings import Settings
from edge_yolov9.variants import GraphOptions
from tests.train.made import make_data


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["train", *map(str, arguments)])


def refused(result: Result, *parts: str) -> None:
    assert result.exit_code not in (0, None)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    last = result.output.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    for part in parts:
        assert part in last
    assert "Traceback" not in result.output


def test_every_setting_is_a_documented_option_with_its_default() -> None:
    text = " ".join(call("--help").output.split())
    for setting in fields(Settings):
        assert f"--{setting.name.replace('_', '-')}" in text
        assert setting.default is None or f"[default: {setting.default}]" in text


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ((), ("--data is missing",)),
        (("--data", "missing.yaml"), ("cannot read the data file", "missing.yaml")),
        (("--data", "DATA", "--imgsz", 100), ("multiple of 32", "got 100")),
        (("--data", "DATA", "--model", "yolov8-n"), ("unknown model", "yolov9-t")),
        (("--data", "DATA", "--device", "77"), ("GPUs",)),
        (("--data", "DATA", "--pretrained", "nothing.pt"), ("nothing.pt",)),
        (("--data", "DATA", "--model", "gelan-t", "--auxiliary", "fpn"), ("no auxiliary branch", "yolov9-*")),
        (("--data", "DATA", "--csp-depth", 99), ("depth must be 1 to 16",)),
        (("--resume", "nowhere"), ("no run to resume in nowhere",)),
        (("--resume", "nowhere", "--out", "x"), ("leave out --out",)),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    arguments: tuple[object, ...], parts: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_data(tmp_path / "data")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    refused(call(*(data if a == "DATA" else a for a in arguments)), *parts)
    assert not list(work.iterdir())


def test_bad_labels(tmp_path: Path) -> None:
    data, out = make_data(tmp_path / "data"), tmp_path / "out"
    label = data.parent / "labels" / "train" / "003.txt"
    label.write_text("7 0.5 0.5 0.2 0.2\n")
    refused(call("--data", data, "--out", out), "003.txt:1", "class 7 is not one of 0 to 1")
    label.write_text("0 0.5 0.5 0.2 0.2\n")
    (data.parent / "images" / "train" / "003.png").write_bytes(b"")
    refused(call("--data", data, "--out", out, "--strict"), "--strict", "does not decode", "003.png")
    for file in (data.parent / "labels" / "train").iterdir():
        file.unlink()
    refused(call("--data", data, "--out", out), "labels")
    data.write_text("train: [\n")
    refused(call("--data", data, "--out", out), "is not YAML")
    assert not out.exists()


def test_out_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    data, out = make_data(tmp_path / "data"), tmp_path / "out"
    out.mkdir()
    (out / "precious").write_text("mine")
    refused(call("--data", data, "--out", out, "--imgsz", 64, "--device", "cpu"), "not empty", "choose another --out")
    assert [file.name for file in out.iterdir()] == ["precious"]


@pytest.mark.slow
def test_a_graph_of_the_users_own_trains_and_compiles(tmp_path: Path) -> None:
    data, out = make_data(tmp_path / "data"), tmp_path / "out"
    graph = ["--auxiliary", "pfh", "--assign", "lead", "--block", "dark", "--elan-depth", "1", "--csp-depth", "1"]
    short = ["--imgsz", "64", "--batch", "6", "--nominal-batch", "6", "--epochs", "1", "--device", "cpu"]
    licences = ("--weights-licence", "mine alone", "--data-licence", "CC0")
    result = call("--data", data, "--out", out, *graph, *short, *licences)
    assert result.exit_code == 0, result.output
    model = load(out / "best.safetensors").model
    assert model.options == GraphOptions("pfh", "dark", 1, 1)
    bundle = tmp_path / "bundle"
    compile_checkpoint(out / "best.safetensors", CompileOptions("onnx", precision="fp32"), bundle, lambda line: None)
    assert read(bundle).manifest.licence == {"weights": "mine alone", "data": "CC0"}
