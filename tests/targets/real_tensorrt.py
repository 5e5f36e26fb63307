"""The real TensorRT modules, as far as a machine without a GPU can load them.

``make venv`` puts NVIDIA's Python bindings of several versions under ``.venvs/tensorrt/VERSION`` (5 MB each; their
libraries are not needed), and TensorRT-RTX, a real parser and builder that runs on the CPU, under
``.venvs/tensorrt/rtx``. All of it is loaded in subprocesses only.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".venvs" / "tensorrt"
VERSIONS = ("8.6", "10.3", "10.13", "10.16", "11.4")

STUBS = (
    "getNvOnnxParserVersion",
    "getBuilderPluginRegistry",
    "getPluginRegistry",
    "initLibNvInferPlugins",
    "_ZN14nvcaffeparser117createCaffeParserEv",
    "_ZN14nvcaffeparser123shutdownProtobufLibraryEv",
    "_ZN11nvuffparser15createUffParserEv",
    "_ZN11nvuffparser23shutdownProtobufLibraryEv",
)
"""What the bindings want to find in TensorRT's libraries when they load; nothing calls it."""

LOAD = """
import os, sys
sys.setdlopenflags(os.RTLD_LAZY)
import tensorrt_bindings as trt
"""


def ask(version: str, tmp_path: Path, script: str, *arguments: str) -> Any:
    """Run ``script`` with ``trt`` being the real module of ``version``; what it prints last is JSON."""
    folder = HOME / version
    if not (folder / "tensorrt_bindings").is_dir():
        pytest.skip(f"TensorRT's {version} Python bindings are not in {folder}; run make venv")
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("loading TensorRT's bindings without its libraries needs a C compiler for the stubs")
    source = tmp_path / "stub.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in STUBS))
    library = tmp_path / "stub.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    for name in ("nvinfer", "nvonnxparser", "nvparsers", "nvinfer_plugin"):
        link = tmp_path / f"lib{name}.so.{version.split('.')[0]}"
        if not link.exists():
            link.symlink_to(library)
    return _run(LOAD + script, folder, tmp_path, arguments)


def ask_rtx(tmp_path: Path, script: str, *arguments: str) -> Any:
    """Run ``script`` with ``trt`` being the real TensorRT-RTX; what it prints last is JSON."""
    packages = HOME / "rtx"
    libraries = packages / "onnxruntime_ep_nv_tensorrt_rtx"
    if not (libraries.is_dir() and (packages / "tensorrt_rtx_bindings").is_dir()):
        pytest.skip(f"TensorRT-RTX is not in {packages}; run make venv")
    for name in ("libtensorrt_rtx.so", "libtensorrt_onnxparser_rtx.so"):
        link = tmp_path / f"{name}.1"
        if not link.exists():
            link.symlink_to(next(libraries.glob(f"{name}.1.*")))
    return _run("import tensorrt_rtx_bindings as trt\n" + script, packages, tmp_path, arguments)


BUILD = """
logger = trt.Logger(trt.Logger.ERROR)
found = []
targets = [getattr(trt.ComputeCapability, name) for name in sys.argv[1].split(",")]
for path in sys.argv[2:]:
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(open(path, "rb").read()):
        found.append({"error": parser.get_error(0).desc()})
        continue
    config = builder.create_builder_config()
    config.num_compute_capabilities = len(targets)
    for index, target in enumerate(targets):
        config.set_compute_capability(target, index)
    engine = builder.build_serialized_network(network, config)
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    outputs = [network.get_output(i) for i in range(network.num_outputs)]
    layers = [network.get_layer(i).type.name for i in range(network.num_layers)]
    found.append({
        "bytes": 0 if engine is None else engine.nbytes,
        "outputs": {t.name: [list(t.shape), t.dtype.name] for t in outputs},
        "inputs": [[t.name, t.dtype.name] for t in inputs],
        "convolutions": layers.count("CONVOLUTION"),
        "quantize": layers.count("QUANTIZE"),
        "dequantize": layers.count("DEQUANTIZE"),
    })
print(json.dumps(found))
"""


def build_rtx(tmp_path: Path, *models: Path, architectures: str = "SM86") -> list[dict[str, Any]]:
    """What TensorRT-RTX makes of each ONNX file for all ``architectures`` ("SM86,SM89"): facts, or an error."""
    found: list[dict[str, Any]] = ask_rtx(tmp_path, BUILD, architectures, *map(str, models))
    return found


def _run(script: str, packages: Path, libraries: Path, arguments: tuple[str, ...]) -> Any:
    environment = {**os.environ, "LD_LIBRARY_PATH": str(libraries), "PYTHONPATH": str(packages)}
    command = [sys.executable, "-c", "import json, sys\n" + script, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    if "No module named 'tensorrt_bindings.tensorrt'" in done.stderr:
        pytest.skip(f"the bindings in {packages} are for another Python than {sys.version.split()[0]}")
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])
