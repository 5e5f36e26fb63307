"""The openvino target: what it writes, against torch, and how its session behaves."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_yolov9 import registry
from edge_yolov9.bundle import Bundle
from edge_yolov9.compiler.job import OUTPUT_NAMES
from edge_yolov9.errors import BundleError, InferenceError
from edge_yolov9.model.session import TorchSession
from tests.targets.jobs import frames, make_bundle, make_job, sqnr

openvino = pytest.importorskip("openvino")

ROOT = Path(__file__).parents[2]
_KEEP: list[tempfile.TemporaryDirectory[str]] = []


@cache
def emitted(precision: str) -> Bundle:
    """A bundle as ``emit`` makes it; do not change it."""
    _KEEP.append(tempfile.TemporaryDirectory(prefix="edge-yolov9-openvino-"))
    return make_bundle("openvino", make_job(Path(_KEEP[-1].name), precision, target="openvino"))


def layers(precision: str) -> list[ET.Element]:
    """Every layer of the written IR."""
    return ET.parse(emitted(precision).model_path).getroot().findall("./layers/layer")


def attribute(layer: ET.Element, name: str) -> str:
    """One attribute of a layer's data; empty when it has none."""
    data = layer.find("data")
    return "" if data is None else data.get(name, "")


@pytest.mark.parametrize(("precision", "least"), [("fp32", 90.0), ("fp16", 25.0), ("int8", 11.0)])
def test_raw_maps_match_torch(precision: str, least: float, tmp_path: Path) -> None:
    heads = make_job(tmp_path, "fp32").heads
    session = registry.open_session(emitted(precision))
    for frame in frames(3):
        for name, want, got in zip(OUTPUT_NAMES, TorchSession(heads).infer(frame), session.infer(frame), strict=True):
            assert got.dtype == np.float32
            assert sqnr(want.reshape(got.shape), got) > least, name


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_input_is_raw_camera_pixels(precision: str) -> None:
    (parameter,) = [layer for layer in layers(precision) if layer.get("type") == "Parameter"]
    assert (attribute(parameter, "element_type"), attribute(parameter, "shape")) == ("u8", "1,320,320,3")
    rule = emitted(precision).manifest.input
    assert (rule.color, rule.scaling, rule.tensor.layout, rule.tensor.dtype) == ("BGR", 1.0, "NHWC", "uint8")


def test_int8_weights_and_activations() -> None:
    kinds = Counter(layer.get("type") for layer in layers("int8"))
    stored = Counter(attribute(layer, "element_type") for layer in layers("int8") if layer.get("type") == "Const")
    convolutions = kinds["Convolution"] + kinds["GroupConvolution"]
    assert stored["i8"] == convolutions > 60
    assert kinds["FakeQuantize"] > 60
    assert emitted("int8").model_path.with_suffix(".bin").stat().st_size < 2.7e6 < 7e6


def test_every_fake_quantize_can_fuse_into_the_convolution_before_it() -> None:
    """Values that a concat or slice moves are on the grid already: no second FakeQuantize behind those."""
    root = ET.parse(emitted("int8").model_path).getroot()
    kinds = {layer.get("id"): layer.get("type") for layer in root.findall("./layers/layer")}
    edges = [(kinds[edge.get("from-layer")], kinds[edge.get("to-layer")]) for edge in root.findall("./edges/edge")]
    moved = {"Concat", "Slice", "StridedSlice", "VariadicSplit", "MaxPool", "Interpolate"}
    assert moved & {source for source, _ in edges}
    assert not {source for source, kind in edges if kind == "FakeQuantize"} & moved


def test_residual_adds_run_inside_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_yolov9.targets.openvino import session

    bundle, frame = emitted("int8"), frames(1)[0]
    compile_model, compiled = openvino.Core.compile_model, []

    def compile_and_keep(*how: Any) -> Any:
        compiled.append(compile_model(*how))
        return compiled[-1]

    monkeypatch.setattr(openvino.Core, "compile_model", compile_and_keep)
    got = [array.copy() for array in registry.open_session(bundle).infer(frame)]
    graph = compiled[0].get_runtime_model()
    kinds = Counter(node.get_rt_info()["layerType"].astype(str) for node in graph.get_ops())
    assert not kinds["Subgraph"] + kinds["Eltwise"]
    monkeypatch.setattr(session, "WHOLE_KERNELS", {"NO_SUCH_PROPERTY": "1"})  # as with a version that lacks it
    for want, array in zip(registry.open_session(bundle).infer(frame), got, strict=True):
        assert sqnr(want, array) > 25


def test_fp16_halves_the_weights() -> None:
    size = {p: emitted(p).model_path.with_suffix(".bin").stat().st_size for p in ("fp32", "fp16")}
    assert 0.45 < size["fp16"] / size["fp32"] < 0.55


def test_outputs_are_found_by_name_not_by_place() -> None:
    bundle, frame = emitted("fp32"), frames(1)[0]
    order = [5, 0, 3, 1, 4, 2]
    shuffled = replace(bundle.manifest, outputs=tuple(bundle.manifest.outputs[i] for i in order))
    straight = registry.open_session(bundle).infer(frame)
    other = registry.open_session(Bundle(bundle.path, shuffled)).infer(frame)
    for i, tensor in zip(order, other, strict=True):
        assert np.array_equal(tensor, straight[i])


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
    assert "openvino" in loaded
    assert not loaded & {"torch", "onnx", "nncf", "onnxruntime", "litert_torch", "ai_edge_quantizer"}


def test_the_bare_call_runs_the_frame_that_is_in_place() -> None:
    session: Any = registry.open_session(emitted("fp32"))
    raw = session.infer(frames(1)[0])
    expected = [array.copy() for array in raw]
    for array in raw:
        array[:] = 0
    session.bare()
    assert all(np.array_equal(array, want) for array, want in zip(raw, expected, strict=True))


def test_importing_openvino_sends_nothing() -> None:
    program = "import sys, edge_yolov9.targets.openvino.session; print(sys.modules['openvino_telemetry'])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "None\n"


def test_closing_twice_does_no_harm_and_running_afterwards_is_an_error() -> None:
    session = registry.open_session(emitted("fp32"), threads=1)
    session.close()
    session.close()
    with pytest.raises(InferenceError, match="closed"):
        session.infer(frames(1)[0])


def test_a_wrong_frame_is_refused() -> None:
    session = registry.open_session(emitted("fp32"))
    with pytest.raises(InferenceError) as caught:
        session.infer(np.zeros((320, 352, 3), np.uint8))
    assert "\n" not in str(caught.value)


def test_a_device_that_is_not_here_becomes_the_cpu_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    bundle = emitted("fp32")
    elsewhere = replace(bundle.manifest, extra={"device": "NPU"})
    with caplog.at_level(logging.WARNING):
        session = registry.open_session(Bundle(bundle.path, elsewhere))
    assert "no NPU" in caplog.text
    assert session.note in caplog.text
    assert registry.open_session(bundle).note == ""
    assert len(session.infer(frames(1)[0])) == len(OUTPUT_NAMES)


@pytest.mark.parametrize("content", [b"", b"<net>" * 10])
def test_a_corrupt_model_is_a_bundle_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.xml").write_bytes(content)
    (tmp_path / "model.bin").write_bytes(b"")
    with pytest.raises(BundleError, match=r"OpenVINO cannot open model\.xml") as caught:
        registry.open_session(Bundle(tmp_path, replace(emitted("fp32").manifest, files={})))
    assert "\n" not in str(caught.value)


def test_a_manifest_that_describes_another_model_is_a_bundle_error() -> None:
    bundle = emitted("fp32")
    first, *rest = bundle.manifest.outputs
    for wrong in (replace(first, name="nothing"), replace(first, shape=(1, 64, 80, 80))):
        with pytest.raises(BundleError):
            registry.open_session(Bundle(bundle.path, replace(bundle.manifest, outputs=(wrong, *rest))))
