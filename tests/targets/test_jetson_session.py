"""The jetson session on fakes whose interface is compared with NVIDIA's real bindings."""

from __future__ import annotations

import ast
import inspect
import json
import logging
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from edge_yolov9.targets.jetson import cuda, engine

from edge_yolov9 import Detector, registry
from edge_yolov9 import bundle as bundles
from edge_yolov9.bundle import Bundle
from edge_yolov9.decode import DecodeOptions, Decoder
from edge_yolov9.errors import BundleError, InferenceError, RuntimeNotInstalled
from tests.targets import fake_tensorrt
from tests.targets.jobs import frames, make_bundle, make_job
from tests.targets.real_tensorrt import HOME, ROOT, VERSIONS, ask

SIZE = 96
WEAK = ("8.5.2.2", "8.6.2", "10.3.0", "10.11.0.33")
TYPED = ("10.12.0.36", "10.13.3.9", "11.4.0.106")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One small bundle per precision."""
    folder = tmp_path_factory.mktemp("jetson")
    return {
        precision: make_bundle("jetson", make_job(folder / precision, precision, images=4, size=SIZE)).path
        for precision in ("int8", "fp16", "fp32")
    }


@dataclass
class Machine:
    """A pretended Jetson."""

    monkeypatch: pytest.MonkeyPatch
    cudart: fake_tensorrt.FakeCudart
    cache: Path

    def install(self, version: str) -> fake_tensorrt.Record:
        """Make ``import tensorrt`` give a fake of this version."""
        module, record = fake_tensorrt.make(version)
        self.monkeypatch.setitem(sys.modules, "tensorrt", module)
        return record

    def plug(self, **settings: Any) -> fake_tensorrt.FakeCudart:
        """Another GPU."""
        self.cudart = fake_tensorrt.FakeCudart(**settings)
        self.monkeypatch.setattr(cuda, "open_library", lambda: self.cudart)
        return self.cudart


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    pretended = Machine(monkeypatch, fake_tensorrt.FakeCudart(), tmp_path / "engines")
    pretended.plug()
    monkeypatch.setenv("EDGE_YOLOV9_CACHE", str(pretended.cache))
    monkeypatch.setattr(engine, "RELEASE", tmp_path / "nv_tegra_release")
    return pretended


def infer(path: Path) -> list[np.ndarray[Any, Any]]:
    """Raw maps of one picture."""
    session = registry.open_session(bundles.read(path))
    raw = [array.copy() for array in session.infer(frames(1, SIZE)[0])]
    session.close()
    return raw


def portable(path: Path) -> list[np.ndarray[Any, Any]]:
    """The same by ONNX Runtime on the bundle's portable graph, with a conversion of the picture of its own."""
    session = onnxruntime.InferenceSession(path / "model.onnx", providers=["CPUExecutionProvider"])
    image = frames(1, SIZE)[0].astype(np.float32)[:, :, ::-1].transpose(2, 0, 1)[None] / 255
    names = [spec.name for spec in bundles.read(path).manifest.outputs]
    return [array.reshape(array.shape[1], -1) for array in session.run(names, {"images": image})]


@pytest.mark.parametrize("version", WEAK + TYPED)
def test_one_path_for_every_version(version: str, machine: Machine, made: dict[str, Path]) -> None:
    record = machine.install(version)
    found, expected = infer(made["int8"]), portable(made["int8"])
    assert [array.shape for array in found] == [array.shape for array in expected]
    for a, b in zip(found, expected, strict=True):
        assert np.abs(a - b).max() < 0.12 * np.abs(b).max()
    typed = version in TYPED
    assert record.parsed == (made["int8"] / ("model_typed.onnx" if typed else "model.onnx")).read_bytes()
    assert record.flags == ([] if typed else ["INT8", "FP16"])
    flags = sys.modules["tensorrt"].NetworkDefinitionCreationFlag
    assert record.network == 1 << (flags.STRONGLY_TYPED if typed else flags.EXPLICIT_BATCH)
    assert not machine.cudart.held


@pytest.mark.parametrize(("precision", "flags"), [("fp32", []), ("fp16", ["FP16"]), ("int8", ["INT8", "FP16"])])
def test_builder_flags_follow_the_precision(
    precision: str, flags: list[str], machine: Machine, made: dict[str, Path]
) -> None:
    record = machine.install("10.3.0")
    infer(made[precision])
    assert record.flags == flags


@pytest.mark.parametrize("version", ["8.6.2", "11.4.0.106"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_float_engines_agree_with_the_float_graph(
    precision: str, version: str, machine: Machine, made: dict[str, Path]
) -> None:
    machine.install(version)
    for a, b in zip(infer(made[precision]), portable(made["fp32"]), strict=True):
        assert np.abs(a - b).max() < (1e-3 if precision == "fp32" else 0.05)


def test_a_detector_opens_the_bundle(machine: Machine, made: dict[str, Path]) -> None:
    machine.install("10.3.0")
    with Detector(made["int8"]) as detect:
        found = detect(frames(1, SIZE)[0])
    boxes, scores, _ = Decoder((SIZE, SIZE))(portable(made["int8"]), DecodeOptions())
    assert len(boxes) > 3
    assert abs(len(found) - len(boxes)) <= 2
    np.testing.assert_allclose(found.xyxy[0], boxes[0], atol=4)
    assert found.confidence[0] == pytest.approx(scores[0], abs=0.1)
    assert not machine.cudart.held


def test_a_card_with_its_own_memory_is_copied_to(machine: Machine, made: dict[str, Path]) -> None:
    machine.install("10.3.0")
    shared = infer(made["int8"])
    assert machine.cudart.copies == 0
    card = machine.plug(integrated=False)
    copied = infer(made["int8"])
    assert card.copies == 7
    for a, b in zip(shared, copied, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not card.held


def test_tensors_are_found_by_name(machine: Machine, made: dict[str, Path]) -> None:
    machine.install("10.3.0")
    expected = infer(made["int8"])
    record = machine.install("10.3.1")
    record.tensor_order = ["class_p5", "box_p4", "images", "class_p3", "box_p5", "box_p3", "class_p4"]
    for a, b in zip(infer(made["int8"]), expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_engine_is_built_once(machine: Machine, made: dict[str, Path], caplog: pytest.LogCaptureFixture) -> None:
    record = machine.install("10.3.0")
    infer(made["int8"])
    assert "building the TensorRT 10.3.0 engine (int8) for Orin" in caplog.text
    caplog.clear()
    infer(made["int8"])
    assert record.builds == 1
    assert not [line for line in caplog.records if line.levelno >= logging.WARNING]
    infer(made["fp16"])
    assert record.builds == 2


@pytest.mark.parametrize("change", ["version", "gpu", "jetpack"])
def test_another_place_gets_another_engine(change: str, machine: Machine, made: dict[str, Path]) -> None:
    machine.install("10.3.0")
    infer(made["int8"])
    record = machine.install("10.13.3.9" if change == "version" else "10.3.0")
    if change == "gpu":
        machine.plug(name="Orin NX")
    if change == "jetpack":
        engine.RELEASE.write_text("# R36 (release), REVISION: 4.3\nmore\n")
    infer(made["int8"])
    assert record.builds == 1
    assert len(list(machine.cache.glob("*.engine"))) == 2


@pytest.mark.parametrize("damage", ["bytes", "no digest", "garbage digest", "truncated"])
def test_a_damaged_engine_is_built_again(
    damage: str, machine: Machine, made: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    machine.install("10.3.0")
    expected = infer(made["int8"])
    (file,) = machine.cache.glob("*.engine")
    sidecar = file.with_name(file.name + ".json")
    if damage == "bytes":
        file.write_bytes(file.read_bytes()[:-1] + b"?")
    elif damage == "truncated":
        file.write_bytes(b"")
    elif damage == "no digest":
        sidecar.unlink()
    else:
        sidecar.write_text("[1")
    caplog.clear()
    record = machine.install("10.3.0")
    for a, b in zip(infer(made["int8"]), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert record.builds == 1
    assert ("is damaged" in caplog.text) == (damage != "no digest")
    infer(made["int8"])
    assert record.builds == 1


def test_an_engine_that_tensorrt_refuses_is_built_again(
    machine: Machine, made: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    machine.install("10.3.0")
    infer(made["int8"])
    (file,) = machine.cache.glob("*.engine")
    engine._keep(file, b"foreign", {"sha256": engine.hashlib.sha256(b"foreign").hexdigest()})
    record = machine.install("10.3.0")
    infer(made["int8"])
    assert record.builds == 1
    assert "refuses the cached engine" in caplog.text


def test_kernel_timings_are_kept_for_the_next_build(machine: Machine, made: dict[str, Path]) -> None:
    record = machine.install("10.3.0")
    infer(made["int8"])
    infer(made["fp16"])
    assert record.timings_given == [b"", b"timed;"]
    refusing = machine.install("10.3.0")
    refusing.refuse_timings = True
    infer(made["fp32"])
    assert refusing.timings_given == [b""]


def test_a_cache_that_cannot_be_written_costs_only_time(
    machine: Machine, made: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    machine.install("10.3.0")
    machine.cache.write_text("a file where the folder should be")
    assert len(infer(made["int8"])) == 6
    assert "cannot keep" in caplog.text


def test_default_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EDGE_YOLOV9_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert engine.cache_folder() == tmp_path / "edge-yolov9" / "engines"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert engine.cache_folder() == tmp_path / ".cache" / "edge-yolov9" / "engines"


def one_line(error: pytest.ExceptionInfo[Exception]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_a_failed_build_says_why(machine: Machine, made: dict[str, Path]) -> None:
    record = machine.install("10.3.0")
    record.refuse_build = "Error Code 2: OutOfMemory\n(requested 1 GiB)"
    with pytest.raises(InferenceError) as caught:
        infer(made["int8"])
    assert one_line(caught).endswith("could not build the engine: Error Code 2: OutOfMemory (requested 1 GiB)")
    assert not list(machine.cache.glob("*.engine"))


def test_an_engine_that_never_loads_is_an_error(machine: Machine, made: dict[str, Path]) -> None:
    machine.install("10.3.0").refuse_engines = True
    with pytest.raises(InferenceError, match="refuses the engine it has just built"):
        infer(made["int8"])


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


def test_an_engine_of_another_shape(machine: Machine, made: dict[str, Path], tmp_path: Path) -> None:
    machine.install("10.3.0")
    larger = make_bundle("jetson", make_job(tmp_path / "larger", "fp32", size=SIZE + 32)).path
    other = reseal(made["fp32"], tmp_path / "other", lambda folder: shutil.copy(larger / "model.onnx", folder))
    with pytest.raises(BundleError, match=r"tensor images is .* in the engine, .* in the manifest"):
        infer(other)
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


def test_tensorrt_whose_libraries_are_missing(
    made: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeNotInstalled, match=r"does not load \(libnvinfer.so.10: .*--system-site-packages"):
        infer(made["int8"])


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


def test_the_real_cuda_runtime_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    libraries = list((HOME / "cudart").glob("nvidia/*/lib/libcudart.so.*"))
    if not libraries:
        pytest.skip(f"NVIDIA's CUDA runtime is not in {HOME / 'cudart'}; run make venv")
    if Path("/dev/nvidia0").exists() or Path("/dev/nvhost-gpu").exists():
        pytest.skip("this machine has an NVIDIA GPU")
    monkeypatch.setattr(cuda, "LIBRARIES", (str(libraries[0]),))
    library = cuda.open_library()
    assert all(hasattr(library, name) for name in (*cuda.SIGNATURES, "cudaGetErrorString"))
    with pytest.raises(InferenceError, match=r"^CUDA: cudaGetDeviceCount failed: .* \(error \d+\)$"):
        cuda.Cuda()


@pytest.mark.parametrize("integrated", [True, False])
@pytest.mark.parametrize(("function", "succeed"), [("cudaHostAlloc", 3), ("cudaMalloc", 2), ("cudaMemcpyAsync", 0)])
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


def test_closing_twice_and_using_it_afterwards(machine: Machine, made: dict[str, Path]) -> None:
    machine.install("10.3.0")
    session = registry.open_session(bundles.read(made["int8"]))
    with pytest.raises(InferenceError, match="expected a frame"):
        session.infer(np.zeros((SIZE, SIZE + 1, 3), np.uint8))
    session.close()
    session.close()
    with pytest.raises(InferenceError, match="session is closed"):
        session.infer(frames(1, SIZE)[0])


def test_the_session_loads_no_toolchain() -> None:
    script = (
        "import sys, edge_yolov9.targets.jetson.session\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'nncf', 'openvino', 'tensorrt'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


# What follows holds code and fakes against NVIDIA's own modules.

GONE = {
    "8.6": {"NetworkDefinitionCreationFlag.STRONGLY_TYPED"},
    "10.3": set[str](),
    "10.13": set[str](),
    "11.4": {"NetworkDefinitionCreationFlag.EXPLICIT_BATCH", "BuilderFlag.FP16", "BuilderFlag.INT8"},
}
"""Names that a version lacks; the session must not touch them there (the fakes of these versions lack them too)."""


def used_names() -> set[str]:
    """Every ``trt.X`` and ``trt.X.Y`` in the device code."""
    names = {"BuilderFlag.FP16", "BuilderFlag.INT8"}  # looked up by getattr
    for file in (ROOT / "targets" / "jetson").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and (match := re.fullmatch(r"trt((\.\w+)+)", ast.unparse(node))):
                names.add(match[1][1:])
    return {name for name in names if "__init__" not in name and name != "ILogger.Severity"}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_name_in_the_code_exists_in_the_real_module(version: str, tmp_path: Path) -> None:
    script = """
from functools import reduce
names = json.loads(sys.argv[1])
def missing(name):
    try:
        reduce(getattr, name.split("."), trt)
    except AttributeError:
        return True
print(json.dumps([name for name in names if missing(name)]))
"""
    names = used_names()
    assert {"Builder", "OnnxParser", "Runtime", "float32", "MemoryPoolType.WORKSPACE"} <= names
    assert set(ask(version, tmp_path, script, json.dumps(sorted(names)))) == GONE[version]


def fake_surface(version: str) -> dict[str, list[str]]:
    """``{"Class.method": parameters}`` of everything public in the fake; properties and enum members have none."""
    module, _ = fake_tensorrt.make(version)
    classes = {name: item for name, item in vars(module).items() if inspect.isclass(item)}
    for name in ("ICudaEngine", "IExecutionContext", "IBuilderConfig", "ITimingCache", "ParserError"):
        classes[name] = getattr(fake_tensorrt, name)
    surface: dict[str, list[str]] = {}
    for name, item in classes.items():
        if hasattr(item, "__members__"):
            surface |= {f"{name}.{member}": [] for member in item.__members__}
            continue
        for attribute, value in inspect.getmembers(item):
            if not attribute.startswith("_"):
                callable_ = inspect.isfunction(value)
                surface[f"{name}.{attribute}"] = list(inspect.signature(value).parameters)[1:] if callable_ else []
    return surface


@pytest.mark.parametrize("version", VERSIONS)
def test_the_fake_has_nothing_that_the_real_module_lacks(version: str, tmp_path: Path) -> None:
    script = r"""
import re
def real(name):
    kind, attribute = name.split(".")
    value = getattr(getattr(trt, kind, None), attribute, None)
    if value is None:
        return None
    if not callable(value) or isinstance(value, type):
        return [[]]
    lines = [line for line in (value.__doc__ or "").splitlines() if re.search(r"\(self: ", line)]
    return [re.findall(r"[(,] (?:\w+ = )?(\w+): ", "(" + line[line.index("(self: ") + 1:]) for line in lines]
print(json.dumps({name: real(name) for name in json.loads(sys.argv[1])}))
"""
    surface = fake_surface(version + ".0")
    assert len(surface) > 25
    found = ask(version, tmp_path, script, json.dumps(sorted(surface)))
    assert not [name for name, real in found.items() if real is None]
    wrong = {name: (mine, found[name]) for name, mine in surface.items() if not fits(mine, found[name])}
    assert not wrong


def fits(mine: list[str], overloads: list[list[str]]) -> bool:
    """Whether the fake's parameters are the first ones of some overload."""
    return any(real[: len(mine)] == mine for real in overloads)


@pytest.mark.parametrize("version", VERSIONS)
def test_our_logger_derives_from_the_real_one(version: str, tmp_path: Path) -> None:
    script = """
from edge_yolov9.targets.jetson.engine import make_logger
logger = make_logger(trt)
logger.log(trt.ILogger.Severity.WARNING, "mild")
logger.log(trt.ILogger.Severity.ERROR, "two\\nlines")
print(json.dumps([logger.errors, isinstance(logger, trt.ILogger), 1 << int(trt.MemoryPoolType.WORKSPACE)]))
"""
    assert ask(version, tmp_path, script) == [["two lines"], True, 1]


def test_bundle_names_the_portable_graph(made: dict[str, Path]) -> None:
    bundle: Bundle = bundles.read(made["int8"])
    assert bundle.manifest.extra["portable"] == "model.onnx" == bundle.manifest.model
    assert bundle.manifest.extra["typed"] == "model_typed.onnx"
    assert bundles.read(made["fp32"]).manifest.extra["typed"] == "model.onnx"
