"""Live sources: lost and back again, GStreamer pipelines, a real RTSP server, files behind a URL."""

from __future__ import annotations

import http.server
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_yolov9 import capture, gstreamer, live
from edge_yolov9.errors import SourceError
from edge_yolov9.live import Reader, Status
from edge_yolov9.sources import open_source
from tests.conftest import ROOT

SYSTEM_PYTHON = Path("/usr/bin/python3")

needs_gstreamer = pytest.mark.skipif(
    shutil.which("gst-launch-1.0") is None, reason="needs gst-launch-1.0 (Debian: gstreamer1.0-tools)"
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of hundredths of a second."""
    monkeypatch.setattr(live, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(live, "LONGEST_WAIT", 0.05)


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    def counts() -> tuple[int, int]:
        return threading.active_count(), len(list(Path("/proc/self/fd").glob("*")))

    before = counts()
    yield
    assert counts() == before


class Plug:
    """A camera that is unplugged after each of ``lives`` frames; in between ``refusals`` attempts to open it fail."""

    def __init__(self, lives: list[int], refusals: int = 0) -> None:
        self.lives, self.refusals = lives, refusals
        self.opened = self.released = self.refused = 0

    def __call__(self) -> capture.Capture:
        if self.opened and self.refused < self.refusals:
            self.refused += 1
            raise SourceError("cam does not open; check that it is connected")
        self.refused = 0
        self.opened += 1
        return Plugged(self, self.lives.pop(0) if self.lives else 0)


class Plugged:
    fps: float | None = 100.0
    total: int | None = None

    def __init__(self, plug: Plug, left: int) -> None:
        self.plug, self.left = plug, left
        self.gone = False

    def read(self) -> np.ndarray | None:
        assert not self.gone
        self.left -= 1
        return None if self.left < 0 else np.zeros((2, 2, 3), np.uint8)

    def position(self) -> float:
        return 0.0

    def release(self) -> None:
        assert not self.gone
        self.gone = True
        self.plug.released += 1


def test_a_lost_source_comes_back() -> None:
    plug, told = Plug([3, 0, 2, 10], refusals=2), []
    reader = Reader(plug, "cam", live=True, status=told.append)
    start = time.monotonic()
    indices = [next(reader).index for _ in range(6)]
    seconds = time.monotonic() - start
    assert indices[:3] == [0, 1, 2]
    assert 0.6 * 100 * seconds < indices[5] < 110 * seconds + 8  # time that was missed counts in frames
    assert [(status.event, status.attempt) for status in told[:8]] == [
        ("lost", 0),
        *(("reconnecting", attempt) for attempt in range(1, 7)),  # the third opens but gives no frame
        ("back", 6),
    ]
    assert [status.reason for status in told[:4]] == [
        "it gave no more frames",
        "it gave no more frames",
        "does not open; check that it is connected",
        "does not open; check that it is connected",
    ]
    assert told[7].reason == "it gave no more frames"
    assert str(told[2]) == "cam: opening it again, attempt 2 (does not open; check that it is connected)"
    assert reader.reconnects == 2
    reader.close()
    reader.close()
    assert plug.opened == plug.released == 4
    assert next(reader, None) is None


def test_waits_grow_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    reader = Reader(Plug([1, 1, 1], refusals=9), "cam", live=True)
    waits: list[float] = []
    reader._stop.wait = lambda seconds: waits.append(seconds)  # type: ignore[method-assign, assignment, misc]
    next(reader)
    next(reader)
    next(reader)
    assert waits[:10] == waits[10:] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]
    reader.close()


def test_closing_ends_a_wait_and_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "FIRST_WAIT", 60)
    monkeypatch.setattr("edge_yolov9.sources.OpenCVCapture", lambda *_: Plug([2])())
    for latest in (True, False):
        lost = threading.Event()
        source = open_source(0, latest=latest, status=lambda status, lost=lost: lost.set())  # type: ignore[misc]
        consumer = threading.Thread(target=list, args=(source,))
        consumer.start()
        assert lost.wait(2)
        source.close()
        consumer.join(1)
        assert not consumer.is_alive()


def test_what_the_callback_raises_ends_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_yolov9.sources.OpenCVCapture", lambda *_: Plug([2])())

    def enough(status: Status) -> None:
        raise SourceError(f"given up: {status.reason}")

    with open_source(0, status=enough) as source, pytest.raises(SourceError, match="given up: it gave no more frames"):
        list(source)


def test_a_camera_that_never_gave_a_frame_is_an_error_at_once() -> None:
    plug = Plug([0])
    with pytest.raises(SourceError, match="gave no frame"):
        next(Reader(plug, "cam", live=True))
    assert plug.released == 1


def test_a_file_behind_a_url_is_a_video_with_an_end(tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "film.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for i in range(12):
        writer.write(np.full((48, 64, 3), 20 * i, np.uint8))
    writer.release()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with open_source(f"http://u:secret@127.0.0.1:{server.server_port}/film.avi") as source:
            assert (source.kind, source.total, source.latest) == ("video", 12, False)
            assert "secret" not in source.name
            assert [(frame.index, round(frame.image.mean() / 20)) for frame in source] == [(i, i) for i in range(12)]
        server.shutdown()
        thread.join()


@needs_gstreamer
@pytest.mark.parametrize(("width", "height"), [(640, 480), (30, 21)])
def test_a_pipeline_that_ends(width: int, height: int) -> None:
    caps = f"video/x-raw,format=RGB,width={width},height={height},framerate=25/1"
    with open_source(f"videotestsrc num-buffers=5 pattern=red ! '{caps}' ! appsink drop=true") as source:
        assert (source.kind, source.fps, source.live) == ("video", 25, False)
        pictures = [frame.image for frame in source]
    assert [picture.shape for picture in pictures] == [(height, width, 3)] * 5
    assert all((picture == (0, 0, 255)).all() for picture in pictures)


@needs_gstreamer
def test_a_live_pipeline_is_started_again_when_it_dies() -> None:
    told: list[Status] = []
    pipeline = "videotestsrc is-live=true ! video/x-raw,width=64,height=48,framerate=50/1"
    with open_source(pipeline, latest=False, status=told.append) as source:
        assert source.live
        next(source)
        process = source._frames._capture._process  # type: ignore[attr-defined]
        process.kill()
        while not source.reconnects:
            next(source)
    assert [status.event for status in told] == ["lost", "reconnecting", "back"]


@needs_gstreamer
@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ("nosuchsrc ! videoconvert", 'no element "nosuchsrc"'),
        ("filesrc location=/no/such/file ! decodebin", "Resource not found"),
        ("videotestsrc ! 'video/x-raw", "is no GStreamer pipeline: No closing quotation"),
        ("rtspsrc location=rtsp://u:secret@127.0.0.1:9/ user-pw=secret ! decodebin", "rtsp://127.0.0.1:9/ ! decodebin"),
        ("audiotestsrc num-buffers=9 ! identity", "does not start: "),
    ],
)
def test_pipelines_that_do_not_start(pipeline: str, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(pipeline)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@needs_gstreamer
def test_a_pipeline_that_stalls_or_changes_its_size_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gstreamer, "READ_SECONDS", 0.5)
    monkeypatch.setattr(gstreamer, "OPEN_SECONDS", 0.5)
    for index, size in enumerate((16, 16, 32)):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.zeros((size, size, 3), np.uint8))
    files = f"multifilesrc location={tmp_path}/%d.png caps=image/png,framerate=25/1 ! pngdec"
    with open_source(files) as source, pytest.raises(SourceError, match="another size"):
        list(source)
    with pytest.raises(SourceError, match=r"no frame within 0\.5 s"):
        open_source("appsrc is-live=true ! video/x-raw,format=RGB,width=16,height=16,framerate=25/1")
    stalled = open_source("videotestsrc is-live=true num-buffers=99 ! video/x-raw,width=64,height=48,framerate=50/1")
    with stalled as source:
        next(source)
        source._frames._capture._process.send_signal(signal.SIGSTOP)  # type: ignore[attr-defined]
        with pytest.raises(SourceError, match=r"no frame for 0\.5 s"):
            list(source)


def test_without_gstreamer_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(SourceError, match="apt install gstreamer1"):
        open_source("videotestsrc ! identity")


def test_opencv_runs_the_pipeline_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(cv2.videoio_registry, "hasBackend", lambda _: True)
    monkeypatch.setattr(gstreamer, "OpenCVCapture", lambda *spec: asked.append(spec) or Plug([3])())
    with open_source("nvarguscamerasrc ! nvvidconv ! appsink sync=false", latest=False) as source:
        next(source)
    ((_, pipeline, backend),) = asked
    assert pipeline.startswith("nvarguscamerasrc ! nvvidconv ! videoconvert ! video/x-raw,format=BGR ! appsink ")
    assert pipeline.count("appsink") == 1
    assert backend == cv2.CAP_GSTREAMER


class Server:
    """``rtsp_server.py`` in a process of its own, which can be killed and started again on the same port."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"rtsp://127.0.0.1:{self.port}/camera"

    def start(self) -> str:
        """The reason why it does not start, or nothing."""
        script = [str(SYSTEM_PYTHON), str(ROOT / "tests" / "rtsp_server.py"), str(self.port)]
        self.process = subprocess.Popen(script, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        return "" if self.process.stdout.readline() == "ready\n" else self.process.communicate()[1].strip()[-200:]

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def server() -> Iterator[Server]:
    if not SYSTEM_PYTHON.exists():
        pytest.skip("needs /usr/bin/python3 with GStreamer's RTSP server")
    made = Server()
    problem = made.start()
    if problem:
        pytest.skip(f"needs python3-gi, gir1.2-gst-rtsp-server-1.0 and x264enc: {problem}")
    yield made
    made.kill()


@pytest.mark.parametrize("by", ["opencv", pytest.param("gstreamer", marks=needs_gstreamer)])
def test_a_real_rtsp_server_that_dies_and_returns(server: Server, by: str) -> None:
    pipeline = f"rtspsrc location={server.url} protocols=tcp latency=0 ! decodebin"
    told: list[Status] = []

    def listen(status: Status) -> None:
        told.append(status)
        if status.event == "reconnecting" and status.attempt == 2:
            assert not server.start()

    with open_source(server.url if by == "opencv" else pipeline, status=listen) as source:
        assert (source.live, source.latest) == (True, True)
        before = [next(source) for _ in range(20)]
        while before[-1].index < 60:  # OpenCV looks at a second's frames before it gives the first
            before.append(next(source))
        assert before[0].image.shape == (240, 320, 3)
        assert before[0].image.max() > 200  # the white ball
        assert 0.2 < before[-1].timestamp - before[-13].timestamp < 2
        server.kill()
        end = time.monotonic() + 20
        while not source.reconnects:
            assert next(source).index > before[-1].index
            assert time.monotonic() < end
        assert [next(source).image.shape for _ in range(5)] == [(240, 320, 3)] * 5
    events = [status.event for status in told]
    assert events[0] == "lost"
    assert events[-1] == "back"
    assert set(events[1:-1]) == {"reconnecting"}


def test_a_frozen_camera_is_noticed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "READ_SECONDS", 1)
    monkeypatch.setattr(capture, "OPEN_SECONDS", 1)
    lost: list[float] = []
    told: list[Status] = []

    def listen(status: Status) -> None:
        lost.append(time.monotonic())
        told.append(status)

    with open_source(server.url, status=listen) as source:
        for _ in range(40):
            next(source)
        start = time.monotonic()
        server.process.send_signal(signal.SIGSTOP)
        while len(lost) < 3 and time.monotonic() < start + 15:
            time.sleep(0.02)
    assert 0.5 < lost[0] - start < 2
    assert told[0].reason == "no frame for 1 s"
    assert lost[2] - lost[1] < 2.5  # the attempt in between was given up as well
