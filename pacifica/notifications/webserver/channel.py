"""One client's connection, and the errors that the web server itself answers: in JSON."""

import json
import math
import socket
import time
from contextlib import suppress
from typing import Any

from waitress.buffers import OverflowableBuffer
from waitress.channel import HTTPChannel
from waitress.task import ErrorTask

from pacifica.notifications.webserver.request import Parser, RequestTimeout

# How long a client may take to read its last answer and close (seconds).
_LINGER = 2.0
# waitress copies so many bytes to send even a few of them.
_SENT_AT_ONCE = 64 * 2**10


class JsonErrorTask(ErrorTask):
    """Answers what never reaches the application: HTTP that is malformed, too large or late."""

    def execute(self) -> None:
        """Write the answer."""
        error = self.request.error
        self.version, self.status = "1.1", f"{error.code} {error.reason}"
        body = json.dumps({"status": self.status, "message": error.body}).encode()
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class Channel(HTTPChannel):
    """A connection of `Server`; all but `service` belongs to the thread that they share."""

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
        self.is_closing = False  # all is sent, and the client may not have read it

    @property
    def is_idle(self) -> bool:
        """Whether nothing of a request has arrived, and nothing is to be sent."""
        return not (self.request or self.requests or self.total_outbufs_len or self.is_closing)

    @property
    def waiting(self) -> tuple[float, float]:
        """Since when it waits for its client (monotonic; never: infinity), and how long it may."""
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
        """How many bytes are kept for this client."""
        bodies = [each.body_rcv for each in filter(None, [*self.requests, self.request])]
        return self.total_outbufs_len + sum(body.__len__() for body in bodies if body)

    @property
    def pace(self) -> float:
        """How many of these came or were made a second, since its client is waited for."""
        return self.held / max(time.monotonic() - self.waiting[0], 1e-6)

    def service(self) -> None:
        """Answer a request, in a thread of its own."""
        self._turned = time.monotonic()
        super().service()
        self._turned = time.monotonic()

    def time_out(self) -> None:
        """Answer 408 to a request that has not arrived in time; otherwise close."""
        if self.is_closing or self.total_outbufs_len or not self.request:
            self.hang_up()
            return
        self.request.error = RequestTimeout("the request did not arrive in time")
        with self.requests_lock:
            self.request, self.requests = None, [self.request]
        self.service()

    def forget_sent(self) -> None:
        """Free the memory of what was sent, which waitress keeps until the next answer."""
        if self.current_outbuf_count:
            with self.outbuf_lock:
                self.outbufs = [OverflowableBuffer(self.adj.outbuf_overflow)]
                self.current_outbuf_count = 0

    def hang_up(self) -> None:
        """Close at once."""
        self.is_closing = True
        self.handle_close()

    def handle_close(self) -> None:
        """Close; after an answer, end our side first and wait for the client's end.

        To close while something is unread would take the answer from the client.
        """
        if self.will_close and self.connected and not self.is_closing:
            self.will_close, self.is_closing, self._turned = False, True, time.monotonic()
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
                return
        super().handle_close()

    def readable(self) -> bool:
        """Tell whether anything is to be received."""
        return self.is_closing or super().readable()

    def received(self, data: bytes) -> bool:
        """Take what has arrived; while the connection closes, forget it."""
        return not self.is_closing and bool(super().received(data))
