"""The browser's stream: what viewers get, how little they can hold up, and how it ends."""

from __future__ import annotations

import http.client
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from queue import Queue

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_yolov9.errors import InputError
from edge_yolov9.video import mjpeg
from edge_yolov9.video.mjpeg import MjpegServer


@pytest.fixture
def server() -> Iterator[MjpegServer]:
    with MjpegServer(0, title="yard <1>") as opened:
        yield opened


def plain(value: int) -> NDArray[np.uint8]:
    """A picture that says which it is."""
    return np.full((48, 64, 3), value, np.uint8)


def get(server: MjpegServer, path: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(server.url.split("/")[2], timeout=10)
    connection.request("GET", path)
    return connection.getresponse()


def value_of(jpeg: bytes) -> int:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return round(float(image.mean()))


def parts(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """The JPEGs of a stream."""
    assert response.readline() == b"--frame\r\n"
    while response.readline() == b"Content-Type: image/jpeg\r\n":
        length = int(response.readline().removeprefix(b"Content-Length: "))
        assert response.readline() == b"\r\n"
        yield response.read(length)
        assert response.readline() + response.readline() == b"\r\n--frame\r\n"


def wait_for(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def viewers() -> int:
    return sum(thread.name == "mjpeg viewer" for thread in threading.enumerate())


def test_the_page_shows_the_stream(server: MjpegServer) -> None:
    page = get(server, "/").read().decode()
    assert '<img id="stream" src="/stream"' in page
    assert "yard &lt;1&gt;" in page
    assert get(server, "/etc/passwd").status == 404


def test_the_newest_frame_is_a_picture(server: MjpegServer) -> None:
    assert value_of(get(server, "/frame.jpg").read()) == 114  # nothing was shown yet
    for value in (10, 20, 30):
        server.show(plain(value))
    response = get(server, "/frame.jpg?cache=no")
    assert response.headers["Content-Type"] == "image/jpeg"
    assert response.headers["Cache-Control"] == "no-store"
    assert value_of(response.read()) == 30


def test_several_viewers_see_every_frame_they_have_time_for(server: MjpegServer) -> None:
    streams = [parts(get(server, "/stream")) for _ in range(3)]
    assert [value_of(next(stream)) for stream in streams] == [114] * 3
    for value in (50, 60, 70):
        server.show(plain(value))
        assert [value_of(next(stream)) for stream in streams] == [value] * 3


def test_a_slow_viewer_gets_fewer_frames_and_holds_nobody_up(server: MjpegServer) -> None:
    random = np.random.default_rng(0)
    frames = [np.where(random.random((360, 640, 3)) < 0.5, value, 255 - value).astype(np.uint8) for value in range(4)]
    slow = parts(get(server, "/stream"))
    next(slow)
    start = time.monotonic()
    for i in range(400):
        server.show(frames[i % 4])
        time.sleep(0.002)
    assert time.monotonic() - start < 10
    server.show(plain(200))
    seen = [value_of(next(slow))]
    while seen[-1] != 200:
        seen.append(value_of(next(slow)))
    assert len(seen) < 100
    assert server.newest() == server.newest()


def test_a_viewer_that_left_is_noticed_while_nothing_new_comes(
    server: MjpegServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mjpeg, "REPEAT_SECONDS", 0.05)
    response = get(server, "/stream")
    stream = parts(response)
    assert [value_of(next(stream)) for _ in range(3)] == [114] * 3
    assert viewers() == 1
    response.close()
    wait_for(lambda: viewers() == 0)


def test_too_many_viewers_are_turned_away_and_room_is_made_again(
    server: MjpegServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mjpeg, "MOST_CONNECTIONS", 2)
    monkeypatch.setattr(mjpeg, "REPEAT_SECONDS", 0.05)
    first, second = get(server, "/stream"), get(server, "/stream")
    assert get(server, "/frame.jpg").status == 503
    first.close()
    wait_for(lambda: viewers() == 1)
    assert get(server, "/frame.jpg").status == 200
    second.close()


def test_closing_ends_viewers_threads_and_the_port() -> None:
    before = threading.active_count()
    server = MjpegServer(0)
    port = int(server.url.rstrip("/").rpartition(":")[2])
    streams = [parts(get(server, "/stream")) for _ in range(2)]
    for stream in streams:
        next(stream)
    silent = socket.create_connection(("127.0.0.1", port))  # asks for nothing
    wait_for(lambda: viewers() == 3)
    start = time.monotonic()
    server.close()
    server.close()
    assert time.monotonic() - start < 2
    assert [list(stream) for stream in streams] == [[], []]
    assert silent.recv(1) == b""
    silent.close()
    assert threading.active_count() == before
    with MjpegServer(port):
        pass


def test_what_cannot_be_served_is_an_input_error(server: MjpegServer) -> None:
    port = int(server.url.rstrip("/").rpartition(":")[2])
    with pytest.raises(InputError, match=rf"cannot serve on 127\.0\.0\.1:{port}: .*choose another port"):
        MjpegServer(port)
    with pytest.raises(InputError, match=r"cannot serve on no\.such\.host\.invalid"):
        MjpegServer(0, "no.such.host.invalid")
    for options in ({"port": 70000}, {"quality": 0}):
        with pytest.raises(InputError, match="expected a port"):
            MjpegServer(**{"port": 0, **options})
    for wrong in (np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4), np.uint8)):
        with pytest.raises(InputError, match="expected a picture"):
            server.show(wrong)  # type: ignore[arg-type]


def test_an_open_server_does_not_hold_the_process_back() -> None:
    code = (
        "import socket, sys; from edge_yolov9.video.mjpeg import MjpegServer; server = MjpegServer(0)\n"
        "socket.create_connection(('127.0.0.1', int(server.url.rstrip('/').rpartition(':')[2])))\n"
        "print(sorted(sys.modules.keys() & {'torch', 'onnx', 'click', 'yaml', 'openvino'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "[]\n"


def test_visitors_that_hang_up_are_no_news(
    server: MjpegServer, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve, came = server._server._serve, Queue[object]()
    monkeypatch.setattr(server._server, "_serve", lambda *visit: (came.put(visit), serve(*visit)))
    for request in (b"", b"GET / HTT", b"\x16\x03\xff\r\n\r\n", b"GET /stream HTTP/1.1\r\n\r\n"):
        visitor = socket.create_connection(("127.0.0.1", int(server.url.rstrip("/").rpartition(":")[2])))
        visitor.sendall(request)
        came.get(timeout=10)
        visitor.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not a farewell
        visitor.close()
    for value in range(20):
        server.show(plain(value))
        time.sleep(0.01)
    wait_for(lambda: viewers() == 0)
    assert capfd.readouterr().err == ""


def test_many_short_visits_leave_nothing(server: MjpegServer) -> None:
    with ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(get(server, "/frame.jpg")).read()
    wait_for(lambda: viewers() == 0)
