"""`/receive`: events come in, and are on disk before they are answered."""

from collections.abc import Sequence
from functools import partial
from uuid import UUID

import cherrypy

from pacifica.notifications.errors import BatchTooLong
from pacifica.notifications.events import (
    HOPS_HEADER,
    Event,
    parse_batch,
    parse_binary,
    parse_event,
)
from pacifica.notifications.events.binary import TELLING
from pacifica.notifications.events.headers import PREFIX
from pacifica.notifications.events.mediatypes import is_json_type, media_type
from pacifica.notifications.events.schemas import EVENT_0_1
from pacifica.notifications.events.structured import BATCH_TYPE, EVENT_TYPE
from pacifica.notifications.rest.body import (
    JSON_TYPES,
    content_type,
    read_event_body,
    require_type,
    require_utf8,
)
from pacifica.notifications.rest.errors import ApiError, answering_errors
from pacifica.notifications.rest.paths import require_known
from pacifica.notifications.rest.senders import require_sender
from pacifica.notifications.rest.service import intake, nudger, settings
from pacifica.notifications.rest.text import encode_text
from pacifica.notifications.store import deduplication
from pacifica.notifications.store.events import record_batch
from pacifica.notifications.tasks import nudge_dispatch

# Where the WSGI environment has what an event failed with that took the short way.
FAILURE = "pacifica.notifications.failure"
# What the content types begin with that decide the mode, whatever headers there are.
_CLOUDEVENTS = "application/cloudevents"


class ReceiveEvent:
    """Take events."""

    exposed = True
    event_json_schema = EVENT_0_1
    _cp_config = {"hooks.before_handler": partial(require_known, {1: ("POST",)})}  # noqa: RUF012

    @answering_errors
    def POST(self) -> bytes:  # noqa: N802 CherryPy dispatches on it
        """Store an event, or those of a batch, and return the ids by which they can be found."""
        require_sender()
        if (failure := cherrypy.request.wsgi_environ.get(FAILURE)) is not None:
            raise failure
        hops = _hops()
        multithread = cherrypy.request.multithread
        if media_type(content_type()) == BATCH_TYPE:
            return encode_text([str(uuid) for uuid in take_all(_batch(hops), multithread)])
        return encode_text(str(take(_event(hops), multithread)))


def take(event: Event, multithread: bool) -> UUID:
    """Store an event, have a worker told of it, and return its id.

    Where duplicates are suppressed, the id may be that of an earlier event. `multithread` says
    whether other threads run while this process has no request.
    """
    if settings().receive.deduplicate:
        return take_all([event], multithread)[0]
    intake().store(event)
    _tell([event.uuid], multithread)
    return event.uuid


def take_all(events: Sequence[Event], multithread: bool) -> list[UUID]:
    """Store all of some events or none, have workers told of them, and return their ids."""
    if settings().receive.deduplicate:
        uuids = deduplication.record_first(events, settings().receive.deduplicate)
    else:
        record_batch(events)
        uuids = [event.uuid for event in events]
    stored = [event.uuid for event, uuid in zip(events, uuids, strict=True) if event.uuid == uuid]
    _tell(stored, multithread)
    return uuids


def _tell(uuids: Sequence[UUID], multithread: bool) -> None:
    if not multithread:
        nudge_dispatch(uuids)
        return
    for uuid in uuids:
        nudger().nudge(uuid)


def _event(hops: int) -> Event:
    """Return the event of a request that has one: in binary mode, or in structured mode."""
    declared = content_type()
    depth = settings().receive.max_depth
    headers = {
        name[len(PREFIX) :].lower(): value
        for name, value in cherrypy.request.headers.items()
        if name.lower().startswith(PREFIX)
    }
    if TELLING.isdisjoint(headers) or declared.lower().startswith(_CLOUDEVENTS):
        require_type(JSON_TYPES)
        body = read_event_body(settings().receive.max_body)
        return parse_event(body, depth, hops, names_version=media_type(declared) == EVENT_TYPE)
    if is_json_type(declared):
        require_utf8(declared)
    body = read_event_body(settings().receive.max_body)
    return parse_binary(headers, declared, body, depth, hops)


def _batch(hops: int) -> list[Event]:
    require_type((BATCH_TYPE,))
    body = read_event_body(settings().receive.max_body)
    try:
        return parse_batch(body, settings().receive.max_depth, settings().receive.max_batch, hops)
    except BatchTooLong as error:
        raise ApiError(413, str(error)) from error


def _hops() -> int:
    """Return how many services like this one an event came through; answers 508 past a bound."""
    value = cherrypy.request.headers.get(HOPS_HEADER, "0").strip()
    if not (value.isascii() and value.isdecimal()):
        raise ApiError(400, f"the header {HOPS_HEADER} must be a whole number, given once")
    hops = int(value[:9])
    most = settings().receive.max_hops
    if hops > most:
        raise ApiError(
            508, f"{HOPS_HEADER} is more than {most}: the event goes round and round", hops=hops
        )
    return hops
