"""The web server of `pacifica-notifications`: CherryPy's own, around the application."""

import signal
from contextlib import suppress
from typing import Any

import cheroot.server
import cherrypy
from cherrypy import _cpwsgi_server

from pacifica.notifications.errors import ConfigError
from pacifica.notifications.ports import why_not_free
from pacifica.notifications.rest.caller import REPEATED
from pacifica.notifications.rest.root import application
from pacifica.notifications.rest.text import encode_text
from pacifica.notifications.settings import Settings

_CHEROOT: Any = cheroot.server  # its type stubs leave out what is used here


class _PlainHeaders(_CHEROOT.HeaderReader):
    """Drops headers with underscores: WSGI could not tell Http_Remote_User from the real one."""

    def __call__(self, rfile: Any, hdict: Any = None) -> Any:
        """Read headers; raises ValueError where they are malformed, which is answered 400."""
        try:
            return super().__call__(rfile, hdict)
        except UnboundLocalError as error:  # the first line continues one that is not there
            raise ValueError("Illegal header line.") from error

    def _allow_header(self, key_name: bytes) -> bool:
        return b"_" not in key_name


class _Request(_cpwsgi_server.CPWSGIHTTPRequest):
    """A request that tells a repeated user header, and whose own errors are JSON."""

    header_reader = _PlainHeaders()
    user_header = ""

    def __init__(self, server: Any, conn: Any) -> None:
        super().__init__(server, conn)
        self.inheaders = _Headers(self.user_header)

    def simple_response(self, status: object, msg: str = "") -> None:
        """Answer what never reaches the application: HTTP that is malformed, or far too large."""
        body = encode_text({"status": str(status), "message": msg})
        head = (
            f"{self.server.protocol} {status}",
            f"Content-Length: {len(body)}",
            "Content-Type: application/json",
            "Connection: close",
        )
        self.close_connection = True
        with suppress(OSError):
            self.conn.wfile.write("\r\n".join((*head, "", "")).encode("latin-1") + body)


class _Server(_cpwsgi_server.CPWSGIServer):
    """CherryPy's server, for requests as above, which it answers all before it ends."""

    def __init__(self, adapter: Any) -> None:
        super().__init__(adapter)
        self.ConnectionClass.RequestHandlerClass = _Request

    def stop(self) -> None:
        """End; CherryPy's own would hang up on those who are connected and wait for their turn.

        Who comes later is refused, also while the last requests are still being answered.
        """
        if self.ready:
            self._connections.stop()
            self._take_who_waits()
            self.socket.close()
        super().stop()

    def _take_who_waits(self) -> None:
        """Hand kept connections that have a request, and new ones, to the threads."""
        for number, connection in list(self._connections._selector.select(timeout=0)):
            if connection is not self:
                self._connections._selector.unregister(number)
                self.process_conn(connection)
        self.socket.settimeout(0)
        while (connection := self._connections._from_server_socket(self.socket)) is not None:
            self.process_conn(connection)


class _Headers(dict[bytes, bytes]):
    """Headers by name; one name must not be repeated, and its value tells that it was."""

    def __init__(self, single: str) -> None:
        super().__init__()
        self._single = single.title().encode()

    def __setitem__(self, name: bytes, value: bytes) -> None:
        if name == self._single and name in self:
            value = self[name] + REPEATED.encode() + value
        super().__setitem__(name, value)


def serve(cherrypy_file: str, settings: Settings, address: str | None, port: int | None) -> None:
    """Serve until the process is told to stop; an address or port given here beats the file.

    Raises ConfigError for a CherryPy file, an address or a port that cannot be used.
    """
    # What is a little too large gets our answer; what is far too large is not even read.
    cherrypy.config.update({"server.max_request_body_size": 2 * settings.receive_max_body})
    cherrypy.tree.graft(application(cherrypy_file), "")
    given = {"server.socket_host": address, "server.socket_port": port}
    cherrypy.config.update({name: value for name, value in given.items() if value is not None})
    _require_free(cherrypy.server.socket_host, cherrypy.server.socket_port)
    _Request.user_header = settings.user_header
    cherrypy.server.instance = _Server(cherrypy.server)
    _run_until_told()


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
