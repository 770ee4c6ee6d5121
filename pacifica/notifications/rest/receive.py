"""`/receive`: stores events durably, and then responds with their ids.

ReceiveFastPath, a step in CherryPy's WSGI pipeline, handles plain requests in a third of the time
that CherryPy's dispatch takes. CherryPy handles all other requests.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from functools import lru_cache, partial
from typing import Any
from uuid import UUID

import cherrypy
from cherrypy.lib import httputil

from pacifica.notifications.app import App
from pacifica.notifications.delivery import DELIVERY_HEADER, OWN_DELIVERY
from pacifica.notifications.events import (
    BATCH_MEDIA_TYPE,
    BINARY_MODE_HEADERS,
    EVENT_MEDIA_TYPE,
    EVENT_SCHEMA_0_1,
    HEADER_PREFIX,
    HOPS_HEADER,
    Event,
    is_json_type,
    media_type,
    parse_batch,
    parse_binary,
    parse_event,
)
from pacifica.notifications.rest.accesslog import AccessLog, Line
from pacifica.notifications.rest.admission import may_send, require_sender
from pacifica.notifications.rest.body import (
    JSON_TYPES,
    content_type,
    event_body,
    is_small,
    read_exactly,
    require_type,
    require_utf8,
)
from pacifica.notifications.rest.context import KEY, Context, context
from pacifica.notifications.rest.errors import (
    ApiError,
    answering_errors,
    api_error,
    encode_text,
    unexpected_error,
)
from pacifica.notifications.rest.request import require_known
from pacifica.notifications.settlement import is_awaited
from pacifica.notifications.store import deduplication
from pacifica.notifications.store.events import record_batch
from pacifica.notifications.store.history import is_under_way

Environ = dict[str, Any]
WsgiApplication = Callable[[Environ, Any], Iterable[bytes]]

# A content type that begins with this decides the mode, whatever the other headers are.
_CLOUDEVENTS = "application/cloudevents"
_PLAIN = {"REQUEST_METHOD": "POST", "SCRIPT_NAME": "", "PATH_INFO": "/receive", "QUERY_STRING": ""}
# No valid size has this many digits.
_DIGITS = 16
_PROTOCOLS = ("HTTP/1.1", "HTTP/1.0")
# Headers that only the handling by CherryPy reads; a request with one of them is not plain.
_UNUSUAL = frozenset(
    f"HTTP_{name.upper().replace('-', '_')}"
    for name in (
        *("Content-Encoding", "Cookie", "Transfer-Encoding", HOPS_HEADER),
        *(f"{HEADER_PREFIX}{name}" for name in BINARY_MODE_HEADERS),
    )
)
_SERVER = f"CherryPy/{cherrypy.__version__}"


class ReceiveEvent:
    """Receive events."""

    exposed = True
    event_json_schema = EVENT_SCHEMA_0_1

    def __init__(self, shared: Context | None = None) -> None:
        self._cp_config = {
            KEY: shared or Context(),
            "hooks.before_handler": partial(require_known, {1: ("POST",)}),
        }

    @answering_errors
    def POST(self) -> bytes:  # noqa: N802 CherryPy dispatches on it
        """Store an event, or those of a batch, and return their ids."""
        require_sender()
        app, multithread = context().app, cherrypy.request.multithread
        hops = _hops(app)
        if media_type(content_type()) == BATCH_MEDIA_TYPE:
            events = _batch(app, hops)
            uuids = [str(uuid) for uuid in _store_all(app, events, multithread)]
            cherrypy.request.unique_id = f"{uuids[0]}+{len(uuids) - 1}" if uuids else "-"
            return encode_text(uuids)
        cherrypy.request.unique_id = uuid = str(_store(app, _event(app, hops), multithread))
        return encode_text(uuid)


class ReceiveFastPath:
    """Handles requests with one plain event, and passes all others on.

    So it needs to know only one successful response, and the errors of an event.
    """

    def __init__(self, following: WsgiApplication, shared: Context, log: AccessLog) -> None:
        self._following = following
        self._context = shared
        self._log = log

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Handle a request as a WSGI application (PEP 3333)."""
        app = self._context.app
        if not _is_plain(app, environ) or self._line(environ, 200, 0, "-") is None:
            return self._following(environ, start_response)
        try:
            body = read_exactly(environ["wsgi.input"], int(environ["CONTENT_LENGTH"]))
            strict = environ["CONTENT_TYPE"] == EVENT_MEDIA_TYPE
            limits, large_bodies = app.settings.receive, self._context.large_bodies
            with nullcontext() if is_small(body, limits) else large_bodies.held():
                event = parse_event(body, limits.max_depth, require_version=strict)
            uuid = str(_store(app, event, environ["wsgi.multithread"]))
            status, answer, headers = "200 OK", uuid.encode(), dict[str, str]()
        except Exception as error:  # noqa: BLE001 the edge of a request: any error is a response
            refusal = api_error(error) or unexpected_error()
            status, answer, headers = refusal.status_line, refusal.body, dict(refusal.headers)
            uuid = "-"
        start_response(status, [*_headers(int(time.time()), len(answer)), *headers.items()])
        line = self._line(environ, status[:3], len(answer), uuid)
        if line is not None:
            self._log.write(line)
        return [answer]

    def _line(self, environ: Environ, status: object, size: object, event: str) -> Line | None:
        return self._log.line(
            client=self._log.client(environ),
            login=environ.get("LOGON_USER") or environ.get("REMOTE_USER") or "-",
            request=f"POST /receive {environ['SERVER_PROTOCOL']}",
            status=status,
            size=size,
            referer=environ.get("HTTP_REFERER", "").strip(" \t"),
            agent=environ.get("HTTP_USER_AGENT", "").strip(" \t"),
            event=event,
        )


def _store(app: App, event: Event, multithread: bool) -> UUID:
    """Store an event, nudge a worker, and return its id.

    With deduplication, the id may be that of an earlier event. Without `multithread`, the nudge is
    sent at once, because no other thread runs while this process has no request.
    """
    if app.settings.receive.deduplicate:
        return _store_all(app, [event], multithread)[0]
    app.group_commit.store(event)
    _nudge(app, [event], multithread)
    return event.uuid


def _store_all(app: App, events: Sequence[Event], multithread: bool) -> list[UUID]:
    """Store all of the events or none, nudge the workers, and return their ids."""
    if app.settings.receive.deduplicate:
        uuids = deduplication.record_first(
            events, app.settings.receive.deduplicate, app.settle_after
        )
    else:
        record_batch(events, app.settle_after)
        uuids = [event.uuid for event in events]
    stored = [event for event, uuid in zip(events, uuids, strict=True) if event.uuid == uuid]
    _nudge(app, stored, multithread)
    return uuids


def _nudge(app: App, events: Sequence[Event], multithread: bool) -> None:
    app.reporter.keep_reporting(threaded=multithread)
    settling = [] if app.settle_after is None else list(filter(_settles, events))
    due = [event.uuid for event in events if not (settling and _settles(event))]
    if not multithread:
        app.publisher.nudge_dispatch(due)
        if settling and app.settle_after is not None:
            app.publisher.nudge_settling(app.settle_after)
        return
    for uuid in due:
        app.nudger.nudge(uuid)
    for event in settling:
        app.settle_nudger.nudge(event.uuid)


def _settles(event: Event) -> bool:
    return is_awaited(event.summary.type)


def _event(app: App, hops: int) -> Event:
    """Return the event of a request in binary or structured mode."""
    declared, limits = content_type(), app.settings.receive
    headers = {
        name[len(HEADER_PREFIX) :].lower(): value
        for name, value in cherrypy.request.headers.items()
        if name.lower().startswith(HEADER_PREFIX)
    }
    if BINARY_MODE_HEADERS.isdisjoint(headers) or declared.lower().startswith(_CLOUDEVENTS):
        require_type(JSON_TYPES)
        strict = media_type(declared) == EVENT_MEDIA_TYPE
        with event_body(limits, context().large_bodies) as body:
            return parse_event(body, limits.max_depth, hops, require_version=strict)
    if is_json_type(declared):
        require_utf8(declared)
    with event_body(limits, context().large_bodies) as body:
        return parse_binary(headers, declared, body, limits.max_depth, hops)


def _batch(app: App, hops: int) -> list[Event]:
    limits = app.settings.receive
    require_type((BATCH_MEDIA_TYPE,))
    with event_body(limits, context().large_bodies) as body:
        return parse_batch(body, limits.max_depth, limits.max_batch, hops)


def _hops(app: App) -> int:
    """Return how many notification services an event passed; refuse too many (508)."""
    value = cherrypy.request.headers.get(HOPS_HEADER, "0").strip()
    if not (value.isascii() and value.isdecimal()):
        raise ApiError(400, f"the header {HOPS_HEADER} must be a whole number, given once")
    hops, max_hops = int(value[:9]), app.settings.receive.max_hops
    if hops > max_hops:
        reason = f"{HOPS_HEADER} is more than {max_hops}: the event is in a loop"
        members: dict[str, Any] = {"hops": hops, OWN_DELIVERY: _is_own_delivery()}
        raise ApiError(508, reason, None, **members)
    return hops


def _is_own_delivery() -> bool:
    """Return whether the request is a delivery of this service itself.

    Only the target of a delivery knows its id.
    """
    try:
        return is_under_way(UUID(cherrypy.request.headers.get(DELIVERY_HEADER, "")))
    except ValueError:
        return False


def _is_plain(app: App, environ: Environ) -> bool:
    length, limits = environ.get("CONTENT_LENGTH", ""), app.settings.receive
    return (
        all(environ.get(name) == value for name, value in _PLAIN.items())
        and environ.get("CONTENT_TYPE") in JSON_TYPES
        and bool(environ.get("HTTP_HOST"))
        and environ.get("SERVER_PROTOCOL") in _PROTOCOLS
        and 0 < len(length) < _DIGITS
        and length.isdecimal()
        and int(length) <= limits.max_body
        and _UNUSUAL.isdisjoint(environ)
        and may_send(limits, environ)
    )


@lru_cache(maxsize=4)
def _headers(second: int, length: int) -> list[tuple[str, str]]:
    """Return the headers of a response, which are the same within one second."""
    return [
        ("Content-Type", "application/json"),
        ("Server", _SERVER),
        ("Date", httputil.HTTPDate(second)),
        ("Allow", "POST"),
        ("Content-Length", str(length)),
    ]
