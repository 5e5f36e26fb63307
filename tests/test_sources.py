import http.server
import os
import shutil
import threading
import time
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from urllib.parse import quote

import cv2
import numpy as np
import pytest

from edge_yolov9.errors import SourceError
from edge_yolov9.images import image_files, image_size, read_image
from edge_yolov9.video.frames import Frame, Iterated
from edge_yolov9.video.latest import Latest
from edge_yolov9.video.source import open_source


def grey(value: int, height: int = 48, width: int = 64) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


@pytest.fixture
def folder(tmp_path):
    for name, value in (("10.png", 10), ("2.png", 2), ("1.png", 1)):
        cv2.imwrite(str(tmp_path / name), grey(value))
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden.png").write_bytes(b"")
    (tmp_path / "sub").mkdir()
    cv2.imwrite(str(tmp_path / "sub" / "3.png"), grey(3))
    return tmp_path


@pytest.fixture
def video(tmp_path):
    file = tmp_path / "film.mp4"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    for i in range(6):
        writer.write(grey(40 * i))
    writer.release()
    return file


def test_an_image(folder):
    with open_source(folder / "2.png") as source:
        (frame,) = source
    assert (source.kind, source.live, source.total) == ("image", False, 1)
    assert (frame.name, frame.index, frame.timestamp) == ("2.png", 0, 0.0)
    assert (frame.image == 2).all()


def test_a_folder_in_natural_order_without_its_subfolders(folder):
    with open_source(str(folder)) as source:
        frames = list(source)
    assert (source.kind, source.total) == ("folder", 3)
    assert [(frame.name, frame.index, int(frame.image[0, 0, 0])) for frame in frames] == [
        ("1.png", 0, 1),
        ("2.png", 1, 2),
        ("10.png", 2, 10),
    ]
    assert [path.name for path in image_files(folder, recursive=True)] == ["1.png", "2.png", "10.png", "3.png"]


def test_a_broken_image_in_a_folder_raises_or_is_reported(folder):
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:40])
    with open_source(folder) as source, pytest.raises(SourceError, match=r"2\.png does not decode"):
        list(source)
    told = []
    with open_source(folder, broken=told.append) as source:
        assert [(frame.name, frame.index) for frame in source] == [("1.png", 0), ("10.png", 2)]
    assert [type(error) for error in told] == [SourceError]


def test_a_video(video):
    with open_source(video) as source:
        frames = list(source)
    assert (source.kind, source.total, source.fps) == ("video", 6, 10)
    assert [frame.index for frame in frames] == list(range(6))
    assert [frame.timestamp for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert [round(float(frame.image.mean()) / 40) for frame in frames] == list(range(6))
    source.close()


@pytest.mark.parametrize(
    "name", ["v%03d.mp4", "2024-05-01T10:00:00.mp4", "a ! b#c?d@e ü.mp4", "0", "env:HOME", "-v", " a.mp4"]
)
def test_a_film_of_any_name_is_that_film(video, tmp_path, monkeypatch, name):
    shutil.copy(video, tmp_path / "v000.mp4")
    (tmp_path / "v000.mp4").write_bytes(b"another")
    video.rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for spec in (name, f"./{name}", tmp_path / name, f"file://{tmp_path}/{name}", f"file:{quote(name)}"):
        with open_source(spec) as source:
            assert [frame.name for frame in source] == [name] * 6
            assert source.kind == "video"


def test_a_number_is_a_camera_where_no_file_has_its_name(camera, tmp_path, monkeypatch):
    camera(5)
    monkeypatch.chdir(tmp_path)
    with open_source("0") as source:
        assert source.name == "camera 0"
    (tmp_path / "0").mkdir()
    cv2.imwrite(str(tmp_path / "0" / "1.png"), grey(1))
    with open_source("0") as folder, open_source(0) as source:
        assert (folder.kind, source.kind) == ("folder", "live")
    with pytest.raises(SourceError, match="no source '1'"):
        open_source(Path("1"))
    (tmp_path / "2").mkdir()
    with pytest.raises(SourceError, match=r"2 holds no image.*camera 2 is /dev/video2"):
        open_source("2")


@pytest.mark.parametrize("suffix", ["", ".jpg", ".mp4", ".yaml"])
def test_a_pipe_or_device_is_no_file(tmp_path, suffix):
    os.mkfifo(tmp_path / f"pipe{suffix}")
    for spec in (tmp_path / f"pipe{suffix}", f"file:{tmp_path}/pipe{suffix}", "/dev/zero"):
        with pytest.raises(SourceError, match="no source"):
            open_source(spec)


def test_a_list_of_a_film_names_no_file_elsewhere(tmp_path):
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/x.ts"
        files = {
            "list.m3u8": f"#EXTM3U\n#EXTINF:5,\n{url}\n#EXT-X-ENDLIST\n",
            "list.ffconcat": f"ffconcat version 1.0\nfile '{url}'\n",
        }
        for name, text in files.items():
            (tmp_path / name).write_text(text)
            with pytest.raises(SourceError):
                list(open_source(tmp_path / name))
        server.shutdown()
        thread.join()
    assert asked == []


def test_what_is_no_source(folder, capfd):
    (folder / "fake.mp4").write_bytes(b"no video" * 100)
    (folder / "empty").mkdir()
    for spec, message in (
        (folder / "gone.jpg", "no source"),
        ("", "no source"),
        (folder / "fake.mp4", "neither an image nor a video"),
        (folder / "notes.txt", "neither an image nor a video"),
        (folder / "empty", "holds no image"),
        (97, "camera 97 does not open"),
        ("97", r"camera 97 does not open.*write its path, \./97"),
        (-1, "no source"),
        (np.zeros((9, 9, 3), np.uint8), "as text, path or camera index, got ndarray"),
        (None, "got NoneType"),
    ):
        with pytest.raises(SourceError, match=message) as caught:
            open_source(spec)
        assert "\n" not in str(caught.value)
    assert "WARN" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("rtsp://user:secret@127.0.0.1:9/x", "rtsp://127.0.0.1:9/x"),
        ("rtsp://user:sec@secret@127.0.0.1:9/x", "rtsp://127.0.0.1:9/x"),
        ("rtsp://user:sec/secret@127.0.0.1:9/x", "rtsp://127.0.0.1:9/x"),
        ("rtsp://127.0.0.1:9/x@1", "rtsp://127.0.0.1:9/x@1"),
        (
            "http://127.0.0.1:9/x?user=me&Password=secret&channel=1",
            "http://127.0.0.1:9/x?user=me&Password=***&channel=1",
        ),
    ],
)
def test_a_stream_that_does_not_answer_names_no_password(url, name):
    with pytest.raises(SourceError) as caught:
        open_source(url)
    assert str(caught.value).startswith(f"{name} does not open")


def test_read_image_is_upright_and_refuses_rubbish(tmp_path):
    fine, jpeg = cv2.imencode(".jpg", grey(50, 48, 64))
    assert fine
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # orientation 6: turned
    data = jpeg.tobytes()
    (tmp_path / "turned.jpg").write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
    (tmp_path / "plain.jpg").write_bytes(data)
    assert read_image(tmp_path / "turned.jpg").shape == (64, 48, 3)
    assert image_size(tmp_path / "turned.jpg") == (64, 48)
    assert image_size(tmp_path / "plain.jpg") == read_image(tmp_path / "plain.jpg").shape[:2] == (48, 64)
    cv2.imwrite(str(tmp_path / "grey.png"), grey(9)[:, :, 0])
    assert read_image(tmp_path / "grey.png").shape == (48, 64, 3)
    assert image_size(tmp_path / "grey.png") == (48, 64)
    for name, content in (("empty.jpg", b""), ("cut.jpg", data[:20]), ("text.jpg", b"hello")):
        (tmp_path / name).write_bytes(content)
        for read in (read_image, image_size):
            with pytest.raises(SourceError, match="does not decode"):
                read(tmp_path / name)
    with pytest.raises(SourceError, match="cannot read image"):
        read_image(tmp_path)


class Camera:
    """Stands in for cv2.VideoCapture: gives ``count`` new grey pictures, each when the test lets it, or all at once."""

    fps = 100.0

    def __init__(self, count: int, held: bool) -> None:
        self.count, self.held, self.reads, self.released = count, held, 0, threading.Event()
        self.asked, self.allowed = SimpleQueue(), SimpleQueue()

    def show(self, number: int) -> None:
        """Give ``number`` pictures; returns when the reader has put them away and waits for the next."""
        for _ in range(number):
            self.asked.get(timeout=10)
            self.allowed.put(None)
        self.asked.get(timeout=10)
        self.asked.put(None)

    def isOpened(self) -> bool:
        return True

    def get(self, key: int) -> float:
        return self.fps if key == cv2.CAP_PROP_FPS else 0.0

    def read(self):
        assert not self.released.is_set(), "read after release"
        if self.held:
            self.asked.put(None)
            self.allowed.get(timeout=10)
        else:
            time.sleep(0.001)  # lets the consumer have its turn
        if self.reads == self.count:
            return False, None
        self.reads += 1
        return True, grey(self.reads - 1)

    def release(self) -> None:
        self.released.set()


@pytest.fixture
def camera(monkeypatch):
    def plug_in(count: int, held: bool = False) -> Camera:
        made = Camera(count, held)
        monkeypatch.setattr(cv2, "VideoCapture", lambda *_: made)
        return made

    return plug_in


def test_a_live_source_drops_stale_frames(camera):
    device = camera(40, held=True)
    indices = []
    with open_source(0) as source:
        assert (source.live, source.fps) == (True, 100)
        for _ in range(8):  # five frames arrive while one is looked at
            device.show(5)
            frame = next(source)
            assert int(frame.image[0, 0, 0]) == frame.index
            indices.append(frame.index)
        assert source.dropped == 40 - len(indices)
        device.allowed.put(None)
    assert indices == [4, 9, 14, 19, 24, 29, 34, 39]  # never from a queue
    assert device.released.is_set()


def test_latest_false_gives_every_frame(camera):
    device = camera(5)
    with open_source("rtsp://camera/1", latest=False) as source:
        assert [frame.index for frame in islice(source, 5)] == [0, 1, 2, 3, 4]
    assert device.released.is_set()


def test_leaving_a_live_source_ends_its_thread(camera):
    device = camera(10**6)
    with open_source(0) as source:
        next(source)
    assert device.released.wait(1)
    assert not [thread for thread in threading.enumerate() if thread.name == "latest" and thread.is_alive()]
    source.close()
    assert list(source) == []


def test_a_live_source_without_frames_is_an_error(camera):
    camera(0)
    with open_source(0) as source, pytest.raises(SourceError, match="gave no frame"):
        list(source)


def test_errors_of_the_reading_thread_reach_the_consumer():
    class Cable(Iterated):
        released = False

        def close(self):
            self.released = True

    def items():
        yield Frame(grey(1), "cam", 0, 0.0)
        raise SourceError("cable pulled")

    cable = Cable(items())
    reader = Latest(cable)
    with pytest.raises(SourceError, match="cable pulled"):
        list(reader)
    assert cable.released
    reader.stop()
