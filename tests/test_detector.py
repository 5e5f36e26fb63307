"""Detector on real bundles, and what it loads."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_yolov9 import Detections, Detector
from edge_yolov9.errors import InferenceError, InputError, RuntimeNotInstalled, TargetError
from edge_yolov9.geometry import iou_matrix
from edge_yolov9.images import read_image
from tests.conftest import PICTURES

Compiled = Callable[..., Path]
FRAME = sorted(PICTURES.iterdir())[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "runtime"), [("openvino", None), ("tflite", None), ("onnx", None), ("jetson", "onnx")]
)
def test_every_target_finds_the_same_cells(compiled: Compiled, target: str, runtime: str | None) -> None:
    frame = read_image(FRAME)
    with Detector(compiled("onnx", "fp32")) as reference, Detector(compiled(target, "int8"), runtime=runtime) as detect:
        expected, found = reference(frame), detect(frame)
    assert len(expected) >= 5
    overlap = iou_matrix(expected.xyxy, found.xyxy) * (expected.class_id[:, None] == found.class_id[None])
    assert (overlap.max(axis=1) > 0.8).mean() >= 0.8


def test_results_are_in_pixels_of_the_frame(compiled: Compiled) -> None:
    frame = read_image(FRAME)
    with Detector(compiled("onnx", "fp32")) as detect:
        whole = detect(frame)
        double = detect(np.ascontiguousarray(np.repeat(np.repeat(frame, 2, 0), 2, 1)))
        wide = detect(np.pad(frame, ((0, 0), (0, 0), (0, 0))))
    assert whole.xyxy.dtype == whole.confidence.dtype == np.float32
    assert (np.diff(whole.confidence) <= 0).all()
    assert whole.xyxy.max() <= max(frame.shape)
    assert np.array_equal(whole.xyxy, wide.xyxy)
    n = min(len(whole), len(double), 5)
    assert np.allclose(whole.xyxy[:n], double.xyxy[:n] / 2, atol=6)


def test_frames_of_any_size_and_views(compiled: Compiled) -> None:
    frame = read_image(FRAME)
    with Detector(compiled("onnx", "fp32")) as detect:
        view = frame[::2, 100:500:2]
        assert not view.flags.c_contiguous
        assert np.array_equal(detect(view).xyxy, detect(np.ascontiguousarray(view)).xyxy)
        flipped = frame[:, ::-1]
        assert np.array_equal(detect(flipped).xyxy, detect(np.ascontiguousarray(flipped)).xyxy)
        for shape in ((1, 1, 3), (3, 2000, 3), (2160, 3840, 3)):
            boxes = detect(np.zeros(shape, np.uint8)).xyxy
            assert boxes.shape[1] == 4
        grey = frame[:, :, 0]
        assert np.array_equal(detect(grey).xyxy, detect(np.repeat(grey[:, :, None], 3, 2)).xyxy)


def same(found: list[Detections], expected: list[Detections]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one.class_id, other.class_id)
        assert np.array_equal(one.xyxy, other.xyxy)
        assert np.array_equal(one.confidence, other.confidence)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "precision"), [("openvino", "int8"), ("tflite", "int8"), ("onnx", "fp32"), ("openvino", "fp32")]
)
def test_threads_streams_and_batches_give_the_same_as_one(
    compiled: Compiled, target: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at the same time, on more lanes than there are cores, and another detector beside them."""
    monkeypatch.setattr("edge_yolov9.registry.cores", lambda: 3)
    files = sorted(PICTURES.iterdir())[:12]
    frames = [read_image(file) for file in files]
    with Detector(compiled(target, precision)) as detect, Detector(compiled(target, precision)) as other:
        expected = [detect(frame) for frame in frames]
        assert sum(map(len, expected)) > 50
        ways: list[Callable[[], list[Detections]]] = [
            lambda: [detect(frame) for frame in frames],
            lambda: [detect(frame) for frame in frames],
            lambda: [other(frame) for frame in frames],
            lambda: detect.batch(frames),
            lambda: [found for _, found in detect.stream(PICTURES)][:12],
            lambda: [found for _, found in detect.stream(PICTURES)][:12],
        ]
        with ThreadPoolExecutor(len(ways)) as pool:
            for result in pool.map(lambda way: way(), ways):
                same(result, expected)


def detect_in_another_process(detect: Detector, file: Path) -> Detections:
    with detect:
        return detect(read_image(file))


def test_pickled_by_path_into_other_processes(compiled: Compiled, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = compiled("onnx", "fp32")
    monkeypatch.chdir(folder.parent)
    with Detector(folder.name, confidence=0.4, max_detections=7, threads=1) as detect:
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
            found = list(pool.map(detect_in_another_process, [detect] * 3, [FRAME] * 3, timeout=60))
        same(found, [detect(read_image(FRAME))] * 3)
        assert 0 < len(found[0]) <= 7
        copy = pickle.loads(pickle.dumps(detect))
    same([copy(read_image(FRAME))], found[:1])
    assert (copy.options, copy.bundle.path) == (detect.options, folder)
    copy.close()


@pytest.mark.slow
@pytest.mark.parametrize("target", ["openvino", "tflite", "onnx"])
def test_a_call_allocates_nothing_of_the_size_of_an_image(compiled: Compiled, target: str) -> None:
    frame = cv2.resize(read_image(FRAME), (1280, 720))
    with Detector(compiled(target, "int8")) as detect:
        for _ in range(3):
            assert len(detect(frame)) >= 5
        height, width = detect.input_size
        tracemalloc.start()
        try:
            tracemalloc.clear_traces()
            kept = [detect(frame) for _ in range(5)]
            before, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert len(kept) == 5
    print(f"\n{target}: peak {peak / 1024:.0f} KiB over five calls, kept {before / 1024:.0f} KiB")
    assert peak - before < height * width * 3 < frame.nbytes


@pytest.mark.parametrize(
    "frame",
    [None, [[1, 2, 3]], np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)],
)
def test_a_wrong_frame_is_an_input_error(compiled: Compiled, frame: object) -> None:
    with Detector(compiled("onnx", "fp32")) as detect, pytest.raises(InputError, match="a frame must be"):
        detect(frame)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        *({"confidence": value} for value in (1.5, float("nan"), "0.3", [0.3])),
        *({"iou": value} for value in (-0.1, 1j)),
        *({"max_detections": value} for value in (0, 1.5, float("inf"), "3")),
        *({"threads": value} for value in (0, 1.5, True, "2", 100_000)),  # LiteRT dies of the last
    ],
)
def test_thresholds_out_of_range(compiled: Compiled, options: dict[str, object]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(options))} must be"):
        Detector(compiled("onnx", "fp32"), **options)  # type: ignore[arg-type]


def test_options_take_effect(compiled: Compiled) -> None:
    frame = read_image(FRAME)
    with Detector(compiled("onnx", "fp32"), confidence=0.001, multi_label=True, max_detections=100) as detect:
        many = detect(frame)
    with Detector(compiled("onnx", "fp32"), confidence=0.8) as detect:
        few = detect(frame)
    assert 0 < len(few) < len(many) <= 100
    assert few.confidence.min() > 0.8
    assert few.as_dicts()[0]["name"] in few.names


def test_closing_twice_does_no_harm(compiled: Compiled) -> None:
    detect = Detector(compiled("onnx", "fp32"))
    detect.close()
    detect.close()
    with pytest.raises(InferenceError, match="closed"):
        detect(read_image(FRAME))


def test_a_runtime_that_is_not_installed_names_the_extra(compiled: Compiled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_yolov9.registry.rows.importable", lambda name: False)
    with pytest.raises(RuntimeNotInstalled, match=r"edge-yolov9\[onnx\]"):
        Detector(compiled("onnx", "fp32"))


def test_a_runtime_of_another_target_is_refused(compiled: Compiled) -> None:
    with pytest.raises(TargetError, match="--target tflite"):
        Detector(compiled("onnx", "fp32"), runtime="tflite")


FORBIDDEN = (
    "torch",
    "onnx",
    "onnxsim",
    "nncf",
    "litert_torch",
    "ai_edge_quantizer",
    "tensorflow",
    "jax",
    "yaml",
    "pycocotools",
    "safetensors",
    "rich",
    "matplotlib",
    "scipy",
    "click",
)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["openvino", "tflite", "onnx", "jetson"])
def test_detector_loads_no_training_or_compiling_package(compiled: Compiled, target: str) -> None:
    code = (
        "import sys, json, numpy as np\n"
        "from edge_yolov9 import Detector\n"
        f"detect = Detector({str(compiled(target, 'int8'))!r}, runtime={'onnx' if target == 'jetson' else None!r})\n"
        "detect(np.zeros((48, 64, 3), np.uint8))\n"
        "own = sorted(m for m in sys.modules if m.startswith('edge_yolov9'))\n"
        f"assert len(list(detect.stream({str(FRAME)!r}, track=True))) == 1; detect.close()\n"
        "print(json.dumps([sorted({m.partition('.')[0] for m in sys.modules}), own]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    tops, own = json.loads(done.stdout.splitlines()[-1])
    assert not set(tops) & set(FORBIDDEN)
    rooms = {"bundle", "decode", "detections", "detector", "errors", "geometry", "lane", "registry"}
    rooms |= {"targets", "variants", "files", "images", "text", "typed"}
    system = {f"edge_yolov9.system{module}" for module in ("", ".children", ".closing", ".cpu", ".folders", ".imports")}
    assert {name.split(".")[1] for name in own if "." in name and name not in system} <= rooms


def test_importing_the_package_loads_nothing_else() -> None:
    code = (
        "import sys; before = set(sys.modules); import edge_yolov9; "
        "print(sorted(m for m in set(sys.modules) - before if not m.startswith(('edge_yolov9', '__editable'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.replace("'", "").strip("[]\n").split(", ")) - {""}
    assert not {name.partition(".")[0] for name in loaded} & {"numpy", "cv2", "click", *FORBIDDEN}
