"""Jetson boards and bundles at the command line; engines are in ``tests/targets``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge_yolov9 import bundle as bundles
from edge_yolov9.cli import main
from tests.conftest import DEMO, PICTURES
from tests.targets import fake_tensorrt


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_a_board_is_explained() -> None:
    text = run("targets", "--device", "orin-nano").stdout
    assert "compute_capability  8.7" in text
    assert "6.2: tensorrt 10.3, cuda 12.6, python 3.10" in text
    assert "int8_tops           20.0" in text
    assert "workspace_mib       1024" in text
    assert "raspberry" not in text
    nano = run("targets", "--device", "nano").stdout
    assert "int8: its GPU (compute capability 5.3) has no INT8 instructions" in nano
    assert "precisions          fp16, fp32" in nano


def test_an_unknown_board_is_refused_with_the_known_ones() -> None:
    result = run("targets", "--device", "orin-mini")
    assert result.exit_code == 1
    assert "unknown board 'orin-mini'; expected one of" in result.stderr
    assert "agx-xavier" in result.stderr


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--device", "nano", "--precision", "int8"], "no INT8 instructions.*take --precision fp16"),
        (["--device", "orin-nano", "--precision", "fp16", "--dla"], "orin-nano has no DLA that TensorRT supports"),
        (["--device", "agx-orin", "--precision", "int8", "--dla"], "--dla takes --precision fp16, not int8"),
        (["--device", "agx-orin", "--precision", "fp16", "--camera", "big"], "expected a size like 640 or 384x640"),
        (["--device", "agx-orin", "--precision", "fp16", "--camera", "0x640"], "expected a size like 640 or 384x640"),
    ],
)
def test_what_a_board_cannot_do_is_refused_at_once(words: list[str], reason: str, tmp_path: Path) -> None:
    result = run("compile", DEMO, "--target", "jetson", *words, "-o", tmp_path / "bundle")
    assert result.exit_code != 0
    assert re.search(reason, " ".join(result.output.split())), result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "bundle").exists()


def test_jetson_options_of_other_targets_are_refused(tmp_path: Path) -> None:
    result = run("compile", DEMO, "--target", "onnx", "--precision", "fp32", "--dla", "-o", tmp_path / "bundle")
    assert result.exit_code == 1
    assert "--dla belongs to --target jetson, not to onnx; leave it out" in result.stderr


@pytest.mark.slow
def test_from_checkpoint_to_a_bundle_that_checks_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt.make("10.3.0")[0])  # compiling leaves it alone
    path = tmp_path / "bundle"
    words = ["--device", "agx-orin", "--precision", "fp16", "--imgsz", "96", "--camera", "480x640", "--dla"]
    words += ["--calibration", str(PICTURES.parent / "train")]
    made = run("compile", DEMO, "--target", "jetson", *words, "-o", path)
    assert made.exit_code == 0, made.output
    manifest = bundles.read(path).manifest
    assert manifest.extra["workspace_mib"] == 4096
    assert manifest.extra["camera"]["letterbox"] in manifest.files
    assert manifest.extra["dla"]["gpu"] == {}
    assert {"check.npz", "layers.json", "trtexec.txt", "deepstream.txt", "model_typed.onnx"} <= manifest.files.keys()
    text = run("info", path).stdout
    assert "convolutions 185" in text
    assert "estimate, ms per frame (roofline at the rates of the profile; none was measured) orin-nano" in text
    checked = run("jetson", "check", path, "--runtime", "onnx")
    assert checked.exit_code == 0, checked.output
    assert "fp16 on the bundle's real images" in checked.stdout


def test_a_bundle_for_another_target(tmp_path: Path) -> None:
    result = run("jetson", "check", tmp_path)
    assert "it is not a bundle" in result.stderr
    assert run("jetson", "build", tmp_path / "nowhere").exit_code == 1
