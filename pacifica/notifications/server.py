"""The web server of `pacifica-notifications`: waitress with the WSGI application."""

import signal
import sys
from functools import partial

import cherrypy

from pacifica.notifications import systemd
from pacifica.notifications.app import App
from pacifica.notifications.errors import ConfigError
from pacifica.notifications.rest.errorlog import warn_of_default_user
from pacifica.notifications.rest.root import application
from pacifica.notifications.settings import Settings
from pacifica.notifications.ui import Pages
from pacifica.notifications.webserver import Limits, Server

if sys.platform != "win32":
    import resource

# Slightly fewer sockets than select() supports on Windows.
_MAX_ON_WINDOWS = 500


def serve(app: App, cherrypy_file: str, address: str | None, port: int | None) -> None:
    """Serve until told to stop; a given address or port overrides the file.

    Raises ConfigError for a CherryPy file, an address or a port that cannot be used.
    """
    # The application refuses a body that is slightly too large, and tells the limit.
    cherrypy.config.update({"server.max_request_body_size": 2 * app.settings.receive.max_body})
    assembled = application(app, cherrypy_file, Pages)
    given = {"server.socket_host": address, "server.socket_port": port}
    cherrypy.config.update({name: value for name, value in given.items() if value is not None})
    for key in cherrypy.config:
        if key.startswith("server.ssl_"):
            raise ConfigError(f"{key}: TLS belongs to the proxy in front of this server")
    host, number = cherrypy.server.socket_host, cherrypy.server.socket_port
    try:
        cherrypy.server.instance = Server(
            assembled, host, number, _limits(app.settings), systemd.Watchdog().feed
        )
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}:{number}: {error.strerror}") from error
    warn_of_default_user(app.settings.notifications)
    # Before the server stops, which waits for the requests that have begun.
    cherrypy.engine.subscribe("stop", assembled.root.context.puller.stop, priority=0)
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
    """Limit connections to half of the files that the process may have open.

    The other half is for other uses, such as the database.
    """
    if sys.platform == "win32":
        return min(connections, _MAX_ON_WINDOWS)
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return connections if files == resource.RLIM_INFINITY else min(connections, files // 2)


def _run_until_told() -> None:
    """Run CherryPy's engine; a SIGTERM during the start takes effect after it.

    CherryPy itself would lose such a signal, and continue to serve. A SIGHUP has the log files
    opened again, as those of CherryPy's `graceful` are.
    """
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: told.append(number))
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, lambda _number, _frame: cherrypy.engine.graceful())
        cherrypy.engine.signal_handler.handlers["SIGHUP"] = cherrypy.engine.graceful
    cherrypy.engine.start()
    cherrypy.engine.signals.subscribe()
    if told:
        cherrypy.engine.exit()
    systemd.notify("READY=1")
    cherrypy.engine.subscribe("stop", partial(systemd.notify, "STOPPING=1"), priority=0)
    cherrypy.engine.block()
