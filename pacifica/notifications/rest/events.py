"""`/events`: the events that a caller may see, and where each of them went."""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from pacifica.notifications.reasons import delivery_reason
from pacifica.notifications.rest import paging
from pacifica.notifications.rest.admission import get_remote_user, require_proxy
from pacifica.notifications.rest.context import KEY, Context, context
from pacifica.notifications.rest.deliveries import event_shown
from pacifica.notifications.rest.errors import answering_errors, encode_text
from pacifica.notifications.rest.sightings import Sighting, name_of, require_reading, seen_by
from pacifica.notifications.stages.visibility import Visibility
from pacifica.notifications.store.events import events_by_uuid
from pacifica.notifications.store.eventsearch import EventFilter, FoundEvent, page_of_events
from pacifica.notifications.store.ofuser import (
    OwnDelivery,
    OwnSubscription,
    deliveries_of_user,
    others_of_user,
)

_PARAMETERS = (*paging.PARAMETERS, "type", "source", "q")
_MAX_LENGTH = 255
_MAX_NAME = 2048
# For one request, so many questions are put to Policy, and it takes so many seconds; then the page
# ends, and the next one goes on.
_MAX_QUESTIONS = 500
_MAX_SECONDS = 5.0


class Events:
    """List the events that the caller may see, and read one."""

    exposed = True

    def __init__(self, shared: Context | None = None) -> None:
        self._cp_config = {
            KEY: shared or Context(),
            "hooks.on_start_resource": require_proxy,
            "hooks.before_handler": partial(require_reading, 1, parameters=_PARAMETERS, alone=True),
        }

    @answering_errors
    def GET(self, *event: str) -> bytes:  # noqa: N802 CherryPy dispatches on it
        """Return a page of events, newest first, or one event."""
        user = get_remote_user()
        with context().searches.admitted(user):
            if not event:
                return encode_text(page_of(user, paging.query()))
            return encode_text(one_of(user, seen_by(user, name_of(1))))


class _Questions:
    """Asks Policy which events a user may see, as long as the bounds of one request allow."""

    def __init__(self, visibility: Visibility, user: str) -> None:
        self._visibility = visibility
        self._user = user
        self._asked = 0
        self._ends = time.monotonic() + _MAX_SECONDS

    def shown(self, found: Sequence[FoundEvent]) -> Sequence[FoundEvent]:
        """Return those that the user may see; raises PolicyUnavailable."""
        uuids = [each.uuid for each in found]
        self._asked += self._visibility.new_questions(self._user, uuids)
        allowed = self._visibility.allowed(self._user, uuids)
        return [each for each in found if each.uuid in allowed]

    def may_go_on(self) -> bool:
        """Tell whether more may be asked."""
        return self._asked < _MAX_QUESTIONS and time.monotonic() < self._ends


def page_of(user: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return a page of the events that a user may see; raises InvalidInput, PolicyUnavailable."""
    wanted = paging.page_request(parameters)
    filters = EventFilter(
        paging.text(parameters, "type", _MAX_LENGTH),
        paging.text(parameters, "source", _MAX_LENGTH),
        paging.text(parameters, "q", _MAX_NAME),
        wanted.start,
        wanted.end,
    )
    visibility = context().app.visibility
    visibility.require_policy(user)
    questions = _Questions(visibility, user)
    found = page_of_events(
        filters, wanted.limit, wanted.after, questions.shown, questions.may_go_on
    )
    items = [event_shown(each.uuid, each.about, each.received) for each in found.events]
    return paging.page(items, found.last)


def content_of(user: str, name: str) -> dict[str, Any] | None:
    """Return the content of an event that a user may see; None if it was purged a moment ago.

    Refuses (403) any other; raises PolicyUnavailable.
    """
    event = seen_by(user, name).event
    stored = events_by_uuid([event.uuid]).get(event.uuid)
    return None if stored is None else stored.document()


def one_of(user: str, sighting: Sighting) -> dict[str, Any]:
    """Return an event that a user may see, and what it means for the user's subscriptions."""
    event = sighting.event
    stored = events_by_uuid([event.uuid]).get(event.uuid)
    matched = deliveries_of_user(user, event.uuid)
    others = others_of_user(user, [each.subscription.uuid for each in matched])
    return {
        "event": event_shown(event.uuid, event.about, event.received),
        "count": sighting.count,
        "content": None if stored is None else stored.document(),
        "matched": [
            {**_subscription(event, each.subscription), **_state(each)} for each in matched
        ],
        "others": [_subscription(event, each) for each in others],
    }


def _subscription(event: FoundEvent, subscription: OwnSubscription) -> dict[str, Any]:
    return {
        "subscription": str(subscription.uuid),
        "name": subscription.name,
        "explain": f"/eventmatch/{subscription.uuid}/explain/{event.uuid}",
    }


def _state(each: OwnDelivery) -> dict[str, Any]:
    return {
        "delivery": str(each.uuid),
        "state": each.state,
        "reason": delivery_reason(
            each.state,
            attempts=each.attempts,
            failing=each.failing,
            status=each.status,
            policy_status=each.policy_status,
            is_disabled=each.subscription.is_disabled,
        ),
        "updated": paging.iso(each.updated),
    }
