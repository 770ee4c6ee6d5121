"""From matched events to deliveries on record: whom they go to, and what Policy said of it."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import Delivery, Matched, Ruling, State
from pacifica.notifications.orm.bulk import insert_rows
from pacifica.notifications.orm.models import DB, EventLog, EventLogMatch
from pacifica.notifications.orm.transaction import writing
from pacifica.notifications.store.deliveries import record_rulings
from pacifica.notifications.store.holding import hold_for_disabled
from pacifica.notifications.store.revisions import current_revision
from pacifica.notifications.store.serving import KnownSubscriptions, Taken, disable_broken, served


@dataclass(frozen=True)
class Intended:
    """Deliveries that are not on record yet, with their subscriptions as of a revision.

    `idle` are events and subscriptions that are disabled: nobody is asked about them.
    """

    revision: int
    deliveries: list[Delivery]
    idle: list[tuple[UUID, UUID]]


@dataclass(frozen=True)
class Dispatched:
    """What may be sent: deliveries that the caller has taken, and ids of others that are due."""

    taken: list[Delivery]
    left: list[UUID]


def intended(matched: Sequence[Matched], revision: int, known: KnownSubscriptions) -> Intended:
    """Return the deliveries that matched events lead to, without those of deleted subscriptions.

    `revision` is one that was current when the events were matched, or later.
    """
    subscriptions = known.at(revision, {uuid for each in matched for uuid in each.subscriptions})
    deliveries, idle = [], []
    for each in matched:
        for uuid in each.subscriptions:
            subscription = subscriptions.get(uuid)
            if subscription is None or subscription.deleted:
                continue
            if subscription.value is None or subscription.disabled:
                idle.append((each.event.uuid, uuid))
            else:
                deliveries.append(Delivery(uuid4(), each.event.uuid, 1, subscription.value))
    for uuid in {uuid for _event, uuid in idle if subscriptions[uuid].value is None}:
        disable_broken(uuid)
    return Intended(revision, deliveries, idle)


def record_dispatched(
    events: Collection[UUID],
    intent: Intended,
    rulings: Sequence[Ruling],
    *,
    lease: float,
    most: int,
) -> Dispatched:
    """Record what events led to, which ends their dispatch.

    `rulings` are on the intended deliveries of these events. Of those allowed, `most` are the
    caller's for `lease` seconds. An event whose dispatch somebody else ended stays as it is.
    """
    dispatched, ended = _record(events, intent.idle, rulings, lease, most)
    held = [ruling for ruling in rulings if ruling.state is State.HELD]
    record_rulings([ruling for ruling in held if ruling.deliveries[0].event in ended])
    idle = {subscription for event, subscription in intent.idle if event in ended}
    if idle:
        hold_for_disabled(idle)
    if current_revision() == intent.revision:
        return dispatched
    return Dispatched(_still_served(dispatched.taken), dispatched.left)


@writing
def _record(
    events: Collection[UUID],
    idle: Iterable[tuple[UUID, UUID]],
    rulings: Iterable[Ruling],
    lease: float,
    most: int,
) -> tuple[Dispatched, set[UUID]]:
    """Return what may be sent, and the events whose dispatch this ended."""
    open_ = _end_dispatch(events)
    now = utcnow()
    leased = now + timedelta(seconds=lease)
    taken: list[Delivery] = []
    left: list[UUID] = []
    rows = []
    for ruling in rulings:
        for delivery in ruling.deliveries:
            if delivery.event not in open_:
                continue
            is_taken = ruling.state is State.ALLOWED and len(taken) < most
            if is_taken:
                taken.append(replace(delivery, leased=leased))
            elif ruling.state is State.ALLOWED:
                left.append(delivery.uuid)
            rows.append(_ruled(delivery, ruling, now, leased if is_taken else None))
    rows += [_matched(uuid4(), event, uuid, now) for event, uuid in idle if event in open_]
    insert_rows(EventLogMatch, rows)
    return Dispatched(taken, left), open_


def _ruled(
    delivery: Delivery, ruling: Ruling, now: datetime, leased: datetime | None
) -> dict[str, Any]:
    """Return the row of a delivery; one that is to be held waits for that, as if just matched."""
    row = _matched(delivery.uuid, delivery.event, delivery.subscription.uuid, now)
    row |= {"policy_status_code": ruling.status, "policy_resp_body": ruling.body}
    if ruling.state is State.HELD:
        return row
    row |= {"state": ruling.state, "due": ruling.due}
    if ruling.state is State.MATCHED:
        row |= {"attempts": delivery.attempts, "failing": now}
    elif leased is not None:
        row |= {"attempts": delivery.attempts, "due": leased, "leased": leased}
    return row


def _matched(uuid: UUID, event: UUID, subscription: UUID, now: datetime) -> dict[str, Any]:
    return {
        "uuid": uuid,
        "event_log": event,
        "event_match": subscription,
        "state": State.MATCHED,
        "due": now,
        "leased": None,
        "attempts": 0,
        "failing": None,
        "policy_status_code": "",
        "policy_resp_body": "",
        "target_status_code": "",
        "target_resp_body": "",
        "created": now,
        "updated": now,
    }


def _end_dispatch(events: Collection[UUID]) -> set[UUID]:
    """End the dispatch of events; returns those whose dispatch had not ended before."""
    these = EventLog.uuid.in_(list(events)), EventLog.due.is_null(False)
    if DB.returning_clause:
        ended: Any = EventLog.update(due=None).where(*these).returning(EventLog.uuid).tuples()
        return {uuid for (uuid,) in ended.execute()}
    query = EventLog.select(EventLog.uuid).where(*these)
    if DB.for_update:
        query = query.for_update()
    open_ = {row.uuid for row in query}
    if open_:
        EventLog.update(due=None).where(*these).execute()
    return open_


def _still_served(taken: Sequence[Delivery]) -> list[Delivery]:
    """Look once more at subscriptions, some of which were changed while Policy was asked."""
    if not taken:
        return []
    rows = [Taken(d.uuid, d.event, d.subscription.uuid, d.attempts, d.failing) for d in taken]
    return served(rows, taken[0].leased)
