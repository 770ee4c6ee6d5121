"""`/receive`: events come in, and are on disk before they are answered."""

from functools import partial
from uuid import UUID

import cherrypy

from pacifica.notifications.events import HOPS_HEADER, parse_event
from pacifica.notifications.rest.body import read_body
from pacifica.notifications.rest.errors import ApiError, answering_errors
from pacifica.notifications.rest.paths import require_known
from pacifica.notifications.rest.service import intake, nudger, settings
from pacifica.notifications.rest.text import encode_text
from pacifica.notifications.schemas import EVENT_0_1
from pacifica.notifications.tasks import nudge_dispatch

# Where the WSGI environment has what an event failed with that took the short way.
FAILURE = "pacifica.notifications.failure"


class ReceiveEvent:
    """Take events."""

    exposed = True
    event_json_schema = EVENT_0_1
    _cp_config = {"hooks.before_handler": partial(require_known, {1: ("POST",)})}  # noqa: RUF012

    @answering_errors
    def POST(self) -> bytes:  # noqa: N802 CherryPy dispatches on it
        """Store an event and return the id by which it can be found again."""
        if (failure := cherrypy.request.wsgi_environ.get(FAILURE)) is not None:
            raise failure
        if "Ce-Specversion" in cherrypy.request.headers:
            raise ApiError(415, "CloudEvents in binary mode are not supported")
        hops = _hops()
        body = read_body(settings().receive_max_body)
        return encode_text(str(take(body, hops, cherrypy.request.multithread)))


def take(body: bytes, hops: int, multithread: bool) -> UUID:
    """Store the event of a body, have a worker told of it, and return its id.

    `multithread` says whether other threads run while this process has no request.
    """
    event = parse_event(body, settings().receive_max_depth, hops)
    intake().take(event)
    if multithread:
        nudger().nudge(event.uuid)
    else:
        nudge_dispatch([event.uuid])
    return event.uuid


def _hops() -> int:
    """Return how many services like this one an event came through; answers 508 past a bound."""
    value = cherrypy.request.headers.get(HOPS_HEADER, "0").strip()
    if not (value.isascii() and value.isdecimal()):
        raise ApiError(400, f"the header {HOPS_HEADER} must be a whole number, given once")
    hops = int(value[:9])
    most = settings().receive_max_hops
    if hops > most:
        raise ApiError(
            508, f"{HOPS_HEADER} is more than {most}: the event goes round and round", hops=hops
        )
    return hops
