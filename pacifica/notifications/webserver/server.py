"""waitress's server, with overall limits and a graceful shutdown."""

import logging
import math
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer

from pacifica.notifications.webserver.channel import Channel
from pacifica.notifications.webserver.limits import Limits

# Seconds between two checks of all connections.
_INTERVAL = 0.25
_ACCEPTED_AT_ONCE = 1024
# The head and body of a response that is smaller are sent in one piece.
_SENT_TOGETHER = 16 * 2**10


class Server(TcpWSGIServer):
    """A web server for a WSGI application, which CherryPy's engine starts and stops.

    It listens once it is started, and calls `on_sweep` several times a second while it makes
    progress. Raises OSError for an address that cannot be bound.
    """

    channel_class = Channel
    accepting: bool

    def __init__(
        self,
        application: Any,
        host: str,
        port: int,
        limits: Limits,
        on_sweep: Callable[[], None] = lambda: None,
    ) -> None:
        self.limits = limits
        self._on_sweep = on_sweep
        self.ready = False
        self._next_sweep = self._pauses_until = 0.0
        self._ends_at: float | None = None
        self._ended = threading.Event()
        # waitress would log a line for each request that waits for a thread.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        adjustments = Adjustments(
            ident=None,
            threads=limits.threads,
            backlog=limits.backlog,
            # waitress refuses a size that is equal to its limit.
            max_request_header_size=limits.head + 1,
            max_request_body_size=limits.body + 1,
            # Everything is in memory, within `limits.held`, so no thread waits for a client.
            inbuf_overflow=limits.held,
            outbuf_overflow=limits.held,
            outbuf_high_watermark=limits.held,
            log_socket_errors=False,
            send_bytes=_SENT_TOGETHER,
            clear_untrusted_proxy_headers=False,
        )
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        address = (family, socket.SOCK_STREAM, 0, (host, port))
        super().__init__(application, _start=False, adj=adjustments, sockinfo=address)

    def start(self) -> None:
        """Serve until `stop` is called."""
        self.accept_connections()
        self.ready = True
        try:
            while not self._is_over():
                wasyncore.loop(_INTERVAL, use_poll=True, map=self._map, count=1)
                if self.accepting and self._ends_at is not None:
                    self.handle_accept()  # clients that have connected already
                    self.accepting = False
                    wasyncore.dispatcher.close(self)
                elif time.monotonic() > self._next_sweep:
                    self._sweep()
        finally:
            self.task_dispatcher.shutdown(timeout=0)
            wasyncore.close_all(self._map, ignore_all=True)
            self._ended.set()

    def stop(self) -> None:
        """Finish the requests that have begun, within `shutdown_timeout`, and end."""
        self._ends_at = time.monotonic() + self.limits.shutdown_timeout
        self.pull_trigger()
        self._ended.wait(self.limits.shutdown_timeout + 1)

    def readable(self) -> bool:
        """Return whether new connections are accepted now."""
        return self.accepting and time.monotonic() > self._pauses_until

    def handle_accept(self) -> None:
        """Accept new connections; close an old one when there are no more files."""
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                accepted = self.accept()
                if accepted is None:
                    break
                self.set_socket_options(accepted[0])
            except OSError:
                if not self._make_room(len(self.active_channels) - 1):
                    self._pauses_until = time.monotonic() + _INTERVAL
                break
            self.channel_class(self, *accepted, self.adj, map=self._map)
        if len(self.active_channels) > self.limits.connections:
            self._make_room(self.limits.connections)

    def _sweep(self) -> None:
        """Close connections that are too slow, or beyond the limit on memory."""
        now = time.monotonic()
        self._next_sweep = now + _INTERVAL
        for channel in list(self.active_channels.values()):
            if channel.is_idle:
                channel.forget_sent()
            is_late = now > sum(channel.waiting)
            if is_late or (channel.is_idle and self._ends_at is not None):
                channel.time_out()
        self._make_room(self.limits.connections)
        self._on_sweep()

    def _make_room(self, connections: int) -> bool:
        """Close the connections that waited longest if there are too many.

        If too much memory is held, close those that hold most, and of those that hold about as much
        the slowest. So clients that are slow, or stop after a large burst, do not keep others from
        sending.
        """
        before = len(self.active_channels)
        for channel in sorted(self._waiting(), key=lambda each: each.waiting):
            if len(self.active_channels) > connections:
                channel.hang_up()
        held = sum(channel.held for channel in self.active_channels.values())
        by_size = sorted(self._waiting(), key=lambda each: (-each.held.bit_length(), each.pace))
        for channel in by_size:
            if held > self.limits.held and channel.held:
                held -= channel.held
                channel.hang_up()
        return len(self.active_channels) < before

    def _waiting(self) -> list[Channel]:
        """Return the connections that wait for their clients."""
        return [each for each in self.active_channels.values() if each.waiting[0] < math.inf]

    def _is_over(self) -> bool:
        if self._ends_at is None or self.accepting:
            return False
        is_done = all(channel.is_closing for channel in self.active_channels.values())
        return is_done or time.monotonic() > self._ends_at
