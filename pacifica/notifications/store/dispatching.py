"""From matched events to deliveries on record, with what Policy said of them."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import Deferral, Delivery, Matched, Ruling, State
from pacifica.notifications.metrics import DELIVERIES_FINISHED
from pacifica.notifications.orm import DB, EventLog, EventLogMatch, insert_rows, writing
from pacifica.notifications.store.deferred import insert_deferred, release_if_enabled
from pacifica.notifications.store.deliveries import (
    ClaimedRow,
    deliverable,
    matched_row,
    record_rulings,
)
from pacifica.notifications.store.holding import disable_unreadable, hold_these
from pacifica.notifications.store.revisions import SubscriptionCache, current_revision


@dataclass(frozen=True)
class DispatchPlan:
    """Deliveries that are not on record yet, with their subscriptions as of a revision.

    `disabled` are deliveries to disabled subscriptions, about which Policy is not asked: for each
    its id, its event and its subscription.
    `deferred` are pairs of an event and what it is matched with later.
    """

    revision: int
    deliveries: list[Delivery]
    disabled: list[tuple[UUID, UUID, UUID]]
    deferred: list[tuple[UUID, Deferral]]


@dataclass(frozen=True)
class Dispatched:
    """What may be sent: deliveries that the caller has claimed, and ids of others that are due.

    `events` are those whose dispatch this ended.
    """

    claimed: list[Delivery]
    unclaimed: list[UUID]
    events: set[UUID]


def plan_dispatch(
    matched: Sequence[Matched], revision: int, cache: SubscriptionCache
) -> DispatchPlan:
    """Return the deliveries that matched events lead to, without those of deleted subscriptions.

    `revision` is one that was current when the events were matched, or later.
    """
    subscriptions = cache.at(revision, {uuid for each in matched for uuid in each.subscriptions})
    deliveries, disabled = [], []
    for each in matched:
        for uuid in each.subscriptions:
            subscription = subscriptions.get(uuid)
            if subscription is None or subscription.deleted:
                continue
            if subscription.value is None or subscription.disabled:
                disabled.append((uuid4(), each.event.uuid, uuid))
            else:
                deliveries.append(Delivery(uuid4(), each.event.uuid, 1, subscription.value))
    for uuid in {uuid for *_, uuid in disabled if subscriptions[uuid].value is None}:
        disable_unreadable(uuid)
    deferred = [(each.event.uuid, deferral) for each in matched for deferral in each.deferrals]
    return DispatchPlan(revision, deliveries, disabled, deferred)


def record_dispatched(
    events: Collection[UUID],
    plan: DispatchPlan,
    rulings: Sequence[Ruling],
    *,
    lease: float,
    max_claimed: int,
) -> Dispatched:
    """Record what events led to, which ends their dispatch.

    `rulings` are on the planned deliveries of these events. Of those allowed, up to `max_claimed`
    are the caller's for `lease` seconds. Nothing is recorded for an event whose dispatch somebody
    else has ended. The caller sends them, and then calls `hold_dispatched`.
    """
    dispatched = _record(events, plan, rulings, lease, max_claimed)
    if current_revision() == plan.revision:
        return dispatched
    for event, each in plan.deferred:
        if event in dispatched.events and each.parked:
            release_if_enabled(each.user, each.subscriptions)
    return replace(dispatched, claimed=_still_deliverable(dispatched.claimed))


def hold_dispatched(dispatched: Dispatched, plan: DispatchPlan, rulings: Sequence[Ruling]) -> None:
    """Hold what cannot be sent now; it may take long, and so comes after sending.

    If a worker is killed before, these deliveries are due, and are held when they are claimed.
    """
    held = [ruling for ruling in rulings if ruling.state is State.HELD]
    record_rulings([each for each in held if each.deliveries[0].event in dispatched.events])
    hold_these(
        {
            delivery: subscription
            for delivery, event, subscription in plan.disabled
            if event in dispatched.events
        }
    )


@writing
def _record(
    events: Collection[UUID],
    plan: DispatchPlan,
    rulings: Iterable[Ruling],
    lease: float,
    max_claimed: int,
) -> Dispatched:
    ended = _end_dispatch(events, plan.revision)
    now = utcnow()
    leased = now + timedelta(seconds=lease)
    claimed: list[Delivery] = []
    unclaimed: list[UUID] = []
    rows = []
    for ruling in rulings:
        for delivery in ruling.deliveries:
            if delivery.event not in ended:
                continue
            is_sent = ruling.state_of(delivery) is State.ALLOWED
            is_claimed = is_sent and len(claimed) < max_claimed
            if is_claimed:
                claimed.append(replace(delivery, leased=leased))
            elif is_sent:
                unclaimed.append(delivery.uuid)
            rows.append(_ruled_row(delivery, ruling, now, leased if is_claimed else None))
    rows += [
        matched_row(delivery, event, subscription, now)
        for delivery, event, subscription in plan.disabled
        if event in ended
    ]
    insert_rows(EventLogMatch, rows)
    denied = sum(row["state"] is State.DENIED for row in rows)
    DB.handle().tallies.add(DELIVERIES_FINISHED, denied, "denied")
    insert_deferred([each for each in plan.deferred if each[0] in ended], now)
    return Dispatched(claimed, unclaimed, ended)


def _ruled_row(
    delivery: Delivery, ruling: Ruling, now: datetime, leased: datetime | None
) -> dict[str, Any]:
    """Return the row of a delivery; one that is to be held is stored as if just matched."""
    row = matched_row(delivery.uuid, delivery.event, delivery.subscription.uuid, now)
    row |= {"policy_status_code": ruling.status, "policy_resp_body": ruling.body}
    if ruling.state is State.HELD:
        return row
    row |= {"state": ruling.state_of(delivery), "due": ruling.due_of(delivery)}
    if ruling.state is State.MATCHED:
        row |= {"attempts": delivery.attempts, "failing": now}
    elif leased is not None:
        row |= {"attempts": delivery.attempts, "due": leased, "leased": leased}
    return row


def _end_dispatch(events: Collection[UUID], revision: int) -> set[UUID]:
    """End the dispatch of events, which were matched with a revision of the subscriptions.

    Returns those whose dispatch had not ended before.
    """
    these = EventLog.uuid.in_(list(events)), EventLog.due.is_null(False)
    if DB.returning_clause:
        update = EventLog.update(due=None, revision=revision).where(*these)
        ended: Any = update.returning(EventLog.uuid).tuples()
        return {uuid for (uuid,) in ended.execute()}
    query = EventLog.select(EventLog.uuid).where(*these)
    found = {row.uuid for row in (query.for_update() if DB.for_update else query)}
    if found:
        EventLog.update(due=None, revision=revision).where(*these).execute()
    return found


def _still_deliverable(claimed: Sequence[Delivery]) -> list[Delivery]:
    """Look once more at subscriptions, some of which were changed while Policy was asked."""
    if not claimed:
        return []
    rows = [
        ClaimedRow(each.uuid, each.event, each.subscription.uuid, each.attempts, each.failing)
        for each in claimed
    ]
    return deliverable(rows, claimed[0].leased)
