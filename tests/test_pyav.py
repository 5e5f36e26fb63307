"""Network cameras that change their size, by PyAV: the frame is right, never an old picture."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

from edge_yolov9.errors import SourceError
from edge_yolov9.video.source import open_source

pytest.importorskip("av", reason="PyAV comes with the extra streams")


@pytest.fixture
def served() -> Iterator[Callable[[Callable[[http.server.BaseHTTPRequestHandler], None]], str]]:
    """``served(answer)`` is the URL of a server that answers so."""
    servers: list[http.server.ThreadingHTTPServer] = []

    def serve(answer: Callable[[http.server.BaseHTTPRequestHandler], None]) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                with contextlib.suppress(OSError):
                    answer(self)

        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        servers[-1].daemon_threads = True
        threading.Thread(target=servers[-1].serve_forever, args=(0.05,), daemon=True).start()
        return f"http://user:geheim@127.0.0.1:{servers[-1].server_port}/"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_camera_that_changes_its_size_shows_what_it_sees(
    served: Callable[[Callable[[http.server.BaseHTTPRequestHandler], None]], str],
) -> None:
    sizes = [(48, 64), (64, 48), (96, 128), (24, 32)]

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=x")
        handler.end_headers()
        for number, size in enumerate(sizes * 50):
            jpeg = cv2.imencode(".jpg", np.full((*size, 3), 20 + 50 * (number % 4), np.uint8))[1].tobytes()
            head = f"--x\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            for _ in range(5):
                handler.wfile.write(head.encode() + jpeg + b"\r\n")
                time.sleep(0.01)

    seen = set()
    with open_source(served(answer), latest=False) as source:
        assert (source.kind, source.live) == ("live", True)
        for frame in source:
            seen.add((frame.image.shape[:2], round(float(frame.image.mean()))))
            if len(seen) >= 4 and frame.index > 30:
                break
    assert {size for size, _ in seen} == set(sizes)
    for size, value in seen:
        assert abs(value - (20 + 50 * sizes.index(size))) <= 2


def test_a_login_page_is_one_line_without_the_password(
    served: Callable[[Callable[[http.server.BaseHTTPRequestHandler], None]], str], capfd: pytest.CaptureFixture[str]
) -> None:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/html")
        handler.end_headers()
        handler.wfile.write(b"<html><form>please log in</form></html>" * 50)

    with pytest.raises(SourceError, match="does not open") as caught:
        open_source(served(answer))
    assert "geheim" not in str(caught.value) + "".join(capfd.readouterr())
