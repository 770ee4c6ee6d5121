"""`/eventmatch/ID/deliveries`: what became of each event that a subscription matched."""

import json
from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

import cherrypy

from pacifica.notifications.errors import InvalidInput, PolicyUnavailable
from pacifica.notifications.events import STRUCTURED, EventSummary
from pacifica.notifications.flow import State
from pacifica.notifications.reasons import delivery_reason
from pacifica.notifications.rest import paging
from pacifica.notifications.rest.access import (
    Access,
    not_found,
    require_owned,
    require_readable,
)
from pacifica.notifications.rest.admission import require_proxy
from pacifica.notifications.rest.context import context
from pacifica.notifications.rest.errors import ApiError, answering_errors, encode_text
from pacifica.notifications.rest.request import require_known
from pacifica.notifications.rest.segments import uuid_of
from pacifica.notifications.store import history, resending
from pacifica.notifications.store.events import events_by_uuid
from pacifica.notifications.store.history import DeliveryFilter, LoggedAttempt, LoggedDelivery
from pacifica.notifications.store.revisions import read_subscriptions

_METHODS = {3: ("GET", "HEAD"), 4: ("GET", "HEAD"), 5: ("POST",)}
#: What a list can be narrowed to: the answers of targets, and types of events up to a length.
STATUSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
MAX_TYPE = 255


class Deliveries:
    """List the deliveries of a subscription, read one with its attempts, and resend it."""

    exposed = True
    _cp_config = {  # noqa: RUF012
        "hooks.on_start_resource": require_proxy,
        "hooks.before_handler": partial(
            require_known, _METHODS, (*paging.PARAMETERS, "state", "type", "status")
        ),
    }

    def __init__(self, subscription: str) -> None:
        self._subscription = subscription

    @answering_errors
    def GET(self, delivery: str | None = None) -> bytes:  # noqa: N802
        """Return a page of deliveries, newest first, or one delivery with its attempts."""
        if delivery is None:
            access = require_readable(self._subscription, "deliveries read")
            return encode_text(page_of(access, paging.query()))
        uuid = uuid_of(delivery)
        access = require_readable(self._subscription, "delivery read")
        return encode_text(one_of(access, uuid))

    @answering_errors
    def POST(self, delivery: str, action: str) -> bytes:  # noqa: N802
        """Have a delivery sent again, whatever became of it."""
        if action != "resend":
            raise ApiError(404, "there is nothing at this path")
        uuid = uuid_of(delivery)
        answer = encode_text(resend(require_owned(self._subscription), uuid))
        cherrypy.response.status = 202
        return answer


def page_of(access: Access, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return a page of the deliveries that the caller may see; raises InvalidInput."""
    wanted = paging.page_request(parameters)
    status = paging.one_of(parameters, "status", STATUSES)
    states: Sequence[State] = history.VISIBLE_STATES if access.is_owner else tuple(State)
    state = paging.one_of(parameters, "state", states)
    filters = DeliveryFilter(
        (State(state),) if state else states,
        paging.text(parameters, "type", MAX_TYPE),
        status and status[0],
        wanted.start,
        wanted.end,
    )
    if not access.is_owner and filters.type is not None:
        raise InvalidInput(("type", "is not known to operators, who do not see events"))
    readable: set[UUID] = set()
    found = history.page_of_deliveries(
        access.uuid, filters, wanted.limit, wanted.after, partial(_shown, access, readable)
    )
    items = [_summary(access, each, with_event=each.event in readable) for each in found.deliveries]
    return paging.page(items, found.last)


def one_of(access: Access, uuid: UUID) -> dict[str, Any]:
    """Return a delivery with its attempts, and its event if the caller may see it now.

    Refuses (403) one that the caller may not know of.
    """
    found = history.delivery_of(access.uuid, uuid)
    readable: set[UUID] = set()
    if found is None or not _shown(access, readable, [found]):
        raise not_found()
    is_readable = found.event in readable
    attempts = history.attempts_of(found.uuid)
    return {
        **_summary(access, found, with_event=is_readable),
        "content": _content(found) if is_readable else None,
        "attempts": [attempt_shown(each, with_content=is_readable) for each in attempts],
    }


def resend(access: Access, uuid: UUID) -> dict[str, Any]:
    """Have a delivery sent again and return it; refuses while the subscription is disabled (409).

    Raises PolicyUnavailable. Policy is asked once more before it is sent.
    """
    found = history.delivery_of(access.uuid, uuid)
    if found is None or not access.allowed([found.event]):
        raise not_found()
    if access.subscription["disabled"] is not None:
        raise ApiError(409, "the subscription is disabled: enable it first")
    resending.resend(found, access.caller)
    context().app.publisher.nudge_policy([found.event])
    again = history.delivery_of(access.uuid, uuid)
    if again is None:
        raise not_found()
    return _summary(access, again, with_event=True)


def attempt_shown(each: LoggedAttempt, *, with_content: bool) -> dict[str, Any]:
    """Return an attempt as it is answered; without content, not what the target said."""
    return {
        "number": each.number,
        "started": paging.iso(each.started),
        "duration": each.milliseconds,
        "trigger": each.cause,
        "url": each.url,
        "address": each.address or None,
        "request_headers": _headers(each.request),
        "status": each.status,
        "response_headers": _headers(each.response) if with_content else None,
        "body": each.body if with_content else None,
        "truncated": bool(each.truncated),
        "outcome": each.outcome,
        "next_attempt": paging.iso(each.next_attempt),
    }


def event_shown(uuid: UUID, about: EventSummary, received: Any) -> dict[str, Any]:
    """Return what an event says of itself, as it is answered in lists."""
    return {
        "uuid": str(uuid),
        "id": about.id,
        "type": about.type,
        "source": about.source,
        "time": about.time,
        "transaction": about.transaction,
        "received": paging.iso(received),
    }


def _shown(
    access: Access, readable: set[UUID], found: Sequence[LoggedDelivery]
) -> Sequence[LoggedDelivery]:
    """Return the deliveries that the caller may know of; add the events they may see now.

    An owner knows of those that Policy allows now; while Policy cannot be asked, of those that it
    allowed before. Operators know of all.
    """
    if not access.is_owner:
        return found
    try:
        readable |= access.allowed([each.event for each in found])
    except PolicyUnavailable:
        return [each for each in found if each.was_allowed]
    return [each for each in found if each.event in readable]


def _summary(access: Access, each: LoggedDelivery, *, with_event: bool) -> dict[str, Any]:
    is_delivered = each.state is State.DELIVERED
    latency = each.updated - each.received
    about = each.about if with_event else EventSummary()
    return {
        "uuid": str(each.uuid),
        "event": event_shown(each.event, about, each.received),
        "withheld": not with_event,
        "state": each.state,
        "reason": delivery_reason(
            each.state,
            attempts=each.attempts,
            failing=each.failing,
            status=each.status,
            policy_status=each.policy_status,
            is_disabled=access.subscription["disabled"] is not None,
        ),
        "attempts": each.tries,
        "status": int(each.status) if each.status.isdecimal() else None,
        "next_attempt": paging.iso(each.due),
        "latency": round(latency.total_seconds() * 1000) if is_delivered else None,
        "created": paging.iso(each.created),
        "updated": paging.iso(each.updated),
    }


def _content(found: LoggedDelivery) -> Any:
    """Return the event as the subscription's target gets it, as JSON."""
    event = events_by_uuid([found.event]).get(found.event)
    subscription = read_subscriptions([found.subscription])[found.subscription].value
    if event is None:
        return None
    try:
        if subscription is None:
            return event.document()
        wanted = subscription.specversion, STRUCTURED, subscription.extensions
        return json.loads(event.message(*wanted).body)
    except Exception:  # noqa: BLE001 an event that cannot be sent is shown as it came
        return event.document()


def _headers(text: str) -> list[list[str]] | None:
    """Return recorded headers as pairs; None where they were not kept."""
    return json.loads(text) if text else None
