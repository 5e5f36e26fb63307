"""The jetson session's code and the fakes it is tested on, held against NVIDIA's own modules."""

from __future__ import annotations

import ast
import inspect
import json
import re
from pathlib import Path

import pytest
from edge_yolov9.targets.jetson.runtime import cuda

from edge_yolov9.errors import InferenceError
from tests.targets import fake_tensorrt, tensorrt_8_5
from tests.targets.real_tensorrt import HOME, ROOT, VERSIONS, ask

GONE = {
    "8.5": {"NetworkDefinitionCreationFlag.STRONGLY_TYPED", "IProgressMonitor"},
    "8.6": {"NetworkDefinitionCreationFlag.STRONGLY_TYPED", "IProgressMonitor"},
    "10.3": set[str](),
    "10.13": set[str](),
    "10.16": set[str](),
    "11.4": {"NetworkDefinitionCreationFlag.EXPLICIT_BATCH", "BuilderFlag.FP16", "BuilderFlag.INT8"},
}
"""Names that a version lacks; the session must not touch them there (the fakes of these versions lack them too)."""


def used_names() -> set[str]:
    """Every ``trt.X`` and ``trt.X.Y`` in the device code."""
    names = {"BuilderFlag.FP16", "BuilderFlag.INT8"}  # looked up by getattr
    names |= {"IBuilderConfig.default_device_type", "IBuilderConfig.DLA_core", "Runtime.DLA_core"}  # set on objects
    for file in (ROOT / "targets" / "jetson").rglob("*.py"):
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
    for name in (
        "ICudaEngine",
        "IExecutionContext",
        "IBuilderConfig",
        "ITimingCache",
        "ParserError",
        "ILayer",
        "INetworkDefinition",
    ):
        classes[name] = getattr(fake_tensorrt, name)
    if not version.startswith("8."):
        classes["IBuilderConfig"] = fake_tensorrt.IBuilderConfig10
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


def test_the_fake_takes_no_attribute_that_the_real_module_lacks() -> None:
    module, _ = fake_tensorrt.make("10.3.0")
    config = module.Builder(module.ILogger()).create_builder_config()
    config.DLA_core = 0
    with pytest.raises(AttributeError, match="IBuilderConfig10 object has no attribute 'max_workspace_size'"):
        config.max_workspace_size = 1 << 30  # gone in TensorRT 10


def fits(mine: list[str], overloads: list[list[str]]) -> bool:
    """Whether the fake's parameters are the first ones of some overload."""
    return any(real[: len(mine)] == mine for real in overloads)


def test_code_and_fake_of_8_5_use_what_its_bindings_define() -> None:
    known = tensorrt_8_5.NAMES
    modules = {"__version__", *(name.partition(".")[0] for name in known)}
    assert used_names() - known.keys() - modules == GONE["8.5"]
    surface = fake_surface("8.5.2")
    assert len(surface) > 25
    assert not surface.keys() - known.keys()
    assert not {name for name, mine in surface.items() if not fits(mine, [known[name]])}


@pytest.mark.parametrize("version", ["8.6", "10.3"])
def test_the_dlas_limits_are_those_of_nvidias_docstrings(version: str, tmp_path: Path) -> None:
    """Of the versions that JetPack brings with a DLA; targets/jetson/dla.py holds graphs against them."""
    slices, resizes = ask(version, tmp_path, "print(json.dumps([trt.ISliceLayer.__doc__, trt.IResizeLayer.__doc__]))")
    for line in ("Strides are 1 for all dimensions", "Slicing is not performed on the first dimension"):
        assert line in slices
    for line in ("ASYMMETRIC, ResizeSelector.FORMULA, ResizeRoundMode.FLOOR", "in the range of [1, 32] for NEAREST"):
        assert line in resizes
    for mode in ("HALF_DOWN", "HALF_UP"):
        assert f"HALF_PIXEL, ResizeSelector.FORMULA, ResizeRoundMode.{mode}" in resizes


@pytest.mark.parametrize("version", VERSIONS)
def test_our_logger_derives_from_the_real_one(version: str, tmp_path: Path) -> None:
    script = """
from edge_yolov9.targets.jetson.runtime.build import make_logger
logger = make_logger(trt)
logger.log(trt.ILogger.Severity.WARNING, "mild")
logger.log(trt.ILogger.Severity.ERROR, "two\\nlines")
print(json.dumps([logger.errors, isinstance(logger, trt.ILogger), 1 << int(trt.MemoryPoolType.WORKSPACE)]))
"""
    assert ask(version, tmp_path, script) == [["two lines"], True, 1]


@pytest.mark.parametrize("version", VERSIONS)
def test_our_progress_monitor_derives_from_the_real_one(version: str, tmp_path: Path) -> None:
    script = """
from edge_yolov9.targets.jetson.runtime.build import make_logger, make_monitor
state, logger = {}, make_logger(trt)
monitor = make_monitor(trt, state, logger)
if monitor is None:
    print(json.dumps([hasattr(trt, "IProgressMonitor")]))
else:
    monitor.phase_start("Building", None, 4)
    going_on = monitor.step_complete("Building", 1)
    logger.stopped = 2
    going_on = [going_on, monitor.step_complete("Building", 1)]
    monitor.phase_finish("Building")
    print(json.dumps([isinstance(monitor, trt.IProgressMonitor), going_on, state["step"]]))
"""
    wanted = [False] if version == "8.6" else [True, [True, False], ", Building: step 2 of 4"]
    assert ask(version, tmp_path, script) == wanted


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
