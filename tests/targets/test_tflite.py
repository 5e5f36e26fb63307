"""The tflite target: what is emitted, what it computes in both runtimes, how it fails."""

from __future__ import annotations

import os
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_yolov9 import bundle as bundles
from edge_yolov9 import registry
from edge_yolov9.bundle import Bundle
from edge_yolov9.compiler.job import OUTPUT_NAMES
from edge_yolov9.compiler.quantization.rawmaps import floor_logits
from edge_yolov9.decode import DecodeOptions, Decoder
from edge_yolov9.errors import CompileError
from edge_yolov9.geometry import iou_matrix
from tests.targets.jobs import frames, make_bundle, make_job, sqnr
from tests.targets.tflite_bundles import IMAGES, emitted, expected, run

pytestmark = [
    pytest.mark.slow,  # whichever test comes first converts the model
    pytest.mark.skipif(find_spec("litert_torch") is None, reason="needs: pip install 'edge-yolov9[compile]'"),
]

ROOT = Path(__file__).parents[2]
OLD_PYTHON = ROOT / ".venvs" / "tflite-runtime" / "bin" / "python"


def real(bundle: Bundle, tensors: list[NDArray[Any]]) -> list[NDArray[np.float64]]:
    return [
        (tensor.astype(np.float64) - (spec.zero_point or 0)) * (spec.scale or 1)
        for tensor, spec in zip(tensors, bundle.manifest.outputs, strict=True)
    ]


def details(bundle: Bundle) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Tensors and operators of the model file, as the interpreter sees them without its delegate."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(str(bundle.model_path), experimental_op_resolver_type=plain)
    interpreter.allocate_tensors()
    return interpreter.get_tensor_details(), interpreter._get_ops_details()


def test_rounding_noise_in_a_single_place_does_not_part_what_is_the_same() -> None:
    from edge_yolov9.targets.tflite import match

    gates = np.random.default_rng(0).uniform(0, 1, (2, 1, 40, 40, 64)).astype(np.float32)
    noisy = gates.copy()
    noisy[:, 0, 3, 4, 5] += 0.01
    given = {"x": noisy[1], "y": noisy[0], "z": noisy[0] + noisy[1]}
    assert match.nearest(given, {"a": gates[0], "b": gates[1]}) == {"x": "b", "y": "a"}


def test_fp32_computes_what_torch_computes() -> None:
    bundle = emitted("fp32")
    assert [spec.name for spec in bundle.manifest.outputs] == list(OUTPUT_NAMES)
    for want, got in zip(expected(), run(bundle), strict=True):
        for a, b in zip(want, got, strict=True):
            assert a.shape == b.shape
            assert b.dtype == np.float32
            assert np.abs(a - b).max() <= 1e-4 * np.abs(a).max()


def test_fp16_is_half_the_size_and_close() -> None:
    bundle = emitted("fp16")
    assert bundle.model_path.stat().st_size < 0.6 * emitted("fp32").model_path.stat().st_size
    for want, got in zip(expected(), run(bundle), strict=True):
        assert min(sqnr(a, b) for a, b in zip(want, got, strict=True)) > 45


def test_int8_is_close() -> None:
    bundle = emitted("int8")
    assert bundle.model_path.stat().st_size < 0.4 * emitted("fp32").model_path.stat().st_size
    _is_close(bundle, expected(), run(bundle))


def test_int8_weights_have_a_scale_per_channel_and_everything_else_is_int8() -> None:
    tensors, operators = details(emitted("int8"))
    by_index = {tensor["index"]: tensor for tensor in tensors}
    convolutions = [op for op in operators if op["op_name"] in ("CONV_2D", "DEPTHWISE_CONV_2D")]
    assert len(convolutions) > 150
    for op in convolutions:
        weight = by_index[op["inputs"][1]]
        axis = 0 if op["op_name"] == "CONV_2D" else 3
        quantization = weight["quantization_parameters"]
        assert weight["dtype"] is np.int8
        assert quantization["quantized_dimension"] == axis
        assert len(quantization["scales"]) == weight["shape"][axis] > 1
        assert not quantization["zero_points"].any()
    floats = [tensor["name"] for tensor in tensors if tensor["dtype"] is np.float32]
    assert floats == []


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_graph_is_plain(precision: str) -> None:
    """Built-in operators only, no transposes, no padding, no pooling that LiteRT does not delegate."""
    _, operators = details(emitted(precision))
    names = {op["op_name"] for op in operators}
    allowed = {"CONV_2D", "DEPTHWISE_CONV_2D", "LOGISTIC", "MUL", "ADD", "CONCATENATION", "SLICE", "MAX_POOL_2D"}
    allowed |= {"RESIZE_NEAREST_NEIGHBOR"} | {"fp16": {"DEQUANTIZE"}, "int8": {"QUANTIZE"}}.get(precision, set())
    assert names <= allowed


def test_a_raw_map_that_stays_float_is_not_rounded_at_the_border() -> None:
    bundle = emitted("int8", "box_p3")
    assert {spec.dtype for spec in bundle.manifest.outputs} == {"float32"}
    values = [len(np.unique(tensor)) for tensor in run(bundle)[0]]
    assert values[0] > 256
    assert max(values[1:]) <= 256


def test_the_input_rule_is_what_the_model_takes() -> None:
    for precision, dtype, scale, zero_point in (("fp32", "float32", None, None), ("int8", "int8", 1.0, -128)):
        rule = emitted(precision).manifest.input
        assert (rule.color, rule.scaling, rule.height, rule.width) == ("BGR", 1.0, 320, 320)
        assert rule.tensor.shape == (1, 320, 320, 3)
        assert (rule.tensor.dtype, rule.tensor.scale, rule.tensor.zero_point) == (dtype, scale, zero_point)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_tflite_runtime_agrees(precision: str, tmp_path: Path) -> None:
    if not OLD_PYTHON.exists():
        pytest.skip("needs .venvs/tflite-runtime (Python 3.11, numpy<2, tflite-runtime 2.14): make venv-tflite")
    bundle = emitted(precision)
    np.save(tmp_path / "frames.npy", np.stack(frames(IMAGES)))
    _link_package(tmp_path)
    program = """
import sys
import numpy as np
from edge_yolov9 import bundle, registry
import importlib.util
assert importlib.util.find_spec("ai_edge_litert") is None and np.__version__ < "2"
session = registry.open_session(bundle.read(sys.argv[1]), threads=2)
results = [[t.copy() for t in session.infer(frame)] for frame in np.load("frames.npy")]
np.savez("out.npz", *(t for tensors in results for t in tensors))
"""
    command = [str(OLD_PYTHON), "-c", program, str(bundle.path)]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = list(np.load(tmp_path / "out.npz").values())
    old = [found[i : i + len(OUTPUT_NAMES)] for i in range(0, len(found), len(OUTPUT_NAMES))]
    if precision == "int8":
        _is_close(bundle, expected(), old)
        _same_boxes(bundle, old, run(bundle))
        return
    for one, other in zip(old, run(bundle), strict=True):
        assert all(np.abs(a - b).max() <= 1e-3 * np.abs(b).max() for a, b in zip(one, other, strict=True))


def _is_close(bundle: Bundle, wanted: list[list[NDArray[np.float32]]], got: list[list[NDArray[Any]]]) -> None:
    """The quantization noise of each map, over all pictures; of class logits from LEAST_LOGIT on."""
    values = [real(bundle, tensors) for tensors in got]
    for index, name in enumerate(OUTPUT_NAMES):
        want, have = (np.concatenate([item[index].ravel() for item in items]) for items in (wanted, values))
        ratio = sqnr(floor_logits(want), floor_logits(have)) if name.startswith("class") else sqnr(want, have)
        assert ratio > (25 if name.startswith("class") else 14), name


def _same_boxes(bundle: Bundle, old: list[list[NDArray[Any]]], new: list[list[NDArray[Any]]]) -> None:
    """Not the same integers: kernels round ties differently, and one step in one layer is a few steps later on."""
    decode = Decoder((320, 320), bundle.manifest.outputs)
    for one, other in zip(old, new, strict=True):
        (boxes, _, classes), (others, _, other_classes) = decode(one, DecodeOptions()), decode(other, DecodeOptions())
        overlap = iou_matrix(boxes, others) * (classes[:, None] == other_classes)
        assert abs(len(boxes) - len(others)) <= 0.1 * len(others)
        assert (overlap.max(axis=1) > 0.8).mean() >= 0.9


def _link_package(folder: Path) -> None:
    """``folder/site/edge_yolov9`` as an installation would lay it out."""
    package = folder / "site" / "edge_yolov9"
    package.mkdir(parents=True)
    for entry in (ROOT / "edge_yolov9").iterdir():
        (package / entry.name).symlink_to(entry)
    (package / "targets").symlink_to(ROOT / "targets")


def test_lowering_changes_nothing_and_leaves_the_model_alone(tmp_path: Path) -> None:
    import torch
    from edge_yolov9.targets.tflite.lower import lower

    heads = make_job(tmp_path, "fp32").heads
    pixels = torch.from_numpy(frames(1)[0][None, 64:128, 64:160].copy()).float()
    images = pixels.flip(3).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        before = heads(images)
        lowered = lower(heads, (64, 96))(pixels)
        after = heads(images)
    assert list(lowered) == list(OUTPUT_NAMES)
    for want, got, same in zip(before, lowered.values(), after, strict=True):
        assert torch.equal(want, same)
        assert torch.allclose(want, got.permute(0, 3, 1, 2), atol=1e-4 * float(want.abs().max()))


def test_blocks_of_the_larger_models_are_lowered_too() -> None:
    import torch
    from edge_yolov9.targets.tflite.lower import LoweredADown, LoweredCBLinear

    from edge_yolov9.model.blocks import ADown, CBLinear

    torch.manual_seed(0)
    images = torch.randn(1, 16, 20, 24)
    down, links = ADown(16, 32).eval(), CBLinear(16, [8, 4, 4])
    with torch.inference_mode():
        assert torch.allclose(down(images), LoweredADown(down, 16)(images), atol=1e-5)
        assert all(torch.equal(a, b) for a, b in zip(links(images), LoweredCBLinear(links)(images), strict=True))


def test_a_failing_toolchain_is_one_line_and_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from edge_yolov9.targets.tflite import lower

    def fail(*_: Any) -> None:
        print("chatter")
        os.write(2, b"chatter from C++\n")
        raise KeyError("no lowering for aten.mystery\nand forty more lines")

    monkeypatch.setattr(lower, "convert", fail)
    job = make_job(tmp_path, "fp32")
    with pytest.raises(CompileError, match=r"conversion to TFLite failed: KeyError: .*mystery") as caught:
        make_bundle("tflite", job)
    assert "\n" not in str(caught.value)
    assert bundles.MANIFEST not in {file.name for file in job.folder.iterdir()}
    assert capfd.readouterr() == ("", "")
    assert "chatter from C++" in (job.scratch / "tflite.log").read_text()


def test_every_board_says_what_it_takes() -> None:
    boards = registry.boards("tflite")
    assert next(iter(boards)) == "raspberry-pi-5"
    for board in boards.values():
        assert board.precision in board.precisions
        assert set(board.precisions) <= set(registry.PRECISIONS)
        assert board.layout == "NHWC"
