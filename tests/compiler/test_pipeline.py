"""Whole compilations: what stands in the manifest, and what an interrupted one leaves behind."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edge_yolov9.bundle import Bundle, read
from edge_yolov9.cli import main
from edge_yolov9.compiler import pipeline, verify
from edge_yolov9.compiler.job import OUTPUT_NAMES
from edge_yolov9.compiler.pipeline import CompileOptions, compile_checkpoint
from edge_yolov9.errors import (
    AccuracyError,
    CalibrationError,
    CheckpointError,
    InputError,
    ParityError,
    TargetError,
)
from edge_yolov9.model.session import TorchSession
from edge_yolov9.registry import open_session
from edge_yolov9.scoring.accuracy import FIGURES
from tests.conftest import DATA, DEMO
from tests.targets.jobs import frames, make_job
from tests.test_bundle import PLAIN

Compiled = Callable[..., Path]
TARGETS = ("openvino", "tflite", "jetson", "onnx")


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_bundle_states_what_it_is(compiled: Compiled, target: str, precision: str, tmp_path: Path) -> None:
    bundle = read(compiled(target, precision))
    manifest = bundle.manifest
    assert (manifest.target, manifest.precision, manifest.variant) == (target, precision, "gelan-t")
    assert manifest.names == ("RBC", "WBC", "Platelets")
    assert tuple(spec.name for spec in manifest.outputs) == OUTPUT_NAMES
    assert set(manifest.parity["tensors"]) == set(OUTPUT_NAMES)
    assert min(t["sqnr_db"] for t in manifest.parity["tensors"].values()) >= verify.LEAST_SQNR_DB[precision]
    assert manifest.tools["edge-yolov9"]
    assert len(manifest.source["sha256"]) == 64
    (tmp_path / "plain").mkdir()
    assert bundle.path.stat().st_mode == (tmp_path / "plain").stat().st_mode  # as the umask says
    assert (manifest.calibration is not None) == (precision == "int8")
    if precision == "int8":
        assert manifest.calibration is not None
        assert manifest.calibration["images"] == 128
        assert manifest.parity["boxes"]["found_again"] >= 0.9 * manifest.parity["boxes"]["float"] > 20


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_int8_is_smaller(compiled: Compiled, target: str) -> None:
    def size(precision: str) -> int:
        bundle = read(compiled(target, precision))
        return (bundle.path / str(bundle.manifest.extra.get("portable", bundle.manifest.model))).stat().st_size

    if target == "openvino":
        weights = {p: sum(f.stat().st_size for f in compiled(target, p).glob("*.bin")) for p in ("fp32", "int8")}
        assert weights["int8"] < 0.4 * weights["fp32"]
    elif target == "tflite":
        assert size("int8") < 0.5 * size("fp32")
    assert size("int8") > 0


def test_int8_without_calibration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="--calibration"):
        compile_checkpoint(DEMO, CompileOptions("onnx", precision="int8"), tmp_path / "b", print)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_checkpoint_is_named_before_images_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nosuch\.pt"):
        compile_checkpoint(tmp_path / "nosuch.pt", CompileOptions("tflite"), tmp_path / "b", print)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_finds_nothing_does_not_pass_silently(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {**dict.fromkeys(FIGURES, 0.0), "images": 72, "classes": []}
    accuracy = {"data": "bccd.yaml", "float": figures, "artifact": figures, "losing_classes": {}, "drop_points": 0.0}
    parity = {"boxes": {"float": 0, "found_again": 0}, "tensors": {"box_p3": {"sqnr_db": 50.0}}}
    blind = Bundle(tmp_path, dataclasses.replace(PLAIN, accuracy=accuracy, parity=parity))
    monkeypatch.setattr(pipeline, "compile_checkpoint", lambda *_: blind)
    result = CliRunner().invoke(main, ["compile", str(DEMO), "--target", "onnx", "-o", str(tmp_path / "b")])
    assert result.exit_code == 0, result.output
    assert "Warning: the float model itself finds nothing on this data set (AP 0)" in result.stderr
    assert "Warning" not in result.stdout


def test_a_machine_without_torch_is_told_what_compile_needs(tmp_path: Path) -> None:
    program = (
        f"import sys; sys.modules['torch'] = None; from edge_yolov9.cli import main; main({['compile', str(DEMO)]!r} + "
    )
    program += f"['--target', 'onnx', '-o', {str(tmp_path / 'b')!r}])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "compile needs torch, which is not installed" in done.stderr
    assert 'pip install "edge-yolov9[compile]"' in done.stderr


def test_unknown_board_and_bad_size(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="unknown board"):
        compile_checkpoint(DEMO, CompileOptions("onnx", device="toaster", precision="fp32"), tmp_path / "b", print)
    with pytest.raises(InputError, match="multiple of 32, got 333; use 320"):
        compile_checkpoint(DEMO, CompileOptions("onnx", precision="fp32", input_size=(333, 320)), tmp_path / "b", print)
    assert list(tmp_path.iterdir()) == []


def test_calibrating_on_the_scored_split_is_refused(tmp_path: Path) -> None:
    pictures = DATA.parent / "bccd" / "images" / "val"
    options = CompileOptions("onnx", precision="int8", calibration=pictures, data=DATA)
    with pytest.raises(CalibrationError, match="calibrate on the train split"):
        compile_checkpoint(DEMO, options, tmp_path / "b", print)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_drop_over_the_budget_leaves_no_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_yolov9.compiler import gate

    monkeypatch.setattr(gate, "Detector", _Blind)
    options = CompileOptions("onnx", precision="fp32", data=DATA, max_drop=1.0)
    with pytest.raises(AccuracyError, match="more than the budget of 1"):
        compile_checkpoint(DEMO, options, tmp_path / "b", print)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_fine_tuning_is_an_attempt_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_yolov9.compiler import search

    monkeypatch.setattr(search, "AIM", -100.0)
    monkeypatch.setattr(search, "RIVAL", 0.0)
    options = CompileOptions(
        "openvino", precision="int8", input_size=(160, 160), calibration=DATA, calibration_images=8, fine_tuning=2
    )
    found = compile_checkpoint(DEMO, options, tmp_path / "b", print).manifest
    assert found.compilation.search is not None
    assert found.compilation.plan is not None
    first, second = found.compilation.search.attempts
    assert second.ranges == f"{first.ranges}, fine-tuned"
    assert None not in (first.drop_points, second.drop_points)
    assert abs(second.drop_points - first.drop_points) < 3
    assert found.accuracy is not None
    taken = second if found.compilation.plan.fine_tuning_steps == 2 else first
    assert found.accuracy["drop_points"] == taken.drop_points == min(first.drop_points, second.drop_points)


class _Blind:
    """A detector that sees one object, wrongly placed, per frame."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __call__(self, frame: np.ndarray) -> object:
        from edge_yolov9.detections import Detections

        box = np.array([[0, 0, 1, 1]], np.float32)
        return Detections(box, np.ones(1, np.float32), np.zeros(1, np.int64), ("RBC", "WBC", "Platelets"))

    def __enter__(self) -> _Blind:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.mark.slow
def test_a_wrong_artifact_is_caught(compiled: Compiled, tmp_path: Path) -> None:
    bundle = read(compiled("onnx", "fp32"))
    job = make_job(tmp_path, "fp32")
    session = open_session(bundle)
    figures = verify.compare(TorchSession(job.heads), session, bundle, frames(2))
    assert all(tensor["max_abs"] < 1e-2 for tensor in figures["tensors"].values())

    class Swapped:
        def infer(self, image: np.ndarray) -> list[np.ndarray]:
            return [np.roll(array, 1, axis=1) for array in session.infer(image)]

    with pytest.raises(ParityError, match="signal to noise"):
        verify.compare(TorchSession(job.heads), Swapped(), bundle, frames(2))  # type: ignore[arg-type]
    broken = dataclasses.replace(bundle)

    class Broken:
        def infer(self, image: np.ndarray) -> list[np.ndarray]:
            return [np.full_like(array, np.nan) for array in session.infer(image)]

    with pytest.raises(ParityError):
        verify.compare(TorchSession(job.heads), Broken(), broken, frames(2))  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_compile_leaves_no_bundle(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "edge_yolov9", "compile", str(DEMO), "--target", "onnx", "--precision", "int8"]
    command += ["--calibration", str(DATA), "-o", str(tmp_path / "b")]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as p:
        assert p.stderr is not None
        for line in p.stderr:
            if "export ONNX" in line:
                break
        p.send_signal(number)
        rest = p.stderr.read()
    assert p.returncode != 0
    assert "Traceback" not in rest
    visible = [path for path in tmp_path.iterdir() if not path.name.startswith(".")]
    assert visible == []
    assert not list(tmp_path.rglob("manifest.json"))
    if number != signal.SIGKILL:
        assert list(tmp_path.iterdir()) == []
