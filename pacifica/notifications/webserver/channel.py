"""One client's connection, and the errors that the web server itself answers: in JSON."""

import json
import socket
import time
from contextlib import suppress
from typing import Any

from waitress.buffers import OverflowableBuffer
from waitress.channel import HTTPChannel
from waitress.task import ErrorTask

from pacifica.notifications.webserver.limits import Stage
from pacifica.notifications.webserver.request import Parser, RequestTimeout

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
    """A connection that knows what it is doing since when, as of the last time that it was judged.

    All but `service` belongs to the thread that all connections share.
    """

    parser_class = Parser
    error_task_class = JsonErrorTask

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.sendbuf_len = _SENT_AT_ONCE
        self.stage, self.since = Stage.IDLE, time.monotonic()
        self._of: object = None  # the request that the stage is one of
        self._is_closing = False

    @property
    def held(self) -> int:
        """How many bytes are kept for this client."""
        arriving = [self.request] if self.request else []
        bodies = [each.body_rcv for each in (*self.requests, *arriving) if each.body_rcv]
        return self.total_outbufs_len + sum(body.__len__() for body in bodies)

    def judge(self, now: float) -> None:
        """See what the connection is doing, at a moment of the monotonic clock."""
        stage, request = self._doing(), self.request
        if (stage, request) != (self.stage, self._of):
            self.stage, self._of, self.since = stage, request, now
        if stage is Stage.IDLE and self.current_outbuf_count:
            # What was sent would be kept until the next answer.
            with self.outbuf_lock:
                self.outbufs.pop().close()
                self.outbufs.append(OverflowableBuffer(self.adj.outbuf_overflow))
                self.current_outbuf_count = 0

    def _doing(self) -> Stage:
        if self._is_closing:
            return Stage.CLOSING
        if self.total_outbufs_len:
            return Stage.SENDING
        if self.requests:
            return Stage.ANSWERING
        if self.request is None:
            return Stage.IDLE
        return Stage.BODY if self.request.headers_finished else Stage.HEAD

    def time_out(self) -> None:
        """Answer 408 to a request that has not arrived in time; otherwise close."""
        if self.stage not in (Stage.HEAD, Stage.BODY):
            self.hang_up()
            return
        late = self.parser_class(self.adj)
        late.error = RequestTimeout("the request did not arrive in time")
        with self.requests_lock:
            self.request, self.requests = None, [late]
        self.service()

    def hang_up(self) -> None:
        """Close at once."""
        self._is_closing = True
        self.handle_close()

    def handle_close(self) -> None:
        """Close; after an answer, end our side first and wait for the client's end.

        To close while something is unread would take the answer from the client.
        """
        if self.will_close and self.connected and not self._is_closing:
            self.will_close, self._is_closing = False, True
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
                return
        super().handle_close()

    def readable(self) -> bool:
        """Tell whether anything is to be received."""
        return self._is_closing or super().readable()

    def received(self, data: bytes) -> bool:
        """Take what has arrived; while the connection closes, forget it."""
        if self._is_closing:
            return False
        self.server.unjudged += len(data)
        is_taken = bool(super().received(data))
        self.judge(time.monotonic())
        return is_taken
