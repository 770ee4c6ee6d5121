"""waitress's server, with bounds that hold for all connections together, and an orderly end."""

import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer

from pacifica.notifications.webserver.channel import Channel
from pacifica.notifications.webserver.limits import Limits, Stage

if sys.platform != "win32":
    import resource

_INTERVAL = 0.25
# Judged earlier when so much has arrived (bytes).
_STEP = 16 * 2**20
_ACCEPTED_AT_ONCE = 64
# As many sockets as select() takes on Windows, but for some.
_MAX_ON_WINDOWS = 500
# What waitress answers itself, or forbids an application to say (PEP 3333).
_NOT_OURS = frozenset({"connection", "server"})

Environ = dict[str, Any]
WsgiApplication = Callable[[Environ, Any], Iterable[bytes]]


class Server(TcpWSGIServer):
    """A web server as CherryPy's engine starts and stops one, in two of its threads.

    It listens once it is started. Raises OSError for an address that cannot be bound.
    """

    channel_class = Channel

    def __init__(self, application: WsgiApplication, host: str, port: int, limits: Limits) -> None:
        self.limits = limits
        self.ready = False
        self.unjudged = 0
        self._judged = 0.0
        self._pauses_until = 0.0
        self._ends_at: float | None = None
        self._ended = threading.Event()
        self._connections = _affordable(limits.connections)
        # Threads that wait for others are not worth a line each.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        adjustments = Adjustments(
            ident=None,
            threads=limits.threads,
            backlog=limits.backlog,
            connection_limit=2 * limits.connections,  # never met: ours is
            # One that is at its bound is taken.
            max_request_header_size=limits.head + 1,
            max_request_body_size=limits.body + 1,
            # All is kept in memory, within `limits.held`; a thread waits for no client.
            inbuf_overflow=limits.held,
            outbuf_overflow=limits.held,
            outbuf_high_watermark=limits.held,
            log_socket_errors=False,
            clear_untrusted_proxy_headers=False,
            asyncore_use_poll=True,
        )
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        address = (family, socket.SOCK_STREAM, 0, (host, port))
        served = _without_hop_by_hop(application)
        super().__init__(served, _start=False, adj=adjustments, sockinfo=address)

    def start(self) -> None:
        """Serve until `stop` is called."""
        self.accept_connections()
        self.ready = True
        try:
            while not self._is_over():
                wasyncore.loop(_INTERVAL, use_poll=True, map=self._map, count=1)
                if self._ends_at is not None and self.accepting:
                    self._end_listening()
                elif self.unjudged > _STEP or time.monotonic() > self._judged + _INTERVAL:
                    self._judge()
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
        """Let in who has come; where there are no more files, make room for the next time."""
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                accepted = self.accept()
                if accepted is None:
                    break
                self.set_socket_options(accepted[0])
            except OSError:
                if not self._hang_up(1):
                    self._pauses_until = time.monotonic() + _INTERVAL
                break
            self.channel_class(self, *accepted, self.adj, map=self._map)
        surplus = len(self.active_channels) - self._connections
        if surplus > 0:
            self._hang_up(surplus)

    def _judge(self) -> None:
        """Close the connections that take too long, and those for which too much is kept."""
        now = self._judged = time.monotonic()
        self.unjudged = held = 0
        for channel in list(self.active_channels.values()):
            channel.judge(now)
            is_idle = self._ends_at is not None and channel.stage is Stage.IDLE
            if is_idle or now - channel.since > self.limits.allowed(channel.stage):
                channel.time_out()
            held += channel.held
        if held > self.limits.held:
            self._hang_up(held - self.limits.held, in_bytes=True)

    def _hang_up(self, surplus: int, *, in_bytes: bool = False) -> int:
        """Close who has waited longest until enough room is made; return how much that was."""
        now, made = time.monotonic(), 0
        channels = list(self.active_channels.values())
        for channel in channels:
            channel.judge(now)
        for channel in sorted(channels, key=lambda each: each.since):
            size = channel.held if in_bytes else 1
            if made < surplus and size and channel.stage is not Stage.ANSWERING:
                channel.hang_up()
                made += size
        return made

    def _end_listening(self) -> None:
        """Let in those who are connected already, and nobody else."""
        self._pauses_until = 0.0
        before = -1
        while before < len(self.active_channels):
            before = len(self.active_channels)
            self.handle_accept()
        self.accepting = False
        wasyncore.dispatcher.close(self)

    def _is_over(self) -> bool:
        if self._ends_at is None or self.accepting:
            return False
        staying = [
            each for each in self.active_channels.values() if each.stage is not Stage.CLOSING
        ]
        return not staying or time.monotonic() > self._ends_at


def _affordable(connections: int) -> int:
    """Leave half of the files that this process may have open to others, such as the database."""
    if sys.platform == "win32":
        return min(connections, _MAX_ON_WINDOWS)
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return connections if files == resource.RLIM_INFINITY else min(connections, files // 2)


def _without_hop_by_hop(application: WsgiApplication) -> WsgiApplication:
    def serve(environ: Environ, start_response: Any) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            kept = [each for each in headers if each[0].lower() not in _NOT_OURS]
            return start_response(status, kept, *error)

        return application(environ, start)

    return serve
