"""`/eventmatch/ID/test`: send one event to a subscription's target, and see what it answers."""

import json
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from pacifica.notifications.clock import utcnow
from pacifica.notifications.delivery import (
    Links,
    attempt,
    delivery_request,
    may_repeat_credentials,
    recorded_response,
)
from pacifica.notifications.errors import EventUnsendable, InvalidInput, PolicyUnavailable
from pacifica.notifications.events import Event, parse_event
from pacifica.notifications.flow import Attempt, AttemptOutcome, Cause, Delivery
from pacifica.notifications.jsontext import read_json
from pacifica.notifications.rest import mailtargets
from pacifica.notifications.rest.access import Access, not_found, require_owned
from pacifica.notifications.rest.admission import require_proxy
from pacifica.notifications.rest.body import read_body
from pacifica.notifications.rest.context import context
from pacifica.notifications.rest.deliveries import attempt_shown
from pacifica.notifications.rest.errors import ApiError, answering_errors, encode_text
from pacifica.notifications.rest.request import require_known
from pacifica.notifications.store import audit, history
from pacifica.notifications.store.events import events_by_uuid
from pacifica.notifications.store.history import DeliveryFilter, LoggedAttempt, LoggedDelivery
from pacifica.notifications.store.revisions import read_subscriptions
from pacifica.notifications.subscriptions import Channel
from pacifica.notifications.transport import Response
from pacifica.notifications.validation import Schema

_BODY = Schema(
    {
        "type": "object",
        "properties": {"event": {"type": "object"}},
        "additionalProperties": False,
    }
)
# Bytes of a body: an event about ten thousand files fits.
_MAX_BODY = 3 * 2**20
_MADE_UP = Path(__file__).parent / "testevent.json"


class TestDelivery:
    """Try the target of a subscription; nothing of the subscription changes."""

    exposed = True
    _cp_config = {  # noqa: RUF012
        "hooks.on_start_resource": require_proxy,
        "hooks.before_handler": partial(require_known, {3: ("POST",)}),
    }

    def __init__(self, subscription: str) -> None:
        self._subscription = subscription

    @answering_errors
    def POST(self) -> bytes:  # noqa: N802
        """Send an event to the target and return the attempt."""
        access = require_owned(self._subscription)
        max_depth = context().settings.receive.max_depth
        text = read_body(_MAX_BODY)
        body = read_json(text, max_depth + 1) if text else {}
        _BODY.check(body)
        event = None
        if "event" in body:
            event = parse_event(json.dumps(body["event"]).encode(), max_depth)
        return encode_text(send_test(access, event))


def send_test(access: Access, event: Event | None = None) -> dict[str, Any]:
    """Send an event to the target of the caller's subscription, and return the attempt.

    Without one, the newest that the caller may see and that was matched is sent, or else one that
    is made up. It waits for the target. Raises InvalidInput if no request can be built.
    """
    origin = "given"
    if event is None:
        event, origin = _newest(access)
    subscription = read_subscriptions([access.uuid])[access.uuid].value
    if subscription is None:
        raise not_found()
    if subscription.is_pulled:
        raise ApiError(409, "events are fetched from this subscription, so there is no target")
    delivery = Delivery(uuid4(), event.uuid, 1, subscription, cause=Cause.TEST)
    if subscription.channel is Channel.MAIL:
        audit.record(access.caller, "target tested", access.owner, access.uuid)
        made = mailtargets.send_test(access.caller, subscription, event, delivery)
        shown = attempt_shown(_logged(made), with_content=True)
        return {"event": origin, "delivery": str(delivery.uuid), **shown}
    try:
        settings = context().settings
        links = Links(settings.mail.link, settings.mail.base_url)
        request = delivery_request(delivery, event, utcnow(), settings.delivery, links)
    except (EventUnsendable, ValueError) as error:
        raise InvalidInput(("event", f"cannot be sent: {error}")) from error
    audit.record(access.caller, "target tested", access.owner, access.uuid)
    result = context().targets.send(request, access.caller)
    _status, body = recorded_response(result)
    if isinstance(result, Response) and may_repeat_credentials(result, subscription):
        body = "(the response is not shown: it could repeat the credentials)"
    made = attempt(request, result, subscription, body, utcnow())
    shown = attempt_shown(_logged(made), with_content=True)
    return {"event": origin, "delivery": str(delivery.uuid), **shown}


def _newest(access: Access) -> tuple[Event, str]:
    """Return the newest event that the subscription matched and its owner may see."""

    def shown(found: Any) -> list[LoggedDelivery]:
        allowed = access.allowed([each.event for each in found])
        return [each for each in found if each.event in allowed]

    try:
        page = history.page_of_deliveries(access.uuid, DeliveryFilter(), 1, None, shown)
        for each in page.deliveries:
            for event in events_by_uuid([each.event]).values():
                return event, "recorded"
    except PolicyUnavailable:
        pass
    return parse_event(_MADE_UP.read_bytes(), context().settings.receive.max_depth), "made up"


def _logged(made: Attempt) -> LoggedAttempt:
    is_success = made.status is not None and 200 <= made.status < 300
    return LoggedAttempt(
        number=1,
        started=made.started,
        milliseconds=made.milliseconds,
        cause=Cause.TEST,
        url=made.url,
        address=made.address,
        request=made.request,
        status=made.status,
        response=made.response,
        body=made.body,
        truncated=made.truncated,
        outcome=AttemptOutcome.DELIVERED if is_success else AttemptOutcome.GIVEN_UP,
        next_attempt=None,
    )
