import json
import shutil
import sys
import time

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from edge_yolov9.cli import main
from tests.conftest import PICTURES

NAMES = ["RBC", "WBC", "Platelets"]


@pytest.fixture(scope="module")
def bundle(compiled):
    return compiled("openvino", "fp32")


@pytest.fixture
def pictures(tmp_path):
    """Three blood smears of known content."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for file in sorted(PICTURES.iterdir())[:3]:
        shutil.copy(file, folder)
    return folder


def detect(*words):
    return CliRunner().invoke(main, ["detect", *map(str, words)])


def check_clean(result):
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output


def test_an_image(bundle, pictures, tmp_path):
    file = next(iter(sorted(pictures.iterdir())))
    result = detect(bundle, file, "--save", tmp_path / "out", "--json", tmp_path / "out.json")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{file}: 1 image, ")
    assert result.stdout.count("\n") == 1
    data = json.loads((tmp_path / "out.json").read_text())
    assert data["kind"] == "image"
    assert data["names"] == NAMES
    assert data["settings"] == {"confidence": 0.25, "iou": 0.45, "max_detections": 300, "multi_label": False}
    (frame,) = data["frames"]
    assert (frame["width"], frame["height"], frame["name"]) == (640, 480, file.name)
    assert len(frame["detections"]) >= 5
    assert sum(data["counts"].values()) == len(frame["detections"])
    for item in frame["detections"]:
        x1, y1, x2, y2 = item["xyxy"]
        assert 0 <= x1 < x2 <= 640
        assert 0 <= y1 < y2 <= 480
        assert item["confidence"] > 0.25
        assert NAMES[item["class_id"]] == item["name"]
        assert f"{data['counts'][item['name']]} {item['name']}" in result.stdout
    drawn, plain = cv2.imread(frame["saved"]), cv2.imread(str(file))
    assert drawn.shape == plain.shape
    assert np.abs(drawn.astype(int) - plain).max() > 60


def test_a_folder_goes_on_past_a_broken_image(bundle, pictures, tmp_path):
    (pictures / "A_broken.jpg").write_bytes(b"no picture")
    result = detect(bundle, pictures, "--save", tmp_path / "out", "--json", tmp_path / "out.json")
    check_clean(result)
    assert result.exit_code == 1
    assert "A_broken.jpg does not decode" in result.stderr
    assert result.stdout.startswith(f"{pictures}: 3 images, ")
    assert "1 not readable" in result.stdout
    data = json.loads((tmp_path / "out.json").read_text())
    assert [frame["index"] for frame in data["frames"]] == [1, 2, 3]
    assert len(data["errors"]) == 1
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_a_video(bundle, pictures, tmp_path):
    film = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"MJPG"), 5, (640, 480))
    for file in sorted(pictures.iterdir()):
        writer.write(cv2.imread(str(file)))
    writer.release()
    result = detect(bundle, film, "--save", tmp_path / "out", "--json", "-")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["kind"] == "video"
    assert [frame["timestamp"] for frame in data["frames"]] == pytest.approx([0, 0.2, 0.4])
    assert "3 frames" in result.stderr
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["film.mp4"]
    saved = cv2.VideoCapture(str(tmp_path / "out" / "film.mp4"))
    assert saved.get(cv2.CAP_PROP_FPS) == 5
    assert [saved.read()[0] for _ in range(4)] == [True, True, True, False]


def test_thresholds_reach_the_detector(bundle, pictures, tmp_path):
    result = detect(bundle, pictures, "--confidence", 0.8, "--max-detections", 1, "--json", tmp_path / "few.json")
    assert result.exit_code == 0, result.output
    frames = json.loads((tmp_path / "few.json").read_text())["frames"]
    assert all(len(frame["detections"]) <= 1 for frame in frames)
    result = detect(bundle, pictures, "--confidence", 1)
    assert "no object" in result.stdout


def test_bad_input_is_one_line(bundle, pictures, tmp_path, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    file = next(iter(sorted(pictures.iterdir())))
    (tmp_path / "cut.jpg").write_bytes(file.read_bytes()[:300])
    (tmp_path / "fake.mp4").write_bytes(b"no film" * 50)
    cases = [
        ((bundle, tmp_path / "gone.jpg"), "no source"),
        ((bundle, tmp_path / "cut.jpg"), "does not decode"),
        ((bundle, tmp_path / "fake.mp4"), "neither an image nor a video"),
        ((tmp_path / "gone", file), "no bundle at"),
        ((bundle, file, "--confidence", "7"), "confidence must lie in"),
        ((bundle, file, "--threads", "0"), "threads must be at least 1"),
        ((bundle, file, "--runtime", "tflite"), "cannot be run by tflite"),
        ((bundle, file, "--json", tmp_path), "name a file"),
        ((bundle, file, "--save", pictures), "would replace the source"),
        ((bundle, pictures, "--save", pictures), "would replace the source"),
    ]
    if sys.platform.startswith("linux"):
        cases.append(((bundle, file, "--show"), "needs a display"))
    before = sorted(tmp_path.rglob("*"))
    for words, message in cases:
        result = detect(*words)
        check_clean(result)
        assert result.exit_code == 1, words
        assert message in result.stderr
        assert result.stderr.count("Error:") == 1
        assert result.stdout == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_a_failure_leaves_no_half_video(bundle, pictures, tmp_path, monkeypatch):
    film = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"MJPG"), 5, (640, 480))
    for file in sorted(pictures.iterdir()):
        writer.write(cv2.imread(str(file)))
    writer.release()
    import edge_yolov9.draw

    drawn = []

    def annotate(frame, found):
        drawn.append(frame)
        if len(drawn) == 2:
            raise KeyboardInterrupt
        return frame

    monkeypatch.setattr(edge_yolov9.draw, "annotate", annotate)
    result = detect(bundle, film, "--save", tmp_path / "out", "--json", tmp_path / "out.json")
    assert result.exit_code == 1
    assert len(drawn) == 2
    assert list((tmp_path / "out").iterdir()) == []
    assert not (tmp_path / "out.json").exists()


class Camera:
    """Stands in for cv2.VideoCapture: the same picture for ever; Ctrl-C comes with the fourth."""

    def __init__(self, image):
        self.image = image

    def isOpened(self):
        return True

    def get(self, _):
        return 0.0

    def read(self):
        time.sleep(0.005)
        return True, self.image

    def release(self):
        self.image = None


def test_ctrl_c_ends_a_camera_in_good_order(bundle, pictures, tmp_path, monkeypatch):
    import edge_yolov9.draw

    device = Camera(cv2.imread(str(next(iter(sorted(pictures.iterdir()))))))
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: device)
    real, drawn = edge_yolov9.draw.annotate, []

    def annotate(frame, found):
        drawn.append(found)
        if len(drawn) == 4:
            raise KeyboardInterrupt
        return real(frame, found)

    monkeypatch.setattr(edge_yolov9.draw, "annotate", annotate)
    result = detect(bundle, 0, "--save", tmp_path / "out", "--json", tmp_path / "out.json")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("camera 0: 3 frames, ")
    data = json.loads((tmp_path / "out.json").read_text())
    assert data["kind"] == "live"
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["camera-0.mp4"]
    assert {frame["saved"] for frame in data["frames"]} == {str(tmp_path / "out" / "camera-0.mp4")}
    assert device.image is None
