"""The commands about single deliveries: why an event did not arrive, and to send it again.

They ask Policy nothing: whoever runs them can read the database. They leave an entry in the audit
log.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from pacifica.notifications.app import App
from pacifica.notifications.commands.arguments import UsageError, operator, uuids_of
from pacifica.notifications.commands.event_report import printable
from pacifica.notifications.errors import NotificationsError
from pacifica.notifications.matching import trace_jsonpath
from pacifica.notifications.rest.explained import Tracing, explained
from pacifica.notifications.rest.expressions import MAX_BUDGET
from pacifica.notifications.rest.sightings import Sighting
from pacifica.notifications.store import audit, history, resending
from pacifica.notifications.store.events import events_by_uuid
from pacifica.notifications.store.eventsearch import events_named
from pacifica.notifications.store.history import LoggedDelivery
from pacifica.notifications.store.ofuser import StoredSubscription, subscription_of_anybody
from pacifica.notifications.store.pairs import facts_of


def why(app: App, args: Namespace) -> int:
    """Print why an event did or did not reach a subscription."""
    (subscription,) = uuids_of([args.subscription], "a subscription")
    stored = _subscription(subscription)
    found = events_named(args.event)
    if not found:
        raise NotificationsError(f"unknown event: {args.event}")
    event = found[0]
    facts = facts_of(subscription, event.uuid)
    recorded = events_by_uuid([event.uuid]).get(event.uuid)
    if facts is None or recorded is None:
        raise NotificationsError(f"unknown event: {args.event}")
    audit.record(
        operator(), "explanation read", stored.user, subscription, {"event": str(event.uuid)}
    )
    document = recorded.document()
    budget = min(app.settings.matching.budget, MAX_BUDGET)
    max_length = app.settings.eventmatch.jsonpath_max_length
    tracing = Tracing(budget, lambda text: trace_jsonpath(text, document, budget, max_length))
    answer = explained(Sighting(event, len(found), is_readable=True), facts, tracing)
    _print(json.dumps(answer, indent=2) if args.json else _report(answer, stored))
    return 0


def resend(app: App, args: Namespace) -> int:
    """Have deliveries sent again, whatever became of them; Policy is asked before they are."""
    found = _deliveries(uuids_of(args.deliveries, "a delivery"))
    subscriptions = {each.subscription: _subscription(each.subscription) for each in found}
    for stored in subscriptions.values():
        if stored.deleted is not None:
            raise NotificationsError(f"the subscription {stored.uuid} is deleted")
        if stored.disabled is not None:
            raise NotificationsError(f"the subscription {stored.uuid} is disabled: enable it first")
    for delivery in found:
        resending.resend(delivery, operator(), subscriptions[delivery.subscription].user)
    app.publisher.nudge_policy([each.event for each in found])
    if args.json:
        _print(json.dumps([_resent(each) for each in found], indent=2))
    else:
        for each in found:
            _print(f"delivery {each.uuid} of event {each.event} is sent again")
    return 0


def _deliveries(uuids: Sequence[UUID]) -> Sequence[LoggedDelivery]:
    """Return the deliveries that are given, or that of an event to a subscription."""
    found = [history.delivery_with(each) for each in uuids]
    if len(uuids) == 2 and found == [None, None]:
        event, subscription = uuids
        delivery = history.delivery_of_event(subscription, event)
        if delivery is None:
            raise NotificationsError(
                f"there is no delivery of event {event} to subscription {subscription}: "
                "`why` tells why"
            )
        return [delivery]
    unknown = [str(uuid) for uuid, each in zip(uuids, found, strict=True) if each is None]
    if unknown:
        raise NotificationsError(f"unknown deliveries: {', '.join(unknown)}")
    return [each for each in found if each is not None]


def _subscription(uuid: UUID) -> StoredSubscription:
    stored = subscription_of_anybody(uuid)
    if stored is None:
        raise UsageError(f"unknown subscription: {uuid}")
    return stored


def _resent(each: LoggedDelivery) -> dict[str, str]:
    return {
        "delivery": str(each.uuid),
        "event": str(each.event),
        "subscription": str(each.subscription),
        "state": each.state,
    }


def _report(answer: dict[str, Any], stored: StoredSubscription) -> str:
    event = answer["event"]
    same = f" (the newest of {answer['count']})" if answer["count"] > 1 else ""
    lines = [
        f"event {event['uuid']}{same}",
        f"  {event['type'] or '-'} from {event['source'] or '-'}",
        f"subscription {stored.uuid} ({stored.name}) of {stored.user}",
        f"{answer['outcome']}: {answer['reason']}",
        f"  {answer['meaning']}",
        f"  {answer['hint']}",
    ]
    for step in answer["steps"]:
        lines.append(f"  {step['step']:<9} {step['verdict']:<11} {step['time'] or '-'}")
        if trace := step.get("trace"):
            lines.append(f"    {step['jsonpath']}")
            lines += [
                f"    {each['text']}: {each['entered']} in, {each['selected']} out"
                for each in trace["steps"]
            ]
    if answer["copies"]["count"]:
        lines.append(f"  came again {answer['copies']['count']} times, and was not stored again")
    return "\n".join(lines)


def _print(text: str) -> None:
    print(printable(text, sys.stdout.encoding))  # noqa: T201
