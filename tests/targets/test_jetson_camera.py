"""The letterbox on the GPU: the same numbers as the host's within a grey level, and the path that uses it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from edge_yolov9.targets.jetson.graphs import letterbox as graphs
from edge_yolov9.targets.jetson.session import TensorRTSession
from numpy.typing import NDArray

from edge_yolov9 import Detector, registry
from edge_yolov9 import bundle as bundles
from edge_yolov9.errors import BundleError, InferenceError
from edge_yolov9.geometry import letterbox
from edge_yolov9.images import read_image
from tests.targets.jetson_machine import SIZE, Machine
from tests.targets.jobs import image_paths, make_bundle, make_job
from tests.targets.real_tensorrt import build_rtx
from tests.targets.test_jetson_errors import reseal

CAMERA = (120, 160)
"""(height, width) of the pretended camera's frames."""

PLACES = [
    ((720, 1280), (640, 640)),
    ((1080, 1920), (640, 640)),
    ((480, 640), (320, 320)),
    ((480, 640), (640, 640)),
    ((300, 400), (640, 640)),
    ((640, 640), (640, 640)),
    ((719, 1283), (384, 640)),
    ((500, 333), (416, 416)),
    ((37, 53), (96, 96)),
    ((97, 95), (96, 96)),
    ((1, 1), (32, 32)),
]


def picture(height: int, width: int) -> NDArray[np.uint8]:
    """Noise above, something smooth below: both kinds of rounding."""
    frame = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    frame[height // 2 :] = cv2.GaussianBlur(frame, (0, 0), 3)[height // 2 :]
    return frame


def run(frame_size: tuple[int, int], input_size: tuple[int, int], frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    model = graphs.build(frame_size, input_size, "images")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"frame": frame})[0], np.float32)


@pytest.mark.parametrize(("frame_size", "input_size"), PLACES)
def test_same_numbers_as_the_host_within_a_grey_level(frame_size: tuple[int, int], input_size: tuple[int, int]) -> None:
    frame = picture(*frame_size)
    got = run(frame_size, input_size, frame)
    host = letterbox(frame, input_size)[0][:, :, ::-1].transpose(2, 0, 1)
    assert got.shape == (1, 3, *input_size)
    difference = np.abs(got[0] * 255 - host)
    assert difference.max() < 1.01
    assert (difference > 0.5).mean() < 0.15, "a level off only where rounding may go either way"


def test_taps_are_weights() -> None:
    for source, target, area in ((1280, 640, True), (719, 360, True), (100, 333, False), (7, 3, True)):
        index, weight = graphs.taps(source, target, area)
        np.testing.assert_allclose(weight.sum(axis=0), 1, atol=1e-6)
        assert index.min() >= 0
        assert index.max() < source
        assert len(index) == (2 if not area or (source, target) == (1280, 640) else len(index))


def test_tensorrt_builds_it(tmp_path: Path) -> None:
    file = tmp_path / "letterbox.onnx"
    onnx.save(graphs.build((720, 1280), (640, 640), "images"), file)
    (found,) = build_rtx(tmp_path, file, architectures="SM86,SM89,SM120")
    assert found.get("bytes", 0) > 1e4, found
    assert [kind for _, kind in found["inputs"]] == ["UINT8"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    job = make_job(tmp_path_factory.mktemp("camera"), "fp32", size=SIZE, target="jetson", camera=CAMERA)
    return make_bundle("jetson", job).path


def frame() -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(read_image(image_paths("val")[0]), CAMERA[::-1]), np.uint8)


@pytest.mark.parametrize("integrated", [True, False])
@pytest.mark.parametrize("version", ["8.5.2.2", "10.3.0", "11.4.0.106"])
def test_frames_go_to_the_gpu_as_they_are(version: str, integrated: bool, machine: Machine, bundle: Path) -> None:
    record = machine.install(version)
    gpu = machine.plug(integrated=integrated)
    session = registry.open_session(bundles.read(bundle))
    assert session.frame_size == CAMERA
    assert record.builds == 2
    host = [array.copy() for array in session.infer(letterbox(frame(), (SIZE, SIZE))[0])]
    before, launches = gpu.copies, gpu.launches
    found = [array.copy() for array in session.infer_frame(frame())]
    assert gpu.copies - before == (0 if integrated else 7), "the frame instead of the image"
    assert gpu.launches - launches == 1, "letterbox and model are one graph"
    for a, b in zip(found, host, strict=True):
        assert np.abs(a - b).max() < 0.35, "what one grey level in some pixels does to a logit"
    np.testing.assert_array_equal(session.infer(letterbox(frame(), (SIZE, SIZE))[0])[1], host[1])
    session.close()
    assert not gpu.held


def test_the_detector_uses_it_for_frames_of_that_size(
    machine: Machine, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.install("10.3.0")
    with Detector(bundle, confidence=0.01) as detect, Detector(bundle, runtime="onnx", confidence=0.01) as plain:
        used: list[str] = []
        for name in ("infer", "infer_frame"):
            inner = getattr(TensorRTSession, name)
            watched = lambda own, image, n=name, f=inner: (used.append(n), f(own, image))[1]  # noqa: E731
            monkeypatch.setattr(TensorRTSession, name, watched)
        found, expected = detect(frame()), plain(frame())
        assert len(found) == len(expected) > 3
        np.testing.assert_allclose(found.xyxy[0], expected.xyxy[0], atol=1)
        detect(frame()[:100])
        assert used == ["infer_frame", "infer"]


def test_where_the_gpus_letterbox_is_off_the_host_does_it(
    machine: Machine, bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    machine.install("10.3.0").spoil_all = 0.0063  # over a grey level, and too little to be seen in a logit
    session = registry.open_session(bundles.read(bundle))
    assert session.frame_size is None
    assert "frames are letterboxed on the host: the engine does not compute" in caplog.text
    assert "grey levels off the host's" in caplog.text
    session.close()
    assert not machine.cudart.held


@pytest.mark.parametrize("cached", [False, True])
def test_a_manifest_of_another_camera(
    cached: bool, machine: Machine, bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The engine would read beyond a smaller frame."""
    machine.install("10.3.0")
    read = bundles.read(bundle)
    if cached:
        registry.open_session(read).close()
    camera = {**read.manifest.extra["camera"], "height": CAMERA[0] // 2}
    session = registry.open_session(
        replace(read, manifest=replace(read.manifest, extra={**read.manifest.extra, "camera": camera}))
    )
    assert session.frame_size is None
    assert "frames are letterboxed on the host" in caplog.text
    assert "the letterbox engine has the tensors {'frame': (120, 160, 3)" in caplog.text
    session.close()
    assert not machine.cudart.held


def test_the_letterbox_computes_in_float32_whatever_the_model_does(machine: Machine, tmp_path: Path) -> None:
    job = make_job(tmp_path, "fp16", size=SIZE, target="jetson", camera=CAMERA)
    record = machine.install("10.3.0")
    registry.open_session(bundles.read(make_bundle("jetson", job).path)).close()
    assert record.builds == 2
    assert record.flags == ["FP16"], "of the model alone"


def test_a_manifest_without_the_letterbox(machine: Machine, bundle: Path, tmp_path: Path) -> None:
    machine.install("10.3.0")
    without = reseal(bundle, tmp_path / "a", lambda folder: (folder / "letterbox.onnx").unlink())
    with pytest.raises(BundleError, match="no letterbox ONNX"):
        registry.open_session(bundles.read(without))
    read = bundles.read(bundle)
    nonsense = replace(read, manifest=replace(read.manifest, extra={**read.manifest.extra, "camera": {"height": "x"}}))
    with pytest.raises(BundleError, match=r"extra: camera\.height must be an integer, got .x."):
        registry.open_session(nonsense)


def test_the_host_letterboxes_where_nothing_else_was_asked_for(machine: Machine, made: dict[str, Path]) -> None:
    machine.install("10.3.0")
    session = registry.open_session(bundles.read(made["fp32"]))
    assert session.frame_size is None
    with pytest.raises(InferenceError, match="compile it with --camera HEIGHTxWIDTH"):
        session.infer_frame(frame())
    session.close()
