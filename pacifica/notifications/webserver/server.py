"""waitress's server, with bounds that hold for all connections together, and an orderly end."""

import logging
import math
import socket
import threading
import time
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer

from pacifica.notifications.webserver.channel import Channel
from pacifica.notifications.webserver.limits import Limits

# Connections are looked at so often (seconds).
_INTERVAL = 0.25
_ACCEPTED_AT_ONCE = 1024
# Head and body of an answer go in one piece, where they are smaller.
_SENT_TOGETHER = 16 * 2**10


class Server(TcpWSGIServer):
    """A web server for a WSGI application, as CherryPy's engine starts and stops one.

    It listens once it is started. Raises OSError for an address that cannot be bound.
    """

    channel_class = Channel
    accepting: bool

    def __init__(self, application: Any, host: str, port: int, limits: Limits) -> None:
        self.limits = limits
        self.ready = False
        self._next_sweep = self._pauses_until = 0.0
        self._ends_at: float | None = None
        self._ended = threading.Event()
        # Requests that wait for a thread are not worth a line each.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        adjustments = Adjustments(
            ident=None,
            threads=limits.threads,
            backlog=limits.backlog,
            # What is as large as its bound is taken.
            max_request_header_size=limits.head + 1,
            max_request_body_size=limits.body + 1,
            # All is in memory, within `limits.held`: a thread waits for no client.
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
                    self.handle_accept()  # who is connected already
                    self.accepting = False
                    wasyncore.dispatcher.close(self)
                elif time.monotonic() > self._next_sweep:
                    self._sweep()
        finally:
            self.task_dispatcher.shutdown(timeout=0)
            wasyncore.close_all(self._map, ignore_all=True)
            self._ended.set()

    def stop(self) -> None:
        """Answer what has begun to arrive, within the time for it, and end."""
        self._ends_at = time.monotonic() + self.limits.shutdown_timeout
        self.pull_trigger()
        self._ended.wait(self.limits.shutdown_timeout + 1)

    def readable(self) -> bool:
        """Tell whether who comes is let in now."""
        return self.accepting and time.monotonic() > self._pauses_until

    def handle_accept(self) -> None:
        """Let in who has come; where there are no more files, somebody leaves for the next one."""
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
        """Close the connections that take too long, and those for which too much is kept."""
        now = time.monotonic()
        self._next_sweep = now + _INTERVAL
        for channel in list(self.active_channels.values()):
            if channel.is_idle:
                channel.forget_sent()
            is_late = now > sum(channel.waiting)
            if is_late or (channel.is_idle and self._ends_at is not None):
                channel.time_out()
        self._make_room(self.limits.connections)

    def _make_room(self, connections: int) -> bool:
        """Hang up on who has waited longest where there are too many, or too much is kept.

        Where too much is kept it is who has sent least for the time taken: slow clients do not
        keep prompt ones from sending.
        """
        before = len(self.active_channels)
        for channel in sorted(self._waiting(), key=lambda each: each.waiting):
            if len(self.active_channels) > connections:
                channel.hang_up()
        held = sum(channel.held for channel in self.active_channels.values())
        for channel in sorted(self._waiting(), key=lambda each: each.pace):
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
