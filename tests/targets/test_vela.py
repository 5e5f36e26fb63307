"""Boards of the tflite target with an NPU: what vela makes of the model, and what Coral's compiler would be given."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from edge_yolov9.targets.tflite.board import TfliteBoard

from edge_yolov9 import bundle as bundles
from edge_yolov9 import registry
from edge_yolov9.bundle import Bundle
from edge_yolov9.cli import main
from edge_yolov9.compiler.job import EmitJob, Emitted
from edge_yolov9.errors import CompileError, TargetError
from edge_yolov9.registry.extra import shared_extra
from tests.targets.jobs import make_bundle, make_job, uncorrected
from tests.targets.tflite_bundles import emitted

ETHOS = ("ethos-u55", "ethos-u65", "ethos-u85")
needs_converter = pytest.mark.skipif(find_spec("litert_torch") is None, reason="needs: pip install '.[compile]'")
needs_vela = pytest.mark.skipif(find_spec("ethosu") is None, reason="needs: pip install ethos-u-vela")


def line_of(bundle: Bundle) -> str:
    record = shared_extra(bundle).npu
    assert record is not None
    return record.line()


def npu_of(board: str) -> Any:
    return registry.board("tflite", board).own(TfliteBoard).npu


def emit_from(precision: str, job: EmitJob, monkeypatch: pytest.MonkeyPatch) -> Emitted:
    """Emit ``job`` as if conversion and quantization had given the model of ``emitted(precision)``."""
    from edge_yolov9.targets.tflite import emit, lower, quantize

    source = emitted(precision).model_path
    monkeypatch.setattr(lower, "convert", lambda heads, size, path: shutil.copy(source, path))
    monkeypatch.setattr(quantize, "to_int8", lambda floating, *_: floating.read_bytes())
    result: Emitted = emit.emit(job)
    return result


def sealed(board: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """A bundle for ``board`` with the int8 model that all boards share."""
    job = uncorrected(make_job(tmp_path, "int8", images=1, target="tflite", board=board), "tflite")
    result = emit_from("int8", job, monkeypatch)
    draft = replace(emitted("int8").manifest, board=board, extra=result.extra)
    bundles.seal(job.folder, draft)
    return bundles.read(job.folder)


@pytest.mark.slow
@needs_converter
@needs_vela
@pytest.mark.parametrize("board", ETHOS)
def test_the_whole_model_runs_on_the_npu(board: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_yolov9.targets.tflite import operators

    bundle = sealed(board, tmp_path, monkeypatch)
    assert set(bundle.manifest.files) == {"model.tflite", "model_vela.tflite"}
    npu = bundle.manifest.extra["npu"]
    assert npu["operators"] == {"npu": operators.count(bundle.model_path).total(), "cpu": 0}
    assert "on_cpu" not in npu
    assert [kind.name for kind in operators.count(bundle.path / npu["model"])] == ["ethos-u"]
    assert npu["accelerator"].startswith(board)
    assert npu["compiler"].startswith("vela ")
    assert 1 < npu["estimated_ms"] < 100
    assert npu["memory_kib"]["sram"] > 100
    assert json.dumps(npu)


def borders(model: Path) -> list[tuple[Any, ...]]:
    """Name, shape, type, scale and zero point of the inputs and outputs, in the file's order."""
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.ModelT.InitFromPackedBuf(model.read_bytes()).subgraphs[0]
    found = [graph.tensors[index] for index in (*graph.inputs, *graph.outputs)]
    return [(t.name, *t.shape, t.type, *t.quantization.scale, *t.quantization.zeroPoint) for t in found]


@pytest.mark.slow
@needs_converter
@needs_vela
def test_the_manifest_describes_the_model_for_the_npu_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = sealed("ethos-u55", tmp_path, monkeypatch)
    inputs, *outputs = borders(bundle.path / "model_vela.tflite")
    assert [inputs, *outputs] == borders(bundle.model_path)
    for (name, *shape, _, scale, zero_point), spec in zip(outputs, bundle.manifest.outputs, strict=True):
        assert spec.name in name.decode()
        assert (tuple(shape), pytest.approx(scale), zero_point) == (spec.shape, spec.scale, spec.zero_point)


@pytest.mark.slow
@needs_converter
@needs_vela
def test_people_read_what_vela_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = sealed("ethos-u55", tmp_path, monkeypatch)
    line = line_of(bundle)
    total = bundle.manifest.extra["npu"]["operators"]["npu"]
    assert line.startswith("ethos-u55-256, vela ")
    assert f": {total} of {total} operators on the NPU, " in line
    assert "ms at 500 MHz and 0." in line
    assert line.endswith(" by vela's estimate")
    shown = CliRunner().invoke(main, ["info", str(bundle.path)]).stdout
    assert f"operators npu {total}, cpu 0" in " ".join(shown.split())
    assert "estimates of vela's model" in shown
    assert "model_vela.tflite" in shown


@pytest.mark.slow
@needs_converter
@needs_vela
def test_operators_left_to_the_cpu_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_yolov9.targets.tflite import operators, vela

    command = vela.command
    monkeypatch.setattr(vela, "command", lambda *given: [*command(*given), "--ignore-ops=LOGISTIC,MAX_POOL_2D"])
    bundle = sealed("ethos-u55", tmp_path, monkeypatch)
    found = {kind.name: times for kind, times in operators.count(bundle.model_path).items()}
    left = {name: found[name] for name in ("LOGISTIC", "MAX_POOL_2D")}
    npu = bundle.manifest.extra["npu"]
    assert npu["operators"] == {"npu": sum(found.values()) - sum(left.values()), "cpu": sum(left.values())}
    assert npu["on_cpu"] == left
    assert f"(the CPU runs {left['LOGISTIC']} LOGISTIC, {left['MAX_POOL_2D']} MAX_POOL_2D)" in line_of(bundle)


@pytest.mark.slow
@needs_converter
@needs_vela
def test_the_detector_checks_the_model_on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = sealed("ethos-u85", tmp_path, monkeypatch)
    assert bundle.model_path.name == "model.tflite"
    session = registry.open_session(bundle)
    try:
        assert len(session.infer(np.zeros((320, 320, 3), np.uint8))) == 6
    finally:
        session.close()


@pytest.mark.slow
@needs_converter
@needs_vela
def test_a_model_that_vela_leaves_to_the_cpu_is_no_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job(tmp_path, "int8", images=1, target="tflite", board="ethos-u55")
    with pytest.raises(CompileError, match="places no operator on the NPU; it wants an int8 model"):
        emit_from("fp32", job, monkeypatch)
    assert "model_vela.tflite" not in {file.name for file in job.folder.iterdir()}


@needs_vela
@pytest.mark.parametrize(
    ("content", "profile", "reason"),
    [
        (b"not a model at all", {}, "RuntimeError: Compilation failed"),
        (b"", {}, "ValueError: cannot mmap an empty file"),
        (b"TFL3", {"system_config": "Moon_Base"}, "--system-config=Moon_Base"),
    ],
)
def test_a_failing_vela_is_one_line(content: bytes, profile: dict[str, str], reason: str, tmp_path: Path) -> None:
    from edge_yolov9.targets.tflite import vela

    model, scratch = tmp_path / "model.tflite", tmp_path / "scratch"
    model.write_bytes(content)
    scratch.mkdir()
    with pytest.raises(CompileError, match=f"vela failed: .*{reason}.*; no bundle was written") as caught:
        vela.prepare(model, replace(npu_of("ethos-u55"), **profile), scratch)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model_vela.tflite").exists()


@needs_vela
def test_a_vela_that_dies_or_writes_nothing_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from edge_yolov9.targets.tflite import vela

    model = tmp_path / "model.tflite"
    model.write_bytes(b"model")
    program = ["import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "pass"]
    for code, reason in zip(program, ("vela failed: signal 11", "wrote something unexpected"), strict=True):
        monkeypatch.setattr(vela, "command", lambda *_, code=code: [sys.executable, "-c", code])
        with pytest.raises(CompileError, match=reason):
            vela.prepare(model, npu_of("ethos-u55"), tmp_path)


def test_without_vela_the_package_is_named_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_yolov9.targets.tflite import lower, vela

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(vela, "version", missing)
    monkeypatch.setattr(lower, "convert", lambda *_: pytest.fail("it began to work"))
    job = make_job(tmp_path, "int8", images=1, target="tflite", board="ethos-u65")
    with pytest.raises(CompileError, match=r"not installed; run: pip install .*ethos-u-vela"):
        make_bundle("tflite", job)


@pytest.mark.parametrize("board", [*ETHOS, "coral"])
def test_npu_boards_take_int8_alone_and_say_that_nobody_ran_them(board: str) -> None:
    from edge_yolov9.compiler.pipeline import CompileOptions, resolve

    profile = registry.board("tflite", board)
    assert profile.precisions == ("int8",)
    assert profile.tested == ()
    assert resolve(CompileOptions("tflite", board))[1] == "int8"
    for precision in ("fp16", "fp32"):
        with pytest.raises(TargetError, match=f"{board} does not take {precision}; expected one of int8"):
            resolve(CompileOptions("tflite", board, precision))
    listed = CliRunner().invoke(main, ["targets"]).stdout
    assert next(line for line in listed.splitlines() if line.split()[:1] == [board]).endswith("int8; untested")


@pytest.mark.slow
@needs_converter
def test_coral_gets_types_and_operators_of_the_published_list(tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType
    from edge_yolov9.targets.tflite import edgetpu, operators

    bundle = make_bundle("tflite", make_job(tmp_path, "int8", images=4, target="tflite", board="coral"))
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(str(bundle.model_path), experimental_op_resolver_type=plain)  # the file's own tensors
    tensors = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    found = interpreter._get_ops_details()
    kinds = operators.count(bundle.model_path)
    biases = {op["inputs"][2] for op in found if op["op_name"] in ("CONV_2D", "DEPTHWISE_CONV_2D")}
    shapes = {
        index for op in found if op["op_name"] in ("SLICE", "RESIZE_NEAREST_NEIGHBOR") for index in op["inputs"][1:]
    }
    for index, tensor in tensors.items():
        assert tensor["dtype"] is (np.int32 if index in biases | shapes else np.int8), tensor["name"]
        assert index in shapes or len(tensor["quantization_parameters"]["scales"]), tensor["name"]
        assert all(tensor["shape"] > 0), tensor["name"]
    assert {tensor["dtype"] for tensor in interpreter.get_input_details() + interpreter.get_output_details()} == {
        np.int8
    }
    assert {kind.name for kind in kinds} <= edgetpu.SUPPORTED
    for op in found:
        if op["op_name"] == "CONV_2D":  # no groups: the compiler refuses a file with them
            assert tensors[op["inputs"][0]]["shape"][3] == tensors[op["inputs"][1]]["shape"][3]
    npu = bundle.manifest.extra["npu"]
    assert npu["operators"] == {"listed": kinds.total(), "unlisted": 0}
    assert npu["command"] == "edgetpu_compiler -s model.tflite"
    line = f"untested, not compiled for its NPU: run {npu['command']}; {kinds.total()} of {kinds.total()} operators on"
    assert line_of(bundle) == f"{line} the published list"


@pytest.mark.slow
@needs_converter
def test_a_model_that_the_edge_tpu_compiler_would_refuse_is_no_bundle(tmp_path: Path) -> None:
    from edge_yolov9.targets.tflite import edgetpu

    grouped = emitted("int8").model_path
    with pytest.raises(CompileError, match="reads CONV_2D up to version 5, the model has version 6"):
        edgetpu.prepare(grouped, npu_of("coral"))


def test_a_convolution_without_groups_computes_the_same() -> None:
    import torch
    from edge_yolov9.targets.tflite.lower import ungrouped, without_groups

    torch.manual_seed(0)
    conv = torch.nn.Conv2d(16, 24, 3, 2, 1, groups=4)
    dense, images = without_groups(conv), torch.randn(1, 16, 9, 11)
    assert dense.groups == 1
    assert torch.allclose(conv(images), dense(images), atol=1e-6)
    model: Any = torch.nn.Sequential(conv, torch.nn.Conv2d(24, 24, 3, groups=24))
    assert [part.groups for part in ungrouped(model)] == [1, 24]  # type: ignore[attr-defined]
    assert conv.groups == 4
