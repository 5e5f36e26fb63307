"""Frames in a browser: motion JPEG over HTTP, with the standard library and OpenCV.

Memory is bounded: the newest frame, its JPEG, and one thread per viewer. A viewer that is slow gets fewer frames, never
older ones; nobody waits for it.
"""

from __future__ import annotations

import functools
import socket
import threading
from collections.abc import Iterable
from numbers import Integral
from typing import Any

import cv2
import numpy as np

from edge_yolov9.errors import InputError
from edge_yolov9.geometry import PAD_VALUE, Image
from edge_yolov9.system.closing import Closing
from edge_yolov9.text import html
from edge_yolov9.video.address import masked
from edge_yolov9.video.connections import BoundedHandler, BoundedServer

REPEAT_SECONDS = 2.0
"""The last frame is sent again after so long without a new one: this is how a viewer that left is noticed, and how one
that waits knows that the server is there."""
SEND_BUFFER = 1 << 17
"""Bytes that the system may hold back for a slow viewer: little, because what waits there is old."""
EVERYWHERE = ("", "0.0.0.0", "::")
"""Hosts that mean every address of this machine."""

PAGE = """<!doctype html><meta charset="utf-8"><title>{title}</title>
<body style="margin:0;background:#111;display:grid;place-items:center;min-height:100vh">
<img id="stream" src="/stream" alt="{title}" style="max-width:100vw;max-height:100vh">
"""


class MjpegServer(Closing):
    """Serves what :meth:`show` is given. A context manager; its threads never hold the process back.

    ``/`` is a page, ``/stream`` the moving picture (multipart/x-mixed-replace), ``/frame.jpg`` the newest frame. There
    is no password: on any ``host`` but this machine's own, everyone who reaches the port sees the camera. Pages of
    other sites do not: requests by a foreign name or origin are refused, and no frame of another page shows it.
    """

    def __init__(
        self,
        port: int = 8080,
        host: str = "127.0.0.1",
        *,
        quality: int = 80,
        title: str = "edge-yolov9",
        names: Iterable[str] = (),
    ) -> None:
        """Start serving; a grey picture until the first frame.

        Args:
            port: 0 takes a free one; see ``url``.
            host: address to listen on, or a name of this machine; "0.0.0.0" for all.
            quality: JPEG quality, 1 to 100.
            title: title of the page.
            names: host names by which browsers may open it, beside IP addresses, localhost and ``host``; with "0.0.0.0"
                this machine's own name is one.

        Raises:
            InputError: the address cannot be used, or a number is out of range.
        """
        whole = isinstance(port, Integral) and isinstance(quality, Integral)
        if not (whole and 0 <= port <= 65535 and 1 <= quality <= 100):
            raise InputError(
                f"expected a port in [0, 65535] and a quality in [1, 100], got {port!r:.90} and {quality!r:.90}"
            )
        self.names = _served_names(host, names)
        self.page = PAGE.format(title=html(masked(title))).encode()
        self._quality = quality
        self._changed = threading.Condition()
        self._encoding = threading.Lock()
        self._image: Image = np.full((360, 640, 3), PAD_VALUE, np.uint8)
        self._number = 1
        self._jpeg = (0, b"")
        self._closed = False
        address = host.strip("[]")
        try:
            self._server = BoundedServer((address, int(port)), functools.partial(_Handler, self))
        except (OSError, TypeError, ValueError) as error:  # a zero in it, or a part of a name that is too long
            reason = (isinstance(error, OSError) and error.strerror) or "it is no address"
            place = f"{host}:{port}" if len(host) <= 200 and host.isprintable() else f"{ascii(host)[:200]}:{port}"
            raise InputError(f"cannot serve on {place}: {reason}; choose another port or host") from None
        self.url = f"http://{f'[{address}]' if ':' in address else address}:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="mjpeg", daemon=True)
        self._thread.start()

    def show(self, image: Image) -> None:
        """Make ``image`` (H, W, 3) or (H, W) uint8 BGR the newest frame. Returns at once; do not change it afterwards.

        Raises:
            InputError: it is of another type or shape.
        """
        colour = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
        if image.dtype != np.uint8 or not colour or not 0 < min(image.shape) <= max(image.shape) < 65500:
            raise InputError(f"expected a picture (H, W, 3) or (H, W) uint8, got {image.shape} {image.dtype}")
        with self._changed:
            self._image, self._number = image, self._number + 1
            self._changed.notify_all()

    def newest(self, after: int = 0) -> tuple[int, bytes] | None:
        """(number, JPEG) of the newest frame; waits for one later than number ``after``. None once closed.

        After ``REPEAT_SECONDS`` without a later frame it is the last one again.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._number > after or self._closed, REPEAT_SECONDS)
        with self._encoding:  # by the first viewer who asks, for all
            with self._changed:
                number, image = self._number, self._image
            if self._closed:
                return None
            if self._jpeg[0] != number:
                jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self._quality])[1]
                self._jpeg = (number, jpeg.tobytes())
            return self._jpeg

    def close(self) -> None:
        """Stop serving and end every connection. Calling it twice does no harm."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _served_names(host: str, names: Iterable[str]) -> frozenset[str]:
    """Lower-case host names by which browsers may open the page."""
    if not isinstance(host, str) or isinstance(names, str):
        raise InputError(f"expected a host as text and names as a list, got {host!r:.100} and {names!r:.100}")
    own = socket.gethostname()
    machine = (own, f"{own}.local") if host in EVERYWHERE else (host,)
    return frozenset(name.lower().removesuffix(".") for name in (*machine, *names))


class _Handler(BoundedHandler):
    def __init__(self, owner: MjpegServer, *connection: Any) -> None:
        self._owner = owner
        super().__init__(*connection)

    def do_GET(self) -> None:
        """One page, one frame, or frames until somebody leaves."""
        path = self.path.partition("?")[0]
        if self.refused(self._owner.names):
            return
        server: Any = self.server
        self._visitor = server.answer(self.request, path == "/stream")
        if self._visitor is None:
            self.send_error(503, "Too many viewers")
        elif path == "/":
            self._answer("text/html; charset=utf-8", self._owner.page)
        elif path == "/frame.jpg" and (newest := self._owner.newest()) is not None:
            self._answer("image/jpeg", newest[1])
        elif path == "/stream":
            self._stream()
        else:
            self.send_error(404)

    def _stream(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._head("multipart/x-mixed-replace; boundary=frame")
        number, boundary = 0, b"--frame\r\n"
        self.send(self._visitor, boundary)
        while (newest := self._owner.newest(after=number)) is not None:
            number, jpeg = newest
            head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            # the boundary at once, not before the next frame: browsers show a part when it has ended
            self.send(self._visitor, head.encode() + jpeg + b"\r\n" + boundary)

    def _answer(self, kind: str, body: bytes) -> None:
        self._head(kind, len(body))
        self.send(self._visitor, body)

    def _head(self, kind: str, length: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
