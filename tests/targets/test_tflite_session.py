"""The device side of the tflite target: what it loads, how long results last, how it fails."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_yolov9 import registry
from edge_yolov9.bundle import Bundle
from edge_yolov9.errors import BundleError, InferenceError
from tests.targets.jobs import frames
from tests.targets.tflite_bundles import emitted, run

pytestmark = [
    pytest.mark.slow,  # whichever test comes first converts the model
    pytest.mark.skipif(find_spec("litert_torch") is None, reason="needs: pip install 'edge-yolov9[compile]'"),
]

ROOT = Path(__file__).parents[2]


def test_outputs_are_found_by_name_not_by_place() -> None:
    bundle = emitted("fp32")
    order = [5, 0, 3, 1, 4, 2]
    shuffled = replace(bundle.manifest, outputs=tuple(bundle.manifest.outputs[i] for i in order))
    straight, other = run(bundle)[0], run(Bundle(bundle.path, shuffled))[0]
    for i, tensor in zip(order, other, strict=True):
        assert np.array_equal(tensor, straight[i])


def test_the_bare_call_runs_the_frame_that_is_in_place() -> None:
    from ai_edge_litert.interpreter import Interpreter
    from edge_yolov9.targets.tflite.session import TfliteSession

    bundle = emitted("fp32")
    interpreter = Interpreter(str(bundle.model_path))
    interpreter.allocate_tensors()
    session = TfliteSession(interpreter, bundle)
    expected = [array.copy() for array in session.infer(frames(1)[0])]
    details = interpreter.get_signature_runner().get_output_details()
    outputs = [details[spec.name]["index"] for spec in bundle.manifest.outputs]
    for index in outputs:
        interpreter.tensor(index)()[:] = 0
    session.bare()
    for index, want in zip(outputs, expected, strict=True):
        assert np.array_equal(interpreter.get_tensor(index).reshape(want.T.shape).T, want)


def test_session_loads_neither_torch_nor_a_converter() -> None:
    program = """
import json, sys
import numpy as np
from edge_yolov9 import bundle, registry
opened = bundle.read(sys.argv[1])
session = registry.open_session(opened)
session.infer(np.zeros((320, 320, 3), np.uint8))
print(json.dumps(sorted(name for name in sys.modules if "." not in name)))
"""
    command = [sys.executable, "-c", program, str(emitted("int8").path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == ""  # no greeting from LiteRT either
    loaded = set(json.loads(done.stdout))
    assert "ai_edge_litert" in loaded
    assert not loaded & {"torch", "onnx", "nncf", "openvino", "litert_torch", "ai_edge_quantizer", "tensorflow", "jax"}


def test_results_last_until_the_next_call_and_survive_closing() -> None:
    session = registry.open_session(emitted("int8"), threads=1)
    first, second = frames(2)
    held = session.infer(first)
    before = [tensor.copy() for tensor in held]
    again = session.infer(second)  # LiteRT itself refuses to run while a view of its memory lives
    assert not np.array_equal(before[0], again[0])
    session.infer(first)
    session.close()
    session.close()
    assert all(np.array_equal(a, b) for a, b in zip(before, held, strict=True))
    with pytest.raises(InferenceError, match="closed"):
        session.infer(first)


@pytest.mark.parametrize("frame", [np.zeros((320, 320), np.uint8), np.zeros((320, 320, 3), np.float32)])
def test_a_wrong_frame_is_refused(frame: NDArray[Any]) -> None:
    session = registry.open_session(emitted("int8"))
    with pytest.raises(InferenceError, match=r"expected a frame \(320, 320, 3\) uint8"):
        session.infer(frame)


@pytest.mark.parametrize("content", [b"", b"TFL3" * 100, "half"])
def test_a_corrupt_model_is_a_bundle_error(tmp_path: Path, content: bytes | str) -> None:
    good = emitted("int8")
    model = good.model_path.read_bytes()
    (tmp_path / "model.tflite").write_bytes(model[: len(model) // 2] if isinstance(content, str) else content)
    with pytest.raises(BundleError, match="does not accept") as caught:
        registry.open_session(Bundle(tmp_path, replace(good.manifest, files={})))
    assert "\n" not in str(caught.value)


def test_a_manifest_that_describes_another_model_is_a_bundle_error() -> None:
    bundle = emitted("int8")
    first, *rest = bundle.manifest.outputs
    for wrong, message in (
        (replace(first, name="nothing"), "has no tensor nothing"),
        (replace(first, shape=(1, 40, 40, 80)), r"the manifest says box_p3 is \(1, 40, 40, 80\) int8"),
        (replace(first, dtype="float32"), "the model .* int8"),
    ):
        manifest = replace(bundle.manifest, outputs=(wrong, *rest))
        with pytest.raises(BundleError, match=message):
            registry.open_session(Bundle(bundle.path, manifest))
