"""A small HTTP server that strangers may reach: connections are bounded in number and time, other sites get nothing.

A connection first asks and is then answered. Those that ask are many and cheap: a new one takes the place of the
oldest, and a request that is not whole within ``REQUEST_SECONDS`` is never answered. Those that are answered are few: a
new one takes the place of one that has taken nothing for ``STALLED_SECONDS``, or is turned away.
"""

from __future__ import annotations

import io
import ipaddress
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

REQUEST_SECONDS = 10.0
"""A request that is not whole after so long is dropped, however steadily its bytes drip in."""
SEND_SECONDS = 10.0
"""A connection that does not take what is sent to it within so long is dropped."""
STALLED_SECONDS = 1.0
"""A connection that has taken nothing for so long gives up its place to a new one, where there is none left."""
MOST_ASKING = 64
"""Connections whose request is not whole yet; the next one takes the place of the oldest."""
MOST_ANSWERED = 32
"""Connections that are answered at the same time; others get status 503."""
MOST_STREAMS_PER_ADDRESS = 16
"""Connections of one address among those that are answered without an end."""
BACKLOG = 128
"""Connections that the system holds until they are accepted: beyond it a visitor waits a second to try again."""


@dataclass(eq=False)
class Connection:
    """One visitor."""

    socket: socket.socket
    address: str
    """The visitor's IP address."""
    thread: threading.Thread | None = None
    """The thread that reads the request and sends the answer."""
    answered: bool = False
    """Whether the request is whole and has a place."""
    endless: bool = False
    """Whether the answer has no end."""
    sending_since: float | None = None
    """Clock time at which the send under way began; None where none is."""
    dropped: bool = False
    """Whether the connection has been cut off, and its thread is about to end."""

    def drop(self) -> None:
        """Cut it off; its thread notices and ends."""
        self.dropped = True
        with suppress(OSError):  # it has just ended by itself
            self.socket.shutdown(socket.SHUT_RDWR)


class BoundedServer(ThreadingHTTPServer):
    """Knows its connections, so that it can bound and end them. One thread for each."""

    request_queue_size = BACKLOG

    def __init__(self, address: tuple[str, int], handler: Any) -> None:
        """Listen on ``address``, an IPv4 or IPv6 address or a name, and a port.

        Raises:
            OSError, ValueError, TypeError: it cannot be used.
        """
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._connections: dict[Any, Connection] = {}
        self._lock = threading.Lock()
        super().__init__(address, handler)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer would ask the network for this machine's name
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        visitor = Connection(request, str(client_address[0]))
        visitor.thread = threading.Thread(
            target=self._serve, args=(request, client_address), name="mjpeg viewer", daemon=True
        )
        with self._lock:
            self._make_room_to_ask()
            self._connections[request] = visitor
        try:
            visitor.thread.start()
        except RuntimeError:  # the system grants no more threads
            self._forget(request)
            self.shutdown_request(request)

    def answer(self, request: Any, endless: bool) -> Connection | None:
        """A place for a connection whose request is whole; None where there is none.

        Args:
            request: the connection's socket.
            endless: whether the answer goes on until the visitor leaves.
        """
        with self._lock:
            visitor = self._connections[request]
            answered = [other for other in self._connections.values() if other.answered and not other.dropped]
            rivals = [other for other in answered if other.endless and other.address == visitor.address]
            crowded = endless and len(rivals) >= MOST_STREAMS_PER_ADDRESS
            if crowded or len(answered) >= MOST_ANSWERED:
                stalled = _longest_stalled(rivals if crowded else answered)
                if stalled is None:
                    return None
                stalled.drop()
            visitor.answered, visitor.endless = True, endless
            return visitor

    def server_close(self) -> None:
        super().server_close()
        with self._lock:
            rest = list(self._connections.values())
        for visitor in rest:
            visitor.drop()
            if visitor.thread is not None and visitor.thread.ident is not None:
                visitor.thread.join()

    def _make_room_to_ask(self) -> None:
        """Drop the oldest that still asks, of the address that has most of them, where all places are taken."""
        asking = [other for other in self._connections.values() if not other.answered and not other.dropped]
        if len(asking) >= MOST_ASKING:
            greediest = Counter(other.address for other in asking).most_common(1)[0][0]
            next(other for other in asking if other.address == greediest).drop()

    def _serve(self, request: Any, client_address: Any) -> None:
        try:
            self.process_request_thread(request, client_address)
        finally:
            self._forget(request)

    def _forget(self, request: Any) -> None:
        with self._lock:
            del self._connections[request]


class BoundedHandler(BaseHTTPRequestHandler):
    """Reads one request within ``REQUEST_SECONDS``; every answer tells browsers to keep it from other sites."""

    timeout = SEND_SECONDS
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(_Deadline(self.connection, time.monotonic() + REQUEST_SECONDS))

    def handle(self) -> None:
        """Serve one visitor, who may leave at any moment, or take nothing any more."""
        with suppress(ConnectionError, TimeoutError):
            super().handle()

    def refused(self, names: Iterable[str]) -> bool:
        """Answer status 403 where the request comes from another site's page; whether it did.

        A page of a foreign site can have its own name point at this machine, and then reads what it likes here: the
        name that the browser asks for gives it away. What is no browser may leave the name out.

        Args:
            names: lower-case host names that are served beside IP addresses and localhost.
        """
        hosts = [value.strip().lower() for value in self.headers.get_all("Host", [])]
        origins = [value.strip().lower().rpartition("://")[2] for value in self.headers.get_all("Origin", [])]
        own_host = not hosts or (len(hosts) == 1 and is_own(hosts[0], names))
        own_page = not origins or origins == hosts
        if not (own_host and own_page):
            self.send_error(403, "Not served under this name", "Open it by the IP address of the machine.")
        return not (own_host and own_page)

    def send(self, visitor: Connection, data: bytes) -> None:
        """Send ``data``, or give up after ``SEND_SECONDS``."""
        visitor.sending_since = time.monotonic()
        self.wfile.write(data)
        visitor.sending_since = None

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")  # other sites' pages do not get the camera
        self.send_header("X-Frame-Options", "DENY")
        self.send_header(
            "Content-Security-Policy",
            "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        )
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: requests are nobody's news."""


class _Deadline(io.RawIOBase):
    """Bytes of a socket until a moment: a timeout of the socket would begin anew with every byte."""

    def __init__(self, connection: socket.socket, end: float) -> None:
        self._connection, self._end = connection, end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        try:
            return self._connection.recv_into(buffer)
        finally:
            self._connection.settimeout(SEND_SECONDS)


def is_own(host: str, names: Iterable[str]) -> bool:
    """Whether ``host``, lower-case with or without a port, is an IP address, localhost, or one of ``names``."""
    match = re.fullmatch(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::\d*)?", host)
    if match is None:
        return False
    name = match.group(1).strip("[]").removesuffix(".")
    if name == "localhost" or name.endswith(".localhost") or name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _longest_stalled(connections: Iterable[Connection]) -> Connection | None:
    sending = [(other.sending_since, other) for other in connections if other.sending_since is not None]
    since, longest = min(sending, key=lambda pair: pair[0], default=(None, None))
    return longest if since is not None and time.monotonic() - since > STALLED_SECONDS else None
