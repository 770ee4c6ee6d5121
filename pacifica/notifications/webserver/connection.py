"""One client's connection: what has arrived over it, and what becomes of it after an answer."""

import time
from contextlib import suppress
from typing import Any

import cheroot.server

from pacifica.notifications.webserver.arrival import Arrival, Progress
from pacifica.notifications.webserver.requests import Request
from pacifica.notifications.webserver.streams import Reader, Writer

_CHEROOT: Any = cheroot.server  # its type stubs leave out what is used here
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(_CHEROOT.HTTPConnection):
    """A connection of `Server`; all but `communicate` belongs to the waiting room."""

    RequestHandlerClass = Request

    def __init__(self, server: Any, sock: Any, makefile: Any = None) -> None:  # noqa: ARG002
        super().__init__(server, sock, lambda connected, _mode, _size: connected)
        # Caches of its own methods, which would keep a connection for the garbage collector.
        del self.resolve_peer_creds, self.get_peer_creds
        sock.settimeout(0)
        self.rfile = Reader(sock)
        self.wfile = Writer(sock, server.bounds.held)
        self.request: Request | None = None
        self.queued = 0  # bytes of its request while that waits for a thread
        self.keeps = True
        self.is_new = True
        self.is_large = False
        self.expect_request()

    def expect_request(self) -> None:
        """Take what arrives from now on for the next request."""
        self._arrival = Arrival(self.server.sizes)
        self._continued = False
        self.is_large = False

    def gather(self) -> Progress | None:
        """Take what has arrived without waiting, and judge; None where nothing more will come."""
        while more := self.rfile.gather():
            progress = self.progress()
            if progress not in (Progress.HEAD, Progress.BODY):
                return progress
        if more is False:
            return self.progress()
        return Progress.REFUSED if self.rfile.received else None

    def progress(self) -> Progress:
        """Judge how far the request is; who waits for leave to send a body gets it."""
        if not self.rfile.received:
            return Progress.HEAD
        progress = self._arrival.progress(self.rfile.received)
        if progress is Progress.BODY and self._arrival.expects_continue and not self._continued:
            self._continued = True
            with suppress(OSError):
                self.socket.send(_CONTINUE)
        return progress

    def communicate(self) -> bool:
        """Answer a request; True where the waiting room is to see to what is left to do."""
        self.server.room.taken(self)
        try:
            if self.is_new and self.server.ssl_adapter is not None:
                self.ssl_env: Any = self.server.ssl_adapter.get_environ(self.socket)
            self.is_new = False
            if self.is_large:
                self.rfile.wait_until(time.monotonic() + self.server.bounds.body_timeout)
            self.keeps = super().communicate()
        finally:
            if self.is_large:
                self.server.room.end_large(self)
        is_read = self.request is not None and self.request.is_read
        self.request = None
        self.rfile.wait_until(None)
        with suppress(OSError):
            return not self.wfile.send() or self.keeps or not is_read
        return False

    def refuse(self, status: str, message: str) -> None:
        """Answer what has not arrived, and hear no more."""
        self.keeps = False
        Request(self.server, self).simple_response(status, message)
        self.request = None
        self.wfile.send()

    def end(self, moment: float) -> None:
        """Send what is left until a moment of the monotonic clock, and close."""
        with suppress(OSError):
            self.wfile.send_until(moment)
        self.close()

    def close(self) -> None:
        """Close; what is unsent is tried once."""
        self.linger = False
        self.server.room.taken(self)
        with suppress(OSError):
            self.wfile.send()
        with suppress(OSError):
            super().close()
