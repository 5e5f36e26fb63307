"""The onnx target: what it writes, against torch, and how its session behaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from edge_yolov9 import registry
from edge_yolov9.bundle import Bundle
from edge_yolov9.compiler.job import OUTPUT_NAMES
from edge_yolov9.errors import BundleError, InferenceError
from edge_yolov9.model.session import TorchSession
from tests.targets.jobs import frames, make_bundle, make_job, sqnr

onnx = pytest.importorskip("onnx")

ROOT = Path(__file__).parents[2]
_KEEP: list[tempfile.TemporaryDirectory[str]] = []


@cache
def emitted(precision: str) -> Bundle:
    """A bundle as ``emit`` makes it; do not change it."""
    _KEEP.append(tempfile.TemporaryDirectory(prefix="edge-yolov9-onnx-"))
    return make_bundle("onnx", make_job(Path(_KEEP[-1].name), precision, target="onnx"))


@pytest.mark.parametrize(("precision", "least"), [("fp32", 90.0), ("fp16", 50.0), ("int8", 14.0)])
def test_raw_maps_match_torch(precision: str, least: float, tmp_path: Path) -> None:
    heads = make_job(tmp_path, "fp32").heads
    session = registry.open_session(emitted(precision))
    for frame in frames(3):
        for name, want, got in zip(OUTPUT_NAMES, TorchSession(heads).infer(frame), session.infer(frame), strict=True):
            assert got.dtype == np.float32
            assert sqnr(want.reshape(got.shape), got) > least, name


def test_the_bare_call_runs_the_frame_that_is_in_place() -> None:
    from edge_yolov9.targets.onnx.session import OnnxSession

    bundle, runs = emitted("fp32"), []
    model = onnxruntime.InferenceSession(bundle.model_path, providers=["CPUExecutionProvider"])

    def run(names: list[str], feed: dict[str, Any]) -> list[Any]:
        runs.append(model.run(names, feed))
        return runs[-1]

    ports = {"get_inputs": model.get_inputs, "get_outputs": model.get_outputs}
    session = OnnxSession(bundle, SimpleNamespace(run=run, **ports))
    expected = session.infer(frames(1)[0])
    session.bare()
    assert len(runs) == 2
    for array, want in zip(runs[1], expected, strict=True):
        assert np.array_equal(array.reshape(want.shape), want)


def test_int8_graph_stores_every_convolution_in_7_bits() -> None:
    graph = onnx.load(emitted("int8").model_path).graph
    weights = {item.name: onnx.numpy_helper.to_array(item) for item in graph.initializer}
    maker = {name: node for node in graph.node for name in node.output}
    for node in (node for node in graph.node if node.op_type == "Conv"):
        stored = weights[maker[node.input[1]].input[0]]
        assert stored.dtype == np.int8
        assert np.abs(stored).max() <= 63


def test_fp16_graph_holds_half_weights_behind_float_ports() -> None:
    model = onnx.load(emitted("fp16").model_path)
    onnx.checker.check_model(model)
    kinds = {port.type.tensor_type.elem_type for port in (*model.graph.input, *model.graph.output)}
    assert kinds == {onnx.TensorProto.FLOAT}
    assert emitted("fp16").model_path.stat().st_size < 0.55 * emitted("fp32").model_path.stat().st_size


def test_session_loads_neither_torch_nor_a_converter() -> None:
    program = """
import json, sys
import numpy as np
from edge_yolov9 import bundle, registry
registry.open_session(bundle.read(sys.argv[1])).infer(np.zeros((320, 320, 3), np.uint8))
print(json.dumps(sorted(name for name in sys.modules if "." not in name)))
"""
    command = [sys.executable, "-c", program, str(emitted("int8").path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert "onnxruntime" in loaded
    assert not loaded & {"torch", "onnx", "nncf", "openvino", "litert_torch", "ai_edge_quantizer"}


@pytest.mark.parametrize("module", ["targets.onnx.session", "compiler"])
def test_onnx_runtime_is_told_to_send_nothing(module: str, tmp_path: Path) -> None:
    """Else it makes an identifier of the device in the user's cache and a file in the temporary folder."""
    program = f"import edge_yolov9.{module}, onnxruntime; onnxruntime.SessionOptions()"
    environment = {key: value for key, value in os.environ.items() if key not in ("CI", "ORT_DISABLE_TELEMETRY")}
    environment |= dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME"), str(tmp_path))
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    assert list(tmp_path.iterdir()) == []


def test_closing_twice_does_no_harm_and_running_afterwards_is_an_error() -> None:
    session = registry.open_session(emitted("fp32"), threads=1)
    session.close()
    session.close()
    with pytest.raises(InferenceError, match="closed"):
        session.infer(frames(1)[0])


@pytest.mark.parametrize("shape", [(320, 320), (320, 352, 3)])
def test_a_wrong_frame_is_refused(shape: tuple[int, ...]) -> None:
    session = registry.open_session(emitted("fp32"))
    frame: NDArray[Any] = np.zeros(shape, np.uint8)
    with pytest.raises(InferenceError, match="expected a frame of shape"):
        session.infer(frame)


@pytest.mark.parametrize("content", [b"", b"ONNX" * 100])
def test_a_corrupt_model_is_a_bundle_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(BundleError, match=r"ONNX Runtime cannot open model\.onnx") as caught:
        registry.open_session(Bundle(tmp_path, replace(emitted("fp32").manifest, files={})))
    assert "\n" not in str(caught.value)


def test_a_manifest_that_describes_another_model_is_a_bundle_error() -> None:
    bundle = emitted("fp32")
    first, *rest = bundle.manifest.outputs
    for wrong in (replace(first, name="nothing"), replace(first, shape=(1, 64, 80, 80))):
        with pytest.raises(BundleError, match="compile the bundle again"):
            registry.open_session(Bundle(bundle.path, replace(bundle.manifest, outputs=(wrong, *rest))))
