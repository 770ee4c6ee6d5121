"""The web server of `pacifica-notifications`: CherryPy's own, around the application."""

from typing import Any

import cheroot.server
import cherrypy

from pacifica.notifications.rest.root import application
from pacifica.notifications.settings import Settings

_CHEROOT: Any = cheroot.server  # its type stubs leave out what is used here


class _PlainHeaders(_CHEROOT.HeaderReader):
    """Drops headers with underscores: WSGI could not tell Http_Remote_User from the real one."""

    def _allow_header(self, key_name: bytes) -> bool:
        return b"_" not in key_name


def serve(cherrypy_file: str, settings: Settings, address: str | None, port: int | None) -> None:
    """Serve until the process is told to stop; an address or port given here beats the file.

    Raises ConfigError for a CherryPy file that cannot be used.
    """
    _CHEROOT.HTTPRequest.header_reader = _PlainHeaders()
    # A repeated user header must not look like its last value alone: joined by commas, as the
    # standard has it, the API refuses it.
    _CHEROOT.comma_separated_headers.append(settings.user_header.title().encode())
    # What is a little too large gets our answer; what is far too large is not even read.
    cherrypy.config.update({"server.max_request_body_size": 2 * settings.receive_max_body})
    cherrypy.tree.graft(application(cherrypy_file), "")
    given = {"server.socket_host": address, "server.socket_port": port}
    cherrypy.config.update({name: value for name, value in given.items() if value is not None})
    cherrypy.engine.signals.subscribe()
    cherrypy.engine.start()
    cherrypy.engine.block()
