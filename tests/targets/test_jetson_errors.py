"""What the jetson session says when something is missing or fails, and that it leaves nothing allocated."""

from __future__ import annotations

import ctypes
import shutil
import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from edge_yolov9.targets.jetson.runtime import build, cuda

from edge_yolov9 import Detector, registry
from edge_yolov9 import bundle as bundles
from edge_yolov9.bundle import Bundle
from edge_yolov9.errors import BundleError, InferenceError, RuntimeNotInstalled
from tests.targets import fake_tensorrt
from tests.targets.fake_runtime import DataType
from tests.targets.jetson_machine import SIZE, Machine, infer
from tests.targets.jobs import frames


def one_line(error: pytest.ExceptionInfo[Exception]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_a_failed_build_says_why(machine: Machine, made: dict[str, Path]) -> None:
    record = machine.install("10.3.0")
    record.refuse_build = "Error Code 10: Could not find any implementation\nfor node Conv_3"
    with pytest.raises(InferenceError) as caught:
        infer(made["int8"])
    assert one_line(caught).endswith(
        "could not build the engine: Error Code 10: Could not find any implementation for node Conv_3"
    )
    assert not list(machine.cache.glob("*.engine"))


def test_an_engine_that_never_loads_is_an_error(machine: Machine, made: dict[str, Path]) -> None:
    machine.install("10.3.0").refuse_engines = True
    with pytest.raises(InferenceError, match="refuses the engine it has just built"):
        infer(made["int8"])


@pytest.mark.parametrize("name", ["Builder", "Runtime"])
def test_nothing_comes_out_of_tensorrt(name: str, machine: Machine, made: dict[str, Path]) -> None:
    machine.install("10.3.0").nothing_from = name
    with pytest.raises(InferenceError) as caught:
        infer(made["int8"])
    assert one_line(caught).startswith("TensorRT 10.3.0 failed: createInfer: Error Code 6")


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (RuntimeError("something\nin C++"), "TensorRT 8.6.2 failed: something in C++"),
        (MemoryError("std::bad_alloc"), "memory does not suffice to build the engine, even with 64 MiB of workspace"),
    ],
)
def test_exceptions_of_a_build(raised: Exception, told: str, machine: Machine, made: dict[str, Path]) -> None:
    machine.install("8.6.2").raises = raised
    with pytest.raises(InferenceError) as caught:
        infer(made["int8"])
    assert one_line(caught).startswith(told)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_build(
    number: int, machine: Machine, made: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.install("10.3.0").build_seconds = 60
    kept = signal.signal(number, signal.default_int_handler)  # SIGTERM too: as edge-yolov9 detect does
    monkeypatch.setattr(build.log, "debug", lambda *_: signal.raise_signal(number))
    with pytest.raises(KeyboardInterrupt):
        infer(made["int8"])
    monkeypatch.undo()
    assert signal.signal(number, kept) is signal.default_int_handler
    assert not list(machine.cache.glob("*.engine*.json"))
    assert not machine.cudart.held


def test_a_signal_is_not_lost_in_a_callback(machine: Machine) -> None:
    """It comes while TensorRT's own code runs, so Python handles it on entering the callback, where nothing catches."""
    machine.install("8.6.2")
    trt, raised = sys.modules["tensorrt"], ctypes.CDLL(None)["raise"]
    logger = build.make_logger(trt)
    called_from_c = map(partial(logger.log, trt.ILogger.Severity.VERBOSE), map(raised, [signal.SIGINT]))
    done: list[Any] = []
    with pytest.raises(KeyboardInterrupt), build.mapped(trt, logger):
        done.extend(called_from_c)
    assert done == [None]


def test_a_program_that_takes_signals_gets_them_when_the_build_has_ended(
    machine: Machine, made: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.install("10.3.0").build_seconds = 60
    got: list[int] = []
    kept = signal.signal(signal.SIGINT, lambda number, _: got.append(number))
    monkeypatch.setattr(build.log, "debug", lambda *_: signal.raise_signal(signal.SIGINT))
    with pytest.raises(InferenceError, match="could not build the engine: stopped by signal 2"):
        infer(made["int8"])
    signal.signal(signal.SIGINT, kept)
    assert got == [signal.SIGINT]


def test_onnx_that_tensorrt_does_not_parse(machine: Machine, made: dict[str, Path], tmp_path: Path) -> None:
    machine.install("10.3.0")
    broken = reseal(made["int8"], tmp_path / "broken", lambda folder: (folder / "model.onnx").write_bytes(b"nonsense"))
    with pytest.raises(BundleError) as caught:
        infer(broken)
    assert "TensorRT 10.3.0 does not accept" in one_line(caught)


def test_a_bundle_without_the_typed_flavour(machine: Machine, made: dict[str, Path], tmp_path: Path) -> None:
    machine.install("11.4.0.106")
    old = reseal(made["int8"], tmp_path / "old", lambda folder: (folder / "model_typed.onnx").unlink())
    with pytest.raises(BundleError, match="no strongly typed ONNX; compile the bundle again"):
        infer(old)


def test_an_engine_of_another_shape(machine: Machine, made: dict[str, Path]) -> None:
    machine.install("10.3.0")
    bundle = bundles.read(made["fp32"])
    tensor = replace(bundle.manifest.input.tensor, shape=(1, 3, 128, 128))
    manifest = replace(bundle.manifest, input=replace(bundle.manifest.input, tensor=tensor))
    with pytest.raises(BundleError, match=r"tensor images is .* in the engine, .* in the manifest"):
        registry.open_session(Bundle(bundle.path, manifest))
    assert not machine.cudart.held


def test_an_engine_of_another_type(machine: Machine, made: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    machine.install("10.3.0")
    monkeypatch.setattr(fake_tensorrt.ICudaEngine, "get_tensor_dtype", lambda *_: DataType.HALF)
    with pytest.raises(BundleError, match=r"tensor images is .* 1 in the engine, .* float32 in the manifest"):
        infer(made["fp32"])
    assert not machine.cudart.held


def reseal(bundle: Path, target: Path, change: Any) -> Path:
    """A copy of a bundle, changed and sealed again."""
    shutil.copytree(bundle, target)
    change(target)
    bundles.seal(target, bundles.read(bundle).manifest)
    return target


def test_tensorrt_too_old(machine: Machine, made: dict[str, Path]) -> None:
    machine.install("8.6.2")
    sys.modules["tensorrt"].__version__ = "8.4.1.5"
    with pytest.raises(RuntimeNotInstalled, match=r"8\.5 or newer is needed, 8\.4\.1\.5 is installed; update JetPack"):
        infer(made["int8"])


def test_tensorrt_absent(made: dict[str, Path]) -> None:
    with pytest.raises(RuntimeNotInstalled, match="needs the jetson runtime"):
        infer(made["int8"])


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (
            "ImportError('libnvinfer.so.10: cannot open shared object file')",
            r"\(libnvinfer.so.10: .*--system-site-pack",
        ),
        ("OSError('libcudnn.so.9: cannot open shared object file')", r"\(libcudnn.so.9: cannot open"),
        ("AttributeError('module numpy has no attribute bool')", r"\(module numpy has no attribute bool\)"),
        ("ValueError('numpy.dtype size changed')", r"\(numpy.dtype size changed\)"),
    ],
)
def test_tensorrt_that_does_not_load(
    raised: str, told: str, made: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tensorrt.py").write_text(f"raise {raised}")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeNotInstalled, match=f"does not load {told}"):
        infer(made["int8"])


@pytest.mark.parametrize("version", [None, "", "garbage", "10", "v10.3"])
def test_another_module_of_that_name(
    version: str | None, made: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tensorrt").mkdir()
    if version is not None:
        (tmp_path / "tensorrt" / "__init__.py").write_text(f"__version__ = {version!r}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    with pytest.raises(RuntimeNotInstalled) as caught:
        infer(made["int8"])
    del sys.modules["tensorrt"]
    assert one_line(caught).startswith(f"the module tensorrt in {tmp_path / 'tensorrt'} is not TensorRT's (version ")


def test_no_cuda_runtime(machine: Machine, made: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    machine.install("10.3.0")
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt.make("10.3.0")[0])
    monkeypatch.setattr(cuda, "LIBRARIES", ("libnowhere.so",))
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    with pytest.raises(RuntimeNotInstalled) as caught:
        infer(made["int8"])
    assert "libcudart.so) is not found" in one_line(caught)


def test_no_gpu(machine: Machine, made: dict[str, Path]) -> None:
    machine.install("10.3.0")
    machine.plug(devices=0)
    with pytest.raises(InferenceError) as caught:
        infer(made["int8"])
    assert one_line(caught) == "CUDA: cudaGetDeviceCount failed: no CUDA-capable device is detected (error 100)"


@pytest.mark.parametrize("integrated", [True, False])
@pytest.mark.parametrize(
    ("function", "succeed"), [("cudaHostAlloc", 3), ("cudaMalloc", 2), ("cudaMemcpyAsync", 0), ("cudaMemcpyAsync", 9)]
)
def test_failures_leave_nothing_allocated(
    function: str, succeed: int, integrated: bool, machine: Machine, made: dict[str, Path]
) -> None:
    machine.install("10.3.0")
    gpu = machine.plug(integrated=integrated)
    gpu.fail_at[function] = succeed
    if integrated and function != "cudaHostAlloc":
        infer(made["int8"])  # shared memory needs neither
        return
    with (
        pytest.raises(InferenceError, match=f"CUDA: {function} failed: out of memory"),
        Detector(made["int8"]) as detect,
    ):
        detect(frames(1, SIZE)[0])
    assert not gpu.held
