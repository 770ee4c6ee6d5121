"""The web endpoint that accepts notifications, and shows the state of their runs."""

import hmac
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import responses
from typing import Any

import cherrypy

from pacifica.notifications.consumer.intake import Intake, NotTaken
from pacifica.notifications.consumer.ledger import Run
from pacifica.notifications.consumer.workfolder import WorkFolder
from pacifica.notifications.errors import ConsumerError
from pacifica.notifications.webserver import Limits, Server

_LOG = logging.getLogger(__name__)
_SHOWN = 100
_UNAUTHORISED = 401
_LATER = 503
_ERROR_HEADERS = {
    _UNAUTHORISED: {"WWW-Authenticate": "Bearer"},
    _LATER: {"Retry-After": "10"},
}
_THREADS = 10
_BACKLOG = 256
_CONNECTIONS = 250


@dataclass(frozen=True)
class Tokens:
    """The bearer tokens: one to send notifications, one to see the runs."""

    notify: str = field(repr=False)
    status: str = field(repr=False)


class Endpoint:
    """Serve `POST /` for the producer, and `GET /` for users who may see the runs."""

    exposed = True

    def __init__(
        self,
        work: WorkFolder,
        tokens: Tokens,
        max_bytes: int,
        intake: Intake,
        subscription: Callable[[], dict[str, Any]],
    ) -> None:
        self._work = work
        self._tokens = tokens
        self.max_bytes = max_bytes
        self._intake = intake
        self._subscription = subscription

    def POST(self) -> bytes:  # noqa: N802 CherryPy's dispatcher needs the method's name
        """Store a notification durably, schedule its run, and respond with its id."""
        _require_token(self._tokens.notify)
        notification, event = self._body()
        try:
            return _json({"id": str(self._intake.take(notification, event))})
        except NotTaken as error:
            if error.__cause__ is not None:
                _LOG.error("a notification could not be stored: %s", error.__cause__)
            raise cherrypy.HTTPError(_LATER, str(error)) from error

    def GET(self) -> bytes:  # noqa: N802
        """Return the state of the subscription, the number of runs, and the newest runs."""
        _require_token(self._tokens.status)
        ledger = self._work.ledger
        runs = [self._shown(each) for each in ledger.newest(_SHOWN)]
        counts = ledger.counts()
        return _json({"subscription": self._subscription(), "counts": counts, "runs": runs})

    def _shown(self, run: Run) -> dict[str, Any]:
        folder = self._work.run(run.uuid)
        return {
            "id": str(run.uuid),
            "event": run.event,
            "state": run.state,
            "outcome": run.outcome,
            "attempts": run.attempts,
            "received": _shown_time(run.received),
            "began": _shown_time(run.began),
            "ended": _shown_time(run.ended),
            "src": str(folder.source),
            "dst": str(folder.destination),
            "output": str(folder.log),
        }

    def _body(self) -> tuple[bytes, dict[str, Any]]:
        body: bytes = cherrypy.request.body.fp.read()
        if len(body) > self.max_bytes:
            raise cherrypy.HTTPError(413, f"the body is larger than {self.max_bytes} bytes")
        try:
            event = json.loads(body)
            if isinstance(event, dict):
                return body, event
        except (ValueError, RecursionError):
            pass
        raise cherrypy.HTTPError(400, "the body is not a JSON object")


def start(endpoint: Endpoint, host: str, port: int) -> None:
    """Serve the endpoint in threads of this process; raise ConsumerError."""
    cherrypy.config.update(
        {
            "global": {
                "engine.autoreload.on": False,
                "checker.on": False,
                "log.screen": False,
                "server.socket_host": host,
                "server.socket_port": port,
            }
        }
    )
    settings = {
        "/": {
            "request.dispatch": cherrypy.dispatch.MethodDispatcher(),
            "request.show_tracebacks": False,
            "request.process_request_body": False,
            "error_page.default": _error_page,
            "tools.response_headers.on": True,
            "tools.response_headers.headers": [("Content-Type", "application/json")],
        }
    }
    limits = Limits(
        # The application refuses a body that is slightly too large; a much larger one is not read.
        body=2 * endpoint.max_bytes,
        threads=_THREADS,
        connections=_CONNECTIONS,
        backlog=_BACKLOG,
    )
    application = cherrypy.Application(endpoint, "", settings)
    try:
        cherrypy.server.instance = Server(application, host, port, limits)
    except OSError as error:
        raise ConsumerError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    cherrypy.engine.start()


def stop() -> None:
    """Finish the current requests, and stop the server."""
    cherrypy.engine.exit()


def _require_token(token: str) -> None:
    given = cherrypy.request.headers.get("Authorization", "")
    # As bytes, because compare_digest accepts only ASCII in text.
    wanted = f"Bearer {token}".encode()
    if not hmac.compare_digest(given.encode("utf-8", "replace"), wanted):
        raise cherrypy.HTTPError(_UNAUTHORISED, "a valid bearer token is required")


def _error_page(status: str, message: str, **_details: str) -> bytes:
    code = int(status.split()[0])
    # Here, because CherryPy drops headers that were set before.
    cherrypy.response.headers.update(_ERROR_HEADERS.get(code, {}))
    return _json({"status": f"{code} {responses[code]}", "message": message})


def _json(document: Any) -> bytes:
    cherrypy.response.headers["Content-Type"] = "application/json"
    return json.dumps(document).encode()


def _shown_time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
