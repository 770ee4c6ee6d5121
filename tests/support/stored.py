"""Rows of the store that tests begin with, and what they look at afterwards."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import peewee

from pacifica.notifications.clock import utcnow
from pacifica.notifications.events import Event
from pacifica.notifications.flow import Ruling, State
from pacifica.notifications.metrics import Tallies
from pacifica.notifications.orm import (
    DB,
    BaseModel,
    Counter,
    DeferredMatch,
    EventLog,
    EventLogMatch,
    EventMatch,
    Job,
    Lock,
    NotificationSystem,
    reading,
    writing,
)
from pacifica.notifications.settings import Settings
from pacifica.notifications.store import deliveries, events, holding, subscriptions
from pacifica.notifications.store.dispatching import (
    DispatchPlan,
    hold_dispatched,
    record_dispatched,
)
from pacifica.notifications.store.revisions import current_revision
from pacifica.notifications.subscriptions import PULL_URL, new_subscription

LEASE = 60.0
SOON = timedelta(seconds=10)


@writing
def forget_rows() -> None:
    """Leave the configured database without subscriptions, events, deliveries, jobs and locks."""
    for model in (DeferredMatch, EventLogMatch, EventLog, EventMatch, Job, Lock):
        model.delete().execute()


@writing
def forget_all() -> None:
    """Leave the configured database as it was when it had been migrated.

    The counter of changes stays, as it does where rows are deleted.
    """
    for model in reversed(peewee.sort_models(BaseModel.__subclasses__())):
        if model not in (Counter, NotificationSystem):
            model.delete().execute()


def subscribe(
    user: str = "alice", jsonpath: str = "$.data", target_url: str = "http://target.invalid/"
) -> UUID:
    """Store a subscription."""
    body = {"name": "n", "jsonpath": jsonpath, "target_url": target_url}
    return UUID(subscriptions.create(new_subscription(body, user, 4096))["uuid"])


def event_row(created: datetime) -> dict[str, Any]:
    """Return the row of an event that was dispatched and says nothing of itself."""
    return {
        "uuid": uuid4(),
        "jsondata": '{"data": 1}',
        "created": created,
        "due": None,
        "attempts": 1,
        "hops": 0,
        **dict.fromkeys(("specversion", "event_type", "event_source", "event_id"), ""),
        "event_time": "",
    }


def receive(text: str = '{"data": 1}') -> UUID:
    """Store an event that waits to be dispatched."""
    event = Event(uuid4(), text)
    events.record_all([event])
    return event.uuid


def received(count: int) -> list[UUID]:
    """Store several events that wait to be dispatched."""
    return [receive() for _ in range(count)]


def matched(*to: UUID) -> UUID:
    """Store an event that matched subscriptions."""
    event = receive()
    record_matches(event, to)
    return event


def record_matches(event: UUID, to: Sequence[UUID]) -> None:
    """Store whom an event goes to, without asking Policy about them."""
    plan = DispatchPlan(current_revision(), [], [(uuid4(), event, uuid) for uuid in to], [])
    dispatched = record_dispatched([event], plan, [], lease=LEASE, max_claimed=0)
    hold_dispatched(dispatched, plan, [])


def allowed(*to: UUID) -> tuple[UUID, list[UUID]]:
    """Store an event that its subscribers may see; returns it and its deliveries."""
    event = matched(*to)
    claimed = tuple(deliveries.claim_matched([event], LEASE, 100))
    deliveries.record_rulings([Ruling(claimed, State.ALLOWED, utcnow(), "200", "")])
    return event, [each.uuid for each in claimed]


def available(count: int, **wanted: Any) -> tuple[UUID, list[UUID]]:
    """Store a subscription that is pulled, and what waits to be fetched from it, oldest first."""
    subscription = subscribe(target_url=PULL_URL, **wanted)
    return subscription, [make_available(subscription) for _ in range(count)]


def make_available(subscription: UUID) -> UUID:
    """Store an event that waits to be fetched; returns its delivery."""
    _event, (delivery,) = allowed(subscription)
    return delivery


@writing
def write(model: Any, uuids: Collection[UUID], **columns: Any) -> None:
    """Set columns of rows, whatever the store has to say about it."""
    model.update(**columns).where(model.uuid.in_(uuids)).execute()


def let_leases_run_out(model: Any, uuids: Collection[UUID]) -> None:
    """Make rows due that were claimed."""
    write(model, uuids, due=utcnow() - timedelta(seconds=1))


@reading
def row(model: Any, uuid: UUID) -> Any:
    """Return a row as it is stored."""
    return model.get_by_id(uuid)


def state(delivery: UUID) -> tuple[str, bool, int]:
    """Return where a delivery is: its state, whether something is to do, and its attempts."""
    found = row(EventLogMatch, delivery)
    return found.state, found.due is not None, found.attempts


@reading
def deliveries_of(event: UUID) -> list[UUID]:
    """Return the deliveries of an event."""
    query = EventLogMatch.select().where(EventLogMatch.event_log == event)
    return [found.uuid for found in query.order_by(EventLogMatch.uuid)]


def tallies() -> Tallies:
    """Return where the functions of the store count what they do."""
    return DB.handle().tallies


def uuids_of(found: Sequence[Any]) -> set[UUID]:
    """Return the ids of events, deliveries or rows."""
    return {each.uuid for each in found}


def claim_events(limit: int = 1000) -> list[Event]:
    """Claim events to dispatch them."""
    return events.claim_events(limit, 2**20, LEASE)


def claim_suspect(uuid: UUID, max_lease: float = 10 * LEASE) -> list[Event]:
    """Claim one event to dispatch it."""
    return events.claim_suspect(uuid, LEASE, max_lease)


def release_or_probe(subscription: UUID, settings: Settings) -> None:
    """Release or probe what is held and due for a subscription, as the sweep does."""
    holding.release_or_probe(subscription, settings.holding.release_batch, settings.recovery)
