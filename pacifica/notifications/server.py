"""The web server of `pacifica-notifications`: waitress around the application."""

import signal
import sys

import cherrypy

from pacifica.notifications.app import App
from pacifica.notifications.errors import ConfigError
from pacifica.notifications.rest.root import application
from pacifica.notifications.settings import Settings
from pacifica.notifications.webserver import Limits, Server

if sys.platform != "win32":
    import resource

# As many sockets as select() takes on Windows, but for some.
_MAX_ON_WINDOWS = 500


def serve(app: App, cherrypy_file: str, address: str | None, port: int | None) -> None:
    """Serve until the process is told to stop; an address or port given here beats the file.

    Raises ConfigError for a CherryPy file, an address or a port that cannot be used.
    """
    # What is a little too large gets the application's answer, which says the bound.
    cherrypy.config.update({"server.max_request_body_size": 2 * app.settings.receive.max_body})
    assembled = application(app, cherrypy_file)
    given = {"server.socket_host": address, "server.socket_port": port}
    cherrypy.config.update({name: value for name, value in given.items() if value is not None})
    for key in cherrypy.config:
        if key.startswith("server.ssl_"):
            raise ConfigError(f"{key}: TLS belongs to the proxy in front of this server")
    host, number = cherrypy.server.socket_host, cherrypy.server.socket_port
    try:
        cherrypy.server.instance = Server(assembled, host, number, _limits(app.settings))
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}:{number}: {error.strerror}") from error
    _run_until_told()


def _limits(settings: Settings) -> Limits:
    server = cherrypy.server
    unbounded = settings.web.held_bytes
    return Limits(
        body=server.max_request_body_size or unbounded,
        held=settings.web.held_bytes,
        head=server.max_request_header_size or unbounded,
        threads=server.thread_pool,
        connections=_affordable(settings.web.connections),
        backlog=server.socket_queue_size,
        header_timeout=settings.web.header_timeout,
        body_timeout=settings.web.body_timeout,
        idle_timeout=server.socket_timeout,
        shutdown_timeout=server.shutdown_timeout,
    )


def _affordable(connections: int) -> int:
    """Leave half of the files that this process may have open to others, such as the database."""
    if sys.platform == "win32":
        return min(connections, _MAX_ON_WINDOWS)
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return connections if files == resource.RLIM_INFINITY else min(connections, files // 2)


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
