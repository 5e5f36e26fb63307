"""--preset frigate against what Frigate documents and does: own code plays Frigate's side."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
import pytest
import yaml
from edge_yolov9.targets.onnx import frigate
from numpy.typing import NDArray

from edge_yolov9 import Detector
from edge_yolov9 import bundle as bundles
from edge_yolov9.compiler.pipeline import CompileOptions, compile_checkpoint
from edge_yolov9.errors import CompileError, TargetError
from edge_yolov9.geometry import iou_matrix
from tests.conftest import DEMO
from tests.targets.jobs import NAMES, frames
from tests.targets.test_onnx import emitted

LEAST = 0.4
"""Frigate's least score, and the overlap above which the weaker box goes."""
MOST = 20


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bundles with the preset: fp32 as the compiler makes it, int8 and fp16 as emitted for the other tests."""
    folder = tmp_path_factory.mktemp("frigate")
    options = CompileOptions("onnx", precision="fp32", preset="frigate")
    compile_checkpoint(DEMO, options, folder / "fp32", lambda line: None)
    found = {"fp32": folder / "fp32"}
    for precision in ("int8", "fp16"):
        bundle = emitted(precision)
        found[precision] = shutil.copytree(bundle.path, folder / precision)
        frigate.write(found[precision], bundle.manifest)
        bundles.seal(found[precision], bundle.manifest)
    return found


def predictions(bundle: Path, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(cells, 4 + classes): what Frigate's detector sees of one frame (H, W, 3) BGR of the model's size."""
    session = ort.InferenceSession(bundle / "frigate" / "edge-yolov9.onnx", providers=["CPUExecutionProvider"])
    (port,) = session.get_inputs()
    rgb = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)[None]
    (output,) = session.run(None, {port.name: rgb.transpose(0, 3, 1, 2).astype(np.float32) / 255})
    rows = np.squeeze(output)
    return rows.T if rows.shape[0] < rows.shape[1] else rows


def over_threshold(rows: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Boxes xyxy in pixels, scores, classes."""
    rows = rows[rows[:, 4:].max(axis=1) > LEAST]
    half = rows[:, 2:4] / 2
    boxes = np.concatenate((rows[:, :2] - half, rows[:, :2] + half), axis=1)
    return boxes, rows[:, 4:].max(axis=1), rows[:, 4:].argmax(axis=1)


def suppressed(boxes: NDArray[Any], scores: NDArray[Any], classes: NDArray[Any]) -> list[int]:
    """Positions that stay: greedy, class by class, the best first."""
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        rivals = [j for j in kept if classes[j] == classes[i]]
        if not rivals or iou_matrix(boxes[[i]], boxes[rivals]).max() <= LEAST:
            kept.append(int(i))
    return kept[:MOST]


@pytest.mark.parametrize("precision", ["fp32", "int8", "fp16"])
def test_one_float_input_and_one_output(made: dict[str, Path], precision: str) -> None:
    session = ort.InferenceSession(made[precision] / "frigate" / "edge-yolov9.onnx")
    ((given,), (output,)) = session.get_inputs(), session.get_outputs()
    assert (given.shape, given.type) == ([1, 3, 320, 320], "tensor(float)")
    assert (output.shape, output.type) == ([1, 4 + len(NAMES), 40**2 + 20**2 + 10**2], "tensor(float)")


@pytest.mark.parametrize("precision", ["fp32", "int8", "fp16"])
def test_boxes_are_the_detectors(made: dict[str, Path], precision: str) -> None:
    noise = 1e-3 if precision == "fp16" else 1e-4
    with Detector(made[precision], confidence=LEAST, iou=LEAST, max_detections=MOST) as detect:
        for frame in frames(6):
            boxes, scores, classes = over_threshold(predictions(made[precision], frame))
            kept = suppressed(boxes, scores, classes)
            found = detect(frame)
            assert len(kept) == len(found) >= 5
            assert np.allclose(scores[kept], found.confidence, atol=noise)
            assert np.array_equal(classes[kept], found.class_id)
            assert np.allclose(np.clip(boxes[kept], 0, 320), found.xyxy, atol=100 * noise)


def test_what_frigate_keeps_is_among_the_detectors_boxes(made: dict[str, Path]) -> None:
    """Frigate suppresses across classes and hands corners where OpenCV takes sizes: fewer boxes, none of its own."""
    kept = 0
    with Detector(made["fp32"], confidence=LEAST, iou=1) as detect:
        for frame in frames(6):
            boxes, scores, classes = over_threshold(predictions(made["fp32"], frame))
            index = np.asarray(cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), LEAST, LEAST)).reshape(-1)[:MOST]
            found = detect(frame)
            same = iou_matrix(np.clip(boxes[index], 0, 320), found.xyxy) > 0.999
            same &= classes[index][:, None] == found.class_id
            assert same.any(axis=1).all()
            kept += len(index)
    assert kept >= 6


def test_the_configuration_describes_the_model(made: dict[str, Path]) -> None:
    folder = made["fp32"] / "frigate"
    config = yaml.safe_load((folder / "config.yml").read_text())
    assert config["detectors"] == {"onnx": {"type": "onnx"}}
    model = config["model"]
    assert (model["model_type"], model["width"], model["height"]) == ("yolo-generic", 320, 320)
    assert (model["input_tensor"], model["input_dtype"], model["input_pixel_format"]) == ("nchw", "float", "rgb")
    assert Path(model["path"]).name == "edge-yolov9.onnx"
    pairs = [line.split(" ", maxsplit=1) for line in (folder / Path(model["labelmap_path"]).name).open()]
    assert {int(index): name.strip() for index, name in pairs} == dict(enumerate(NAMES))
    assert config["objects"]["track"] == list(NAMES)


def test_the_bundle_vouches_for_its_files(made: dict[str, Path]) -> None:
    files = bundles.read(made["fp32"]).manifest.files
    assert {name for name in files if name.startswith("frigate/")} == {
        f"frigate/{name}" for name in ("edge-yolov9.onnx", "edge-yolov9.txt", "config.yml")
    }


@pytest.mark.parametrize(("target", "preset"), [("tflite", "frigate"), ("onnx", "zoneminder")])
def test_another_target_or_preset_is_refused(tmp_path: Path, target: str, preset: str) -> None:
    options = CompileOptions(target, precision="fp32", preset=preset)
    with pytest.raises(TargetError, match=r"--target onnx, not to tflite|unknown preset 'zoneminder'"):
        compile_checkpoint(DEMO, options, tmp_path / "bundle", lambda line: None)
    assert not list(tmp_path.iterdir())


def test_more_classes_than_cells_are_refused(made: dict[str, Path], tmp_path: Path) -> None:
    manifest = bundles.read(made["fp32"]).manifest
    many = replace(manifest, names=tuple(f"class {index}" for index in range(2096)))
    with pytest.raises(CompileError, match="larger --imgsz"):
        frigate.write(tmp_path, many)


def test_a_name_with_spaces_and_quotes_survives(made: dict[str, Path], tmp_path: Path) -> None:
    manifest = bundles.read(made["fp32"]).manifest
    (tmp_path / manifest.model).write_bytes((made["fp32"] / manifest.model).read_bytes())
    frigate.write(tmp_path, replace(manifest, names=('traffic\nlight "red"', "no", "Straße: 3")))
    config = yaml.safe_load((tmp_path / "frigate" / "config.yml").read_text(encoding="utf-8"))
    assert config["objects"]["track"] == ['traffic light "red"', "no", "Straße: 3"]
    lines = (tmp_path / "frigate" / "edge-yolov9.txt").read_text(encoding="utf-8").splitlines()
    assert lines == ['0 traffic light "red"', "1 no", "2 Straße: 3"]
