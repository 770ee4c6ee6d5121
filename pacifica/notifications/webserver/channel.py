"""One client's connection, and the web server's own error responses in JSON."""

import json
import math
import socket
import time
from contextlib import suppress
from typing import Any

from waitress.buffers import OverflowableBuffer
from waitress.channel import HTTPChannel
from waitress.task import ErrorTask

from pacifica.notifications.webserver.request import Parser, Refusal

# How long a client may take to read its last response and close (seconds).
_LINGER = 2.0
# waitress copies this many bytes for each call to send, even if it sends only a few.
_SENT_AT_ONCE = 64 * 2**10


class JsonErrorTask(ErrorTask):
    """Responds to requests that are malformed, too large or late, in JSON.

    These requests never reach the application.
    """

    def execute(self) -> None:
        """Write the response."""
        error = self.request.error
        self.version, self.status = "1.1", f"{error.code} {error.reason}"
        body = json.dumps({"status": self.status, "message": error.body}).encode()
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class Channel(HTTPChannel):
    """A connection of `Server`; only `service` runs outside the server's thread."""

    parser_class = Parser
    error_task_class = JsonErrorTask
    request: Any
    requests: list[Any]
    current_outbuf_count: int
    will_close: bool

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.sendbuf_len = _SENT_AT_ONCE
        self._turned = time.monotonic()  # when it last began to wait for its client
        self.is_closing = False  # everything was sent, but the client may not have read it yet

    @property
    def is_idle(self) -> bool:
        """Whether no part of a request has arrived, and nothing is to be sent."""
        return not (self.request or self.requests or self.total_outbufs_len or self.is_closing)

    @property
    def waiting(self) -> tuple[float, float]:
        """When the wait for the client began (monotonic), and how long it may last.

        Both are infinite while the connection does not wait for its client.
        """
        limits = self.server.limits
        if self.is_closing:
            return self._turned, _LINGER
        if self.total_outbufs_len:
            return self._turned, limits.body_timeout
        if self.requests:
            return math.inf, math.inf
        if self.request is None:
            return self._turned, limits.idle_timeout
        is_body = self.request.headers_finished
        return self.request.began, limits.body_timeout if is_body else limits.header_timeout

    @property
    def held(self) -> int:
        """How many bytes are held in memory for this client."""
        bodies = [each.body_rcv for each in filter(None, [*self.requests, self.request])]
        return self.total_outbufs_len + sum(body.__len__() for body in bodies if body)

    @property
    def pace(self) -> float:
        """How many held bytes there are for each second of the wait for the client."""
        return self.held / max(time.monotonic() - self.waiting[0], 1e-6)

    def service(self) -> None:
        """Process a request, in a worker thread."""
        self._turned = time.monotonic()
        super().service()
        self._turned = time.monotonic()

    def check_client_disconnected(self) -> bool:
        """Tell whether the client has closed the connection, without reading from it.

        The application may ask this while it processes a request (`waitress.client_disconnected`).
        """
        try:
            return self.socket.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def time_out(self) -> None:
        """Respond with 408 if a request is incomplete; otherwise close."""
        if self.is_closing or self.total_outbufs_len or not self.request:
            self.hang_up()
            return
        late = "the request did not arrive in time"
        self.request.error = Refusal(408, "Request Timeout", late)
        with self.requests_lock:
            self.request, self.requests = None, [self.request]
        self.service()

    def forget_sent(self) -> None:
        """Free the memory of sent data, which waitress keeps until the next response."""
        if self.current_outbuf_count:
            with self.outbuf_lock:
                self.outbufs = [OverflowableBuffer(self.adj.outbuf_overflow)]
                self.current_outbuf_count = 0

    def hang_up(self) -> None:
        """Close at once."""
        self.is_closing = True
        self.handle_close()

    def handle_close(self) -> None:
        """Close; after a response, shut down our side and wait for the client to close.

        To close with unread data resets the connection, and the client may lose the response.
        """
        if self.will_close and self.connected and not self.is_closing:
            self.will_close, self.is_closing, self._turned = False, True, time.monotonic()
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
                return
        super().handle_close()

    def readable(self) -> bool:
        """Return whether to watch for incoming data."""
        return self.is_closing or super().readable()

    def received(self, data: bytes) -> bool:
        """Process incoming data; discard it while the connection closes."""
        return not self.is_closing and bool(super().received(data))
