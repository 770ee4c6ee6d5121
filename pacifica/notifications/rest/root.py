"""The API as one CherryPy application, with its default settings."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cherrypy

from pacifica.notifications.app import App
from pacifica.notifications.errors import ConfigError
from pacifica.notifications.jsonlog import use_json
from pacifica.notifications.rest.accesslog import AccessLog
from pacifica.notifications.rest.audit import Audit
from pacifica.notifications.rest.backtests import Backtests
from pacifica.notifications.rest.context import Context
from pacifica.notifications.rest.errorlog import write_to_error_log
from pacifica.notifications.rest.errors import error_page_default
from pacifica.notifications.rest.eventmatch import EventMatch
from pacifica.notifications.rest.events import Events
from pacifica.notifications.rest.expressions import Expressions
from pacifica.notifications.rest.health import Livez, Readyz
from pacifica.notifications.rest.maillinks import MailLinks
from pacifica.notifications.rest.metrics import Metrics
from pacifica.notifications.rest.openapi import OpenApi
from pacifica.notifications.rest.receive import ReceiveEvent, ReceiveFastPath
from pacifica.notifications.rest.request import Request

# CherryPy's own backlog, five connections, is too small for hundreds of clients at once.
SERVER: dict[str, Any] = {
    "engine.autoreload.on": False,
    "error_page.default": error_page_default,
    "request.show_tracebacks": False,
    "server.socket_host": "127.0.0.1",
    "server.socket_port": 8070,
    "server.socket_queue_size": 512,
    "server.thread_pool": 16,
    "server.max_request_header_size": 64 * 1024,
}
_RESOURCES: dict[str, Any] = {
    "error_page.default": error_page_default,
    "request.process_request_body": False,  # the resources read it, bounded
    "request.show_tracebacks": False,
    "tools.response_headers.on": True,
    "tools.response_headers.headers": [("Content-Type", "application/json")],
}
APPLICATION: dict[str, dict[str, Any]] = {
    "/": {**_RESOURCES, "request.dispatch": cherrypy.dispatch.MethodDispatcher()}
}
_NAMESPACES = frozenset({"error_page", "hooks", "request", "response", "tools", "wsgi"})


class Root:
    """The resources below `/`; there is no resource at `/` itself.

    It may be mounted by hand, with a MethodDispatcher.
    """

    _cp_config = _RESOURCES
    ui: Any

    def __init__(self, app: App | None = None) -> None:
        self.context = Context(app)
        self.audit = Audit(self.context)
        self.eventmatch = EventMatch(self.context)
        self.events = Events(self.context)
        self.backtests = Backtests(self.context)
        self.expressions = Expressions(self.context)
        self.receive = ReceiveEvent(self.context)
        self.openapi_json = OpenApi(self.context)
        self.livez = Livez()
        self.readyz = Readyz(self.context)
        self.metrics = Metrics(self.context)
        self.mail = MailLinks(self.context)


def application(
    app: App, cherrypy_file: str, page: Callable[[Context], Any] | None = None
) -> cherrypy.Application:
    """Return the WSGI application, configured by a CherryPy file if it exists.

    `page` makes the web page at `/ui`, which is absent without it. Raises ConfigError if the file
    exists and cannot be used.
    """
    cherrypy.config.update(SERVER)
    root = Root(app)
    if page is not None:
        root.ui = page(root.context)
    assembled = cherrypy.Application(root, "", APPLICATION)
    assembled.request_class = Request
    assembled.log = AccessLog(id(assembled), cherrypy.log.logger_root)
    assembled.log.trusted_proxies = app.settings.notifications.trusted_proxies
    assembled.log.as_json = app.settings.logging.json
    built_in = _of_requests(assembled)
    if Path(cherrypy_file).exists():
        try:
            cherrypy.config.update(cherrypy_file)
            assembled.merge(cherrypy_file)
        except Exception as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"{cherrypy_file}: not a CherryPy configuration: {reason}") from error
    write_to_error_log()
    if app.settings.logging.json:
        use_json(
            *(cherrypy.log.access_log, cherrypy.log.error_log),
            *(assembled.log.access_log, assembled.log.error_log),
        )
    if _of_requests(assembled) == built_in:
        fast_path = partial(ReceiveFastPath, shared=root.context, log=assembled.log)
        assembled.wsgiapp.pipeline.append(("receive_fast_path", fast_path))
    return assembled


def _of_requests(assembled: cherrypy.Application) -> dict[tuple[str, str], Any]:
    """Return the settings of requests; the fast path requires the built-in ones."""
    return {
        (section, key): type(value) if key == "request.dispatch" else value
        for section, settings in {**assembled.config, "": cherrypy.config}.items()
        for key, value in settings.items()
        if key.partition(".")[0] in _NAMESPACES
    }
