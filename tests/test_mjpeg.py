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
from edge_yolov9.video import connections, mjpeg
from edge_yolov9.video.mjpeg import MjpegServer
from tests.conftest import wait_for


@pytest.fixture
def server() -> Iterator[MjpegServer]:
    with MjpegServer(0, title="yard <1>") as opened:
        yield opened


@pytest.fixture(scope="module")
def named() -> Iterator[MjpegServer]:
    with MjpegServer(0, names=["Camera.example"]) as opened:
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


def ends(action: Callable[[], None]) -> None:
    """Do ``action``, which waits for no viewer: they would be waited for longer than this is."""
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    thread.join(connections.SEND_SECONDS - 1)
    assert not thread.is_alive()


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

    def film() -> None:
        for i in range(400):
            server.show(frames[i % 4])
            time.sleep(0.002)

    ends(film)
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
    monkeypatch.setattr(connections, "MOST_ANSWERED", 2)
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
    ends(server.close)
    ends(server.close)
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
    take, came = connections.BoundedServer.process_request, Queue[object]()
    monkeypatch.setattr(connections.BoundedServer, "process_request", lambda *visit: (take(*visit), came.put(visit)))
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


def port_of(server: MjpegServer) -> int:
    return int(server.url.rstrip("/").rpartition(":")[2])


def ask(server: MjpegServer, request: str) -> str:
    """The answer's head to a request as it is."""
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=10) as visitor:
        visitor.sendall(request.encode())
        answer = b""
        while b"\r\n\r\n" not in answer and (more := visitor.recv(4096)):
            answer += more
    return answer.partition(b"\r\n\r\n")[0].decode()


@pytest.mark.parametrize("path", ["/", "/frame.jpg", "/stream"])
@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("", 200),  # no browser
        ("Host: 127.0.0.1:{port}", 200),
        ("Host: 192.168.7.7:{port}", 200),
        ("Host: [::1]:{port}", 200),
        ("Host: localhost:{port}", 200),
        ("Host: LocalHost", 200),
        ("Host: camera.example.", 200),
        ("Host: localhost:{port}\r\nOrigin: http://localhost:{port}", 200),
        ("Host: evil.example", 403),
        ("Host: evil.example:{port}", 403),
        ("Host: 127.0.0.1.evil.example:{port}", 403),
        ("Host: evil-localhost", 403),
        ("Host: ", 403),
        ("Host: localhost\r\nHost: evil.example", 403),
        ("Host: localhost:{port}\r\nOrigin: http://evil.example", 403),
        ("Host: localhost:{port}\r\nOrigin: http://localhost:1", 403),
        ("Host: localhost:{port}\r\nOrigin: null", 403),
        ("Host: localhost:{port}\r\nOrigin: http://localhost:{port}\r\nOrigin: http://evil.example", 403),
        ("Origin: http://evil.example", 403),
    ],
)
def test_other_sites_get_nothing_whatever_name_they_point_here(
    named: MjpegServer, path: str, head: str, status: int
) -> None:
    lines = [f"GET {path} HTTP/1.1", *filter(None, [head.format(port=port_of(named))]), "", ""]
    answer = ask(named, "\r\n".join(lines))
    assert answer.split()[1] == str(status)
    assert "X-Frame-Options: DENY" in answer
    assert "frame-ancestors 'none'" in answer


def test_the_host_that_was_given_and_this_machines_name_are_served() -> None:
    with MjpegServer(0, "localhost") as server:
        assert server.names == {"localhost"}
    with MjpegServer(0, "0.0.0.0") as server:
        own = socket.gethostname()
        assert ask(server, f"GET / HTTP/1.1\r\nHost: {own}:80\r\n\r\n").split()[1] == "200"


def test_an_ipv6_address_is_served_by_its_url() -> None:
    try:
        server = MjpegServer(0, "::1")
    except InputError:
        pytest.skip("this machine has no IPv6")
    with server:
        assert server.url.startswith("http://[::1]:")
        assert get(server, "/").status == 200


def test_a_request_that_drips_in_has_an_end(server: MjpegServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.2)
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=0.02) as visitor:
        visitor.sendall(b"GET / HTTP/1.1\r\nX: ")
        for _ in range(500):  # ten seconds
            try:
                visitor.sendall(b"a")
                if visitor.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("it was never let go")
    wait_for(lambda: viewers() == 0)


def test_hundreds_that_never_finish_their_request_lock_nobody_out(server: MjpegServer) -> None:
    with ExitStack() as stack:
        for _ in range(300):
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", port_of(server)), timeout=10))
            slow.sendall(b"GET / HTTP/1.1\r\nX: ")
        for path in ("/", "/frame.jpg", "/stream"):
            assert get(server, path).status == 200
        wait_for(lambda: viewers() <= connections.MOST_ASKING + 1)


def test_one_address_cannot_take_all_places(server: MjpegServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MOST_STREAMS_PER_ADDRESS", 3)
    streams = [get(server, "/stream") for _ in range(3)]
    assert get(server, "/stream").status == 503
    assert get(server, "/frame.jpg").status == 200
    assert [value_of(next(parts(stream))) for stream in streams] == [114] * 3


def test_who_takes_nothing_gives_up_the_place(server: MjpegServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MOST_ANSWERED", 2)
    monkeypatch.setattr(connections, "STALLED_SECONDS", 0.05)
    noise = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
    with ExitStack() as stack:
        for _ in range(2):
            stalled = stack.enter_context(socket.create_connection(("127.0.0.1", port_of(server)), timeout=10))
            stalled.sendall(b"GET /stream HTTP/1.1\r\n\r\n")

        def served() -> bool:
            server.show(noise)
            return get(server, "/frame.jpg").status == 200

        wait_for(served)


@pytest.mark.parametrize("host", ["evil\0", "a" * 5000, "x." * 40 + "y" * 70, "no such host", "1.2.3.4.5", "\ud800"])
def test_a_host_that_is_none_is_one_line(host: str) -> None:
    with pytest.raises(InputError, match="cannot serve on") as caught:
        MjpegServer(0, host)
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()
    for wrong in ({"host": None}, {"names": "camera"}):
        with pytest.raises(InputError, match="expected a host as text"):
            MjpegServer(0, **wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected a port"):
        MjpegServer("80")  # type: ignore[arg-type]
