"""Events that are matched later with some subscriptions: in their user's turn, or once enabled."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import peewee

from pacifica.notifications.clock import utcnow
from pacifica.notifications.events import Event
from pacifica.notifications.flow import Deferral, State
from pacifica.notifications.metrics import DELIVERIES_FINISHED
from pacifica.notifications.orm import (
    DB,
    DeferredMatch,
    EventLogMatch,
    insert_rows,
    reading,
    writing,
)
from pacifica.notifications.store.claims import claim
from pacifica.notifications.store.deliveries import matched_row
from pacifica.notifications.store.events import events_by_uuid
from pacifica.notifications.store.revisions import as_matched

# Of one user, so many events may wait for an owner; beyond, the oldest are forgotten.
MAX_PARKED = 100_000
_ROWS_PER_EXPIRY = 1000


@dataclass(frozen=True)
class ClaimedDeferral:
    """An event that the caller matches with some subscriptions until `leased`.

    `since` is how long it has waited for that.
    """

    uuid: UUID
    event: UUID
    subscriptions: tuple[UUID, ...]
    since: datetime
    leased: datetime


@dataclass(frozen=True)
class DeferredResult:
    """What an event was found to match, or is given up for, with the reason.

    It is still to be matched with `remaining`, and with `parked` once their owner enables them.
    """

    matched: Sequence[UUID] = ()
    given_up: Sequence[tuple[UUID, str]] = ()
    parked: Sequence[UUID] = ()
    remaining: Sequence[UUID] = ()


def insert_deferred(deferred: Collection[tuple[UUID, Deferral]], now: datetime) -> None:
    """Store what events are to be matched with later; part of the caller's transaction."""
    rows = [
        _row(event, each.user, each.subscriptions, None if each.parked else now, now)
        for event, each in deferred
    ]
    insert_rows(DeferredMatch, rows)


@reading
def users_with_deferred() -> list[str]:
    """Return the users for whom events are due to be matched."""
    query = DeferredMatch.select(DeferredMatch.user).where(DeferredMatch.due <= utcnow())
    rows: Any = query.distinct().tuples()
    return [user for (user,) in rows]


@writing
def claim_deferred(user: str, lease: float) -> ClaimedDeferral | None:
    """Claim the event that has waited longest to be matched for a user, for `lease` seconds."""
    now = utcnow()
    columns = (
        DeferredMatch.uuid,
        DeferredMatch.event,
        DeferredMatch.subscriptions,
        DeferredMatch.since,
    )
    rows = claim(
        DeferredMatch,
        DeferredMatch.user == user,
        columns=columns,
        now=now,
        lease=lease,
        order=DeferredMatch.since,
        limit=1,
        also={},
    )
    for uuid, event, subscriptions, since in rows:
        listed = tuple(UUID(each) for each in subscriptions.split())
        return ClaimedDeferral(uuid, event, listed, since, now + timedelta(seconds=lease))
    return None


def event_of(deferral: ClaimedDeferral) -> Event | None:
    """Return the event; None if it was purged."""
    return events_by_uuid([deferral.event]).get(deferral.event)


@writing
def record_deferred(deferral: ClaimedDeferral, result: DeferredResult) -> None:
    """Store what an event was found to match, and that it waits for the rest.

    Nothing is stored if somebody else has claimed it since.
    """
    now = utcnow()
    is_ours = (DeferredMatch.uuid == deferral.uuid, DeferredMatch.due == deferral.leased)
    user = DeferredMatch.get_or_none(*is_ours)
    if user is None or not DeferredMatch.delete().where(*is_ours).execute():
        return
    rows = [matched_row(uuid4(), deferral.event, each, now) for each in result.matched]
    rows += [
        matched_row(uuid4(), deferral.event, each, now)
        | {"state": State.FAILED, "due": None, "target_resp_body": reason}
        for each, reason in result.given_up
    ]
    insert_rows(EventLogMatch, rows)
    DB.handle().tallies.add(DELIVERIES_FINISHED, len(result.given_up), "failed")
    waiting = []
    if result.remaining:
        waiting.append(_row(deferral.event, user.user, result.remaining, now, deferral.since))
    if result.parked:
        waiting.append(_row(deferral.event, user.user, result.parked, None, now))
    insert_rows(DeferredMatch, waiting)


@writing
def release_parked(user: str) -> None:
    """Have the events matched that wait for subscriptions of a user, of which some are enabled."""
    now = utcnow()
    DeferredMatch.update(due=now, since=now).where(
        DeferredMatch.user == user, DeferredMatch.due.is_null()
    ).execute()


def release_if_enabled(user: str, subscriptions: Collection[UUID]) -> None:
    """Do as `release_parked` if one of a user's subscriptions was enabled meanwhile."""
    stored = as_matched(subscriptions).values()
    if any(each.jsonpath is not None and not each.unmatched for each in stored):
        release_parked(user)


def expire_parked(max_age: float) -> int:
    """Forget what has waited for an owner for more than `max_age` seconds, or with too many others.

    Returns how many events are no longer matched.
    """
    too_old = DeferredMatch.since < utcnow() - timedelta(seconds=max_age)
    expired = 0
    while forgotten := _forget(too_old, _ROWS_PER_EXPIRY):
        expired += forgotten
    for user, parked in _too_many():
        for start in range(0, parked - MAX_PARKED, _ROWS_PER_EXPIRY):
            limit = min(parked - MAX_PARKED - start, _ROWS_PER_EXPIRY)
            expired += _forget(DeferredMatch.user == user, limit)
    return expired


@reading
def _too_many() -> list[tuple[str, int]]:
    parked = peewee.fn.COUNT(DeferredMatch.uuid)
    rows: Any = (
        DeferredMatch.select(DeferredMatch.user, parked)
        .where(DeferredMatch.due.is_null())
        .group_by(DeferredMatch.user)
        .having(parked > MAX_PARKED)
        .tuples()
    )
    return list(rows)


@writing
def _forget(condition: Any, limit: int) -> int:
    rows = DeferredMatch.select(DeferredMatch.uuid).where(DeferredMatch.due.is_null(), condition)
    oldest = [row.uuid for row in rows.order_by(DeferredMatch.since).limit(limit)]
    if not oldest:
        return 0
    return DeferredMatch.delete().where(DeferredMatch.uuid.in_(oldest)).execute()


def _row(
    event: UUID, user: str, subscriptions: Sequence[UUID], due: datetime | None, since: datetime
) -> dict[str, Any]:
    return {
        "uuid": uuid4(),
        "event": event,
        "user": user,
        "subscriptions": " ".join(each.hex for each in subscriptions),
        "due": due,
        "since": since,
    }
