"""A real RTSP server that dies, returns, and freezes."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_yolov9.video import capture
from edge_yolov9.video.reader import Status
from edge_yolov9.video.source import open_source
from tests.conftest import ROOT, wait_for
from tests.streams import needs_gstreamer

SYSTEM_PYTHON = Path("/usr/bin/python3")
pytestmark = pytest.mark.usefixtures("impatient", "nothing_leaks")


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
        assert 0.2 < before[-1].timestamp - before[-13].timestamp < 60  # seconds, not in a burst
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
    told: list[Status] = []
    with open_source(server.url, status=told.append) as source:
        for _ in range(40):
            next(source)
        server.process.send_signal(signal.SIGSTOP)
        wait_for(lambda: len(told) > 2, 15)  # the attempt in between was given up as well
    assert [(status.event, status.attempt) for status in told[:3]] == [
        ("lost", 0),
        ("reconnecting", 1),
        ("reconnecting", 2),
    ]
    assert told[0].reason == "no frame for 1 s"
