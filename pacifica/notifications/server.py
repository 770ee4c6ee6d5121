"""The web server of `pacifica-notifications`: CherryPy's own, around the application."""

import cheroot.server
import cherrypy

from pacifica.notifications.rest.root import application
from pacifica.notifications.settings import Settings


class _PlainHeaders(cheroot.server.HeaderReader):
    """Drops headers with underscores: WSGI could not tell Http_Remote_User from the real one."""

    def _allow_header(self, key_name: bytes) -> bool:
        return super()._allow_header(key_name) and b"_" not in key_name


def serve(cherrypy_file: str, settings: Settings, address: str | None, port: int | None) -> None:
    """Serve until the process is told to stop; an address or port given here beats the file.

    Raises ConfigError for a CherryPy file that cannot be used.
    """
    cheroot.server.HTTPRequest.header_reader = _PlainHeaders()
    # A repeated user header must not look like its last value alone: joined by commas, as the
    # standard has it, the API refuses it.
    cheroot.server.comma_separated_headers.append(settings.user_header.title().encode())
    # What is a little too large gets our answer; what is far too large is not even read.
    cherrypy.config.update({"server.max_request_body_size": 2 * settings.receive_max_body})
    cherrypy.tree.graft(application(cherrypy_file), "")
    given = {"server.socket_host": address, "server.socket_port": port}
    cherrypy.config.update({name: value for name, value in given.items() if value is not None})
    cherrypy.engine.signals.subscribe()
    cherrypy.engine.start()
    cherrypy.engine.block()
