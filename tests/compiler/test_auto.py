"""``--precision auto``: what it compares, what it takes, what it says, and where it does not measure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_yolov9 import bundle as bundles
from edge_yolov9 import registry
from edge_yolov9.bench import latency
from edge_yolov9.bundle import InputRule, Manifest, TensorSpec
from edge_yolov9.bundle.record import AutoRecord, CandidateRecord
from edge_yolov9.cli import main
from edge_yolov9.compiler import auto
from edge_yolov9.compiler.inputs import CompileInputs
from edge_yolov9.compiler.pipeline import CompileOptions
from edge_yolov9.errors import AccuracyError, CalibrationError, CompileError, RuntimeNotInstalled, TargetError
from tests.conftest import DATA, DEMO

BOARD = next(name for name, board in registry.boards("onnx").items() if board.machine == auto.MACHINE)
TRAIN = DATA.parent / "bccd" / "images" / "train"

Pretend = Callable[..., None]


def fake_bundle(folder: Path, options: CompileOptions, precision: str, drop: float) -> bundles.Bundle:
    """A sealed bundle with a model file of its own."""
    outputs = tuple(
        TensorSpec(f"{kind}_p{level}", (1, 64 if kind == "box" else 1, 32 >> level, 32 >> level), "float32", "NCHW")
        for level in (3, 4, 5)
        for kind in ("box", "class")
    )
    manifest = Manifest(
        variant="gelan-t",
        names=("bus",),
        target=options.target,
        board=BOARD,
        precision=precision,
        input=InputRule(TensorSpec("images", (1, 32, 32, 3), "uint8", "NHWC"), 32, 32),
        outputs=outputs,
        model="model",
        parity={"boxes": {"float": 0}, "tensors": {"box_p3": {"sqnr_db": 30.0}}},
        accuracy={"drop_points": drop} if options.data else None,
        source={"file": "a.pt", "options": {"activation": "relu6"}},
        extra={"portable": "model"},
    )
    with bundles.writing(folder) as draft:
        (draft / "model").write_text(precision)
        bundles.seal(draft, manifest)
    return bundles.read(folder)


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """``pretend(fp32=12.0, ...)``: compilations and milliseconds are made up; an error in place of a time is raised."""

    def use(**times: float | Exception) -> None:
        def compile_precision(inputs: CompileInputs, _: object, precision: str, folder: Path) -> bundles.Bundle:
            result = times[precision]
            if isinstance(result, Exception):
                raise result
            return fake_bundle(folder, inputs.options, precision, 0.125)

        def in_turn(folders: list[Path]) -> list[list[float]]:
            return [[float(times[folder.name]) * share for share in (0.9, 1.0, 1.2)] for folder in folders]  # type: ignore[arg-type]

        monkeypatch.setattr(auto, "compile_precision", compile_precision)
        monkeypatch.setattr(latency, "in_turn", in_turn)

    return use


def decided(bundle: bundles.Bundle) -> AutoRecord:
    """What the manifest keeps of the comparison."""
    assert bundle.manifest.compilation.auto is not None
    return bundle.manifest.compilation.auto


def run(folder: Path, **changes: object) -> bundles.Bundle:
    options = CompileOptions(**{"target": "onnx", "calibration": TRAIN, "data": DATA, **changes})  # type: ignore[arg-type]
    return auto.compile_fastest(DEMO, options, folder / "b", lambda line: None)


def test_the_fastest_is_taken_and_the_table_recorded(pretend: Pretend, tmp_path: Path) -> None:
    pretend(fp32=12.0, fp16=7.0, int8=5.0)
    bundle = run(tmp_path)
    assert (bundle.manifest.precision, bundle.manifest.board) == ("int8", BOARD)
    assert bundle.model_path.read_text() == "int8"
    assert bundle.manifest.extra["portable"] == "model"
    found = decided(bundle)
    assert found.candidates["fp16"] == CandidateRecord(drop_points=0.125, ms=7.0, least_ms=6.3, most_ms=8.4)
    assert auto.verdict(found) == "auto took int8 on this machine (int8 5.0 ms, fp16 7.0 ms, fp32 12.0 ms)"
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


@pytest.mark.parametrize(("int8", "taken"), [(7.1, "fp16"), (6.9, "fp16"), (6.5, "int8")])
def test_int8_must_be_faster_than_chance(pretend: Pretend, tmp_path: Path, int8: float, taken: str) -> None:
    pretend(fp32=12.0, fp16=7.0, int8=int8)
    found = decided(run(tmp_path))
    assert found.chosen == taken
    assert auto.verdict(found).endswith("INT8 is not worth it here: it is no faster") == (taken == "fp16")


def test_int8_over_the_budget_is_out(pretend: Pretend, tmp_path: Path) -> None:
    pretend(
        fp32=12.0, fp16=7.0, int8=AccuracyError("int8 loses 3.00 AP points; no bundle was written. Try more images")
    )
    found = decided(run(tmp_path))
    assert found.chosen == "fp16"
    assert found.candidates["int8"] == CandidateRecord(out="int8 loses 3.00 AP points")
    assert auto.verdict(found).endswith("INT8 is out: int8 loses 3.00 AP points")


def test_int8_without_images_is_left_out_with_a_word(pretend: Pretend, tmp_path: Path) -> None:
    pretend(fp32=12.0, fp16=7.0)
    found = decided(run(tmp_path, calibration=None, data=None))
    assert found.candidates["fp16"].drop_points is None
    assert "add --calibration" in auto.verdict(found)


def test_nothing_left_is_an_error_that_names_all_reasons(pretend: Pretend, tmp_path: Path) -> None:
    pretend(fp32=CompileError("one"), fp16=CompileError("two"), int8=CompileError("three"))
    with pytest.raises(CompileError, match="int8: three; fp16: two; fp32: one"):
        run(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_unusable_images_are_the_users_error(pretend: Pretend, tmp_path: Path) -> None:
    pretend(fp32=12.0, fp16=7.0, int8=CalibrationError("a.jpg was changed"))
    with pytest.raises(CalibrationError, match=r"a\.jpg"):
        run(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_other_machines_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = next(name for name, board in registry.boards("tflite").items() if board.machine != auto.MACHINE)
    with pytest.raises(TargetError, match=f"this machine, which is no {foreign} .* is this machine"):
        run(tmp_path, target="tflite", device=foreign)
    with pytest.raises(TargetError, match="this machine, which is no ethos-u55"):
        run(tmp_path, target="tflite", device="ethos-u55")
    with pytest.raises(TargetError, match="this machine, which is no intel-npu"):
        run(tmp_path, target="openvino", device="intel-npu")
    with pytest.raises(TargetError, match="unknown board 'toaster'"):
        run(tmp_path, device="toaster")
    monkeypatch.setitem(registry.TARGETS, "jetson", registry.Target("jetson", "", ("no_such_module",), "jetson"))
    with pytest.raises(RuntimeNotInstalled, match="this machine, which has no no_such_module"):
        run(tmp_path, target="jetson")
    assert list(tmp_path.iterdir()) == []


def test_command_and_info_say_what_was_decided(pretend: Pretend, tmp_path: Path) -> None:
    pretend(fp32=12.0, fp16=7.0, int8=9.0)
    words = ["compile", DEMO, "--target", "onnx", "--precision", "auto", "--calibration", TRAIN, "-o", tmp_path / "b"]
    made = CliRunner().invoke(main, [str(word) for word in words])
    assert made.exit_code == 0, made.output
    assert "auto took fp16 on this machine" in made.stdout
    text = CliRunner().invoke(main, ["info", str(tmp_path / "b")]).stdout
    assert "chosen     fp16" in text
    assert "int8     ms 9, least_ms 8.1, most_ms 10.8" in text
    assert "options      activation relu6" in text


@pytest.mark.slow
def test_for_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "in_turn", partial(latency.in_turn, rounds=1))
    boards = {BOARD: replace(registry.boards("onnx")[BOARD], precisions=("int8", "fp32"))}
    monkeypatch.setattr(registry, "boards", lambda _: boards)
    lines: list[str] = []
    options = CompileOptions("onnx", input_size=(160, 160), calibration=TRAIN, calibration_images=8)
    bundle = auto.compile_fastest(DEMO, options, tmp_path / "b", lines.append)
    found = decided(bundle)
    assert found.chosen == bundle.manifest.precision == auto.fastest(found.candidates)
    assert {name: 0.1 < (row.ms or 0) < 1000 for name, row in found.candidates.items()} == {"int8": True, "fp32": True}
    registry.open_session(bundle).close()
    assert "auto: int8" in lines
