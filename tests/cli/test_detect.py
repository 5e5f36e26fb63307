import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from urllib.request import urlopen

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from edge_yolov9.cli import main
from edge_yolov9.outputs import RECORD
from tests.conftest import PICTURES, network_camera
from tests.test_files import names

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
    assert len(list((tmp_path / "out").glob("*.jpg"))) == 3


def filmed(pictures, film):
    """The pictures of a folder as a video of five a second."""
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"MJPG"), 5, (640, 480))
    for file in sorted(pictures.iterdir()):
        writer.write(cv2.imread(str(file)))
    writer.release()
    return film


def test_pictures_of_the_users_are_not_replaced(bundle, pictures, tmp_path):
    """Not by pictures of the same name, not by the video; ours are, by the next run."""
    first = min(pictures.iterdir())
    film = filmed(pictures, tmp_path / "film.avi")
    (tmp_path / "out").mkdir()
    for source, name in ((pictures, first.name), (first, first.name), (film, "film.mp4")):
        (tmp_path / "out" / name).write_bytes(b"mine")
        result = detect(bundle, source, "--save", tmp_path / "out")
        assert result.exit_code == 1
        assert f"holds {name}, which is not as edge-yolov9 wrote it there" in result.output
        assert (tmp_path / "out" / name).read_bytes() == b"mine"
        assert names(tmp_path / "out") == [name]
        (tmp_path / "out" / name).unlink()
    for _ in range(2):
        assert detect(bundle, first, "--save", tmp_path / "out").exit_code == 0
        assert detect(bundle, film, "--save", tmp_path / "out").exit_code == 0


def test_a_video(bundle, pictures, tmp_path):
    film = filmed(pictures, tmp_path / "film.avi")
    result = detect(bundle, film, "--save", tmp_path / "out", "--json", "-")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["kind"] == "video"
    assert [frame["timestamp"] for frame in data["frames"]] == pytest.approx([0, 0.2, 0.4])
    assert "3 frames" in result.stderr
    assert names(tmp_path / "out") == [RECORD, "film.mp4"]
    saved = cv2.VideoCapture(str(tmp_path / "out" / "film.mp4"))
    assert saved.get(cv2.CAP_PROP_FPS) == 5
    assert [saved.read()[0] for _ in range(4)] == [True, True, True, False]
    tracked = json.loads(detect(bundle, film, "--track", "--json", "-").stdout)["frames"]
    assert len(tracked) == 3
    ids = [item["track_id"] for item in tracked[0]["detections"]]
    assert sorted(ids) == list(range(1, len(ids) + 1))


def test_json_lines_are_the_frames_of_the_json(bundle, pictures, tmp_path):
    assert detect(bundle, pictures, "--json", tmp_path / "all.json").exit_code == 0
    result = detect(bundle, pictures, "--json", tmp_path / "frames.jsonl")
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in (tmp_path / "frames.jsonl").read_text().splitlines()]
    whole = json.loads((tmp_path / "all.json").read_text())["frames"]
    for frame in (*lines, *whole):
        del frame["milliseconds"]
    assert lines == whole
    assert "3 images" in result.stdout


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
        ((bundle, file, "--confidence", "7"), "confidence must be a number in"),
        ((bundle, file, "--threads", "0"), "threads must be a whole number from 1"),
        ((bundle, file, "--runtime", "tflite"), "cannot be run by tflite"),
        ((bundle, file, "--json", tmp_path), "name a file"),
        ((bundle, file, "--save", pictures), "would replace the source"),
        ((bundle, pictures, "--save", pictures), "would replace the source"),
        ((bundle, file, "--serve", "0"), "use --save DIR for images"),
        ((bundle, file, "--serve", "192.0.2.1:8080"), "cannot serve on 192.0.2.1:8080"),
    ]
    if sys.platform.startswith("linux"):
        headless = re.search(r"GUI:\s+NONE", cv2.getBuildInformation())
        cases.append(((bundle, file, "--show"), "has no windows" if headless else "needs a display"))
    before = sorted(tmp_path.rglob("*"))
    for words, message in cases:
        result = detect(*words)
        check_clean(result)
        assert result.exit_code == 1, words
        assert message in result.stderr
        assert result.stderr.count("Error:") == 1, words
        assert result.stdout == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_a_failure_leaves_no_half_video(bundle, pictures, tmp_path, monkeypatch):
    film = filmed(pictures, tmp_path / "film.avi")
    import edge_yolov9.draw

    drawn = []

    def boxes(frame, *_):
        drawn.append(frame)
        if len(drawn) == 2:
            raise KeyboardInterrupt
        return frame

    monkeypatch.setattr(edge_yolov9.draw, "boxes", boxes)
    result = detect(bundle, film, "--save", tmp_path / "out", "--json", tmp_path / "out.json")
    assert result.exit_code == 1
    assert len(drawn) == 2
    assert list((tmp_path / "out").iterdir()) == []
    assert not (tmp_path / "out.json").exists()


def test_a_video_given_as_url_is_not_replaced(bundle, pictures, tmp_path):
    film = filmed(pictures, tmp_path / "film.avi").rename(tmp_path / "film.mp4")
    before = film.read_bytes()
    assert detect(bundle, film.as_uri(), "--save", tmp_path).exit_code == 0
    assert film.read_bytes() == before
    assert len(list(tmp_path.glob("file-*-film-mp4.mp4"))) == 1


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
    real, drawn = edge_yolov9.draw.boxes, []

    def boxes(frame, *objects):
        drawn.append(frame)
        if len(drawn) == 4:
            raise KeyboardInterrupt
        return real(frame, *objects)

    monkeypatch.setattr(edge_yolov9.draw, "boxes", boxes)
    result = detect(bundle, 0, "--save", tmp_path / "out", "--json", tmp_path / "out.json")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("camera 0: 3 frames, ")
    data = json.loads((tmp_path / "out.json").read_text())
    assert data["kind"] == "live"
    assert names(tmp_path / "out") == [RECORD, "camera-0.mp4"]
    assert {frame["saved"] for frame in data["frames"]} == {str(tmp_path / "out" / "camera-0.mp4")}
    assert device.image is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stream_is_served_annotated_until_it_is_told_to_end(bundle, pictures, tmp_path, number):
    picture = cv2.imread(str(next(iter(sorted(pictures.iterdir())))))
    words = ["detect", str(bundle), "--serve", "0", "--json", str(tmp_path / "out.json")]
    with network_camera(picture) as source:
        command = [sys.executable, "-m", "edge_yolov9", *words, source]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                url = process.stderr.readline().split()[0]
                for _ in range(1000):
                    data = urlopen(f"{url}frame.jpg", timeout=10).read()
                    seen = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
                    if seen.shape == picture.shape:
                        break
                    time.sleep(0.1)
                process.send_signal(number)
                out, errors = process.communicate(timeout=60)
            finally:
                process.kill()
    assert process.returncode == 0, errors
    assert errors == ""
    assert np.abs(seen.astype(int) - picture).max() > 60
    assert re.match(rf"{source}: \d+ frames?, \d+ RBC", out)
    assert json.loads((tmp_path / "out.json").read_text())["kind"] == "live"


def test_an_address_is_a_port_with_or_without_a_host(bundle, pictures):
    for wrong in ("web", "99999", "127.0.0.1:", "-1"):
        result = detect(bundle, pictures, "--serve", wrong)
        assert result.exit_code == 2
        assert "expected a port like 8080" in result.stderr


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs Xvfb, a display without a screen (apt install xvfb)")
def test_a_video_is_shown_in_a_window(bundle, pictures, tmp_path):
    film = filmed(pictures, tmp_path / "film.avi")
    read, write = os.pipe()
    with subprocess.Popen(["Xvfb", "-displayfd", str(write)], pass_fds=[write], stderr=subprocess.DEVNULL) as server:
        try:
            os.close(write)
            with os.fdopen(read) as line:
                display = f":{line.readline().strip()}"
            command = [sys.executable, "-m", "edge_yolov9", "detect", str(bundle), str(film), "--show"]
            environment = {**os.environ, "DISPLAY": display}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
        finally:
            server.terminate()
    assert "3 frames" in done.stdout


def test_a_damaged_film_says_how_much_of_it_was_read(bundle, pictures, tmp_path):
    film = filmed(pictures, tmp_path / "film.avi")
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    result = detect(bundle, film, "--json", tmp_path / "out.json")
    check_clean(result)
    assert result.exit_code == 1
    data = json.loads((tmp_path / "out.json").read_text())
    read = len(data["frames"])
    assert 0 < read < 3
    assert f"{read} of 3 frames" in result.stdout
    assert data["errors"] == [f"film.avi: {read} of 3 frames could be read; the file is damaged, or cut off"]


def test_a_folder_is_tracked_at_a_rate_alone(bundle, pictures):
    result = detect(bundle, pictures, "--track")
    assert result.exit_code == 1
    assert "--fps" in result.stderr
    result = detect(bundle, pictures, "--track", "--fps", 2, "--json", "-")
    assert result.exit_code == 0, result.output
    frames = json.loads(result.stdout)["frames"]
    assert [frame["timestamp"] for frame in frames] == [0, 0.5, 1]
    plain = json.loads(detect(bundle, pictures, "--json", "-").stdout)["frames"]
    assert [len(frame["detections"]) for frame in frames] == [len(frame["detections"]) for frame in plain]
