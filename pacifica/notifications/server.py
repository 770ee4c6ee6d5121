"""The web server of `pacifica-notifications`: CherryPy's own, around the application."""

import signal
import time
from socket import socket
from ssl import SSLSocket
from typing import Any

import cherrypy
from cherrypy import _cpwsgi_server

from pacifica.notifications.app import App
from pacifica.notifications.errors import ConfigError
from pacifica.notifications.ports import why_not_free
from pacifica.notifications.rest.root import application
from pacifica.notifications.settings import Settings
from pacifica.notifications.webserver.arrival import Sizes
from pacifica.notifications.webserver.connection import Connection
from pacifica.notifications.webserver.places import Bounds, affordable
from pacifica.notifications.webserver.requests import HeaderReader, Request
from pacifica.notifications.webserver.waitingroom import WaitingRoom


class _Server(_cpwsgi_server.CPWSGIServer):
    """CherryPy's server with a waiting room, which answers all requests before it ends."""

    ConnectionClass = Connection

    def __init__(self, adapter: Any, bounds: Bounds, header_reader: HeaderReader) -> None:
        super().__init__(adapter)
        self.ConnectionClass.RequestHandlerClass = Request
        self.bounds = bounds
        self.header_reader = header_reader
        self.sizes = Sizes(
            head=self.max_request_header_size or bounds.held,
            body=self.max_request_body_size or bounds.held,
            gathered=bounds.gathered,
        )
        if self.ssl_adapter is not None:
            self.ssl_adapter.wrap = self._without_handshake

    @property
    def room(self) -> WaitingRoom:
        """Where those wait whom no thread has."""
        return self._connections

    def prepare(self) -> None:
        """Listen, and start the threads."""
        super().prepare()
        self._connections.close()
        self._connections: Any = WaitingRoom(self, self.bounds)

    def put_conn(self, conn: Connection) -> None:
        """Take back a client from a thread that has answered it."""
        if not self.room.put(conn):
            conn.end(time.monotonic() + self.timeout)

    def stop(self) -> None:
        """End; CherryPy's own would hang up on those who are connected and wait for their turn.

        Who comes later is refused, also while the last requests are still being answered.
        """
        if self.ready:
            self.room.stop()
        super().stop()

    def _without_handshake(self, sock: socket) -> tuple[SSLSocket, dict[str, str]]:
        """Begin TLS; its handshake takes place as the waiting room reads, without waiting."""
        wrapped = self.ssl_adapter.context.wrap_socket(
            sock, server_side=True, do_handshake_on_connect=False
        )
        return wrapped, {}


def serve(app: App, cherrypy_file: str, address: str | None, port: int | None) -> None:
    """Serve until the process is told to stop; an address or port given here beats the file.

    Raises ConfigError for a CherryPy file, an address or a port that cannot be used.
    """
    settings = app.settings
    # Who waits until the threads have room is not to keep the waiting room from all others.
    cherrypy.config.update({"server.accepted_queue_timeout": 0})
    # What is a little too large gets our answer; what is far too large is not even read.
    cherrypy.config.update({"server.max_request_body_size": 2 * settings.receive.max_body})
    cherrypy.tree.graft(application(app, cherrypy_file), "")
    given = {"server.socket_host": address, "server.socket_port": port}
    cherrypy.config.update({name: value for name, value in given.items() if value is not None})
    _require_free(cherrypy.server.socket_host, cherrypy.server.socket_port)
    if cherrypy.server.ssl_module not in (None, "builtin"):
        raise ConfigError("server.ssl_module: only builtin can be used")
    header_reader = HeaderReader(
        settings.notifications.user_header, settings.notifications.proxy_secret_header
    )
    cherrypy.server.instance = _Server(cherrypy.server, _bounds(settings), header_reader)
    _run_until_told()


def _bounds(settings: Settings) -> Bounds:
    return Bounds(
        header_timeout=settings.web.header_timeout,
        body_timeout=settings.web.body_timeout,
        idle_timeout=cherrypy.server.socket_timeout,
        gathered=settings.web.gathered_bytes,
        connections=affordable(settings.web.connections),
        held=settings.web.held_bytes,
    )


def _run_until_told() -> None:
    """Run CherryPy's engine; what tells it to end while it starts counts when it has started.

    CherryPy would take it for an end that has passed, and go on to serve.
    """
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: told.append(number))
    cherrypy.engine.start()
    cherrypy.engine.signals.subscribe()
    if told:
        cherrypy.engine.exit()
    cherrypy.engine.block()


def _require_free(host: str, port: int) -> None:
    """Raise ConfigError where nothing can listen; CherryPy would print a traceback."""
    reason = why_not_free(host, port)
    if reason:
        raise ConfigError(f"cannot listen on {host}:{port}: {reason}")
