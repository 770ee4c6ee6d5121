"""The bounds on what is held or not fetched: beyond them, the oldest deliveries are given up."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import peewee

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import State
from pacifica.notifications.metrics import DELIVERIES_FINISHED
from pacifica.notifications.orm import DB, EventLogMatch, reading, writing
from pacifica.notifications.store.rowlocks import lock_deliveries

#: What counts against the bounds on holding.
KEPT_STATES = (State.HELD, State.AVAILABLE)
# Others wait no longer than it takes to expire so many.
_ROWS_PER_TRANSACTION = 1000


def expire(max_held: int, max_age: float) -> int:
    """Give up what is kept for more than `max_age` seconds, and the oldest beyond `max_held`.

    `max_held` is for each subscription. What somebody has fetched stays until its lock runs out.
    Returns how many deliveries expired; they stay on record.
    """
    expired = 0
    while batch := _expire(_too_old(max_age)):
        expired += batch
    for subscription, held in _too_many(max_held):
        for start in range(0, held - max_held, _ROWS_PER_TRANSACTION):
            limit = min(held - max_held - start, _ROWS_PER_TRANSACTION)
            expired += _expire(_oldest_held(subscription, limit))
    return expired


@reading
def _too_old(max_age: float) -> list[UUID]:
    rows = EventLogMatch.select(EventLogMatch.uuid).where(
        _is_kept(),
        EventLogMatch.created < utcnow() - timedelta(seconds=max_age),
    )
    return [row.uuid for row in rows.limit(_ROWS_PER_TRANSACTION)]


@reading
def _too_many(max_held: int) -> list[tuple[UUID, int]]:
    held = peewee.fn.COUNT(EventLogMatch.uuid)
    rows = (
        EventLogMatch.select(EventLogMatch.event_match, held.alias("held"))
        .where(EventLogMatch.state.in_(KEPT_STATES))
        .group_by(EventLogMatch.event_match)
        .having(held > max_held)
    )
    counted: Any = rows.tuples()
    return list(counted)


@reading
def _oldest_held(subscription: UUID, limit: int) -> list[UUID]:
    rows = EventLogMatch.select(EventLogMatch.uuid).where(
        EventLogMatch.event_match == subscription, _is_kept()
    )
    return [row.uuid for row in rows.order_by(EventLogMatch.created).limit(limit)]


@writing
def _expire(uuids: Sequence[UUID]) -> int:
    if not uuids:
        return 0
    lock_deliveries(uuids)
    expired = (
        EventLogMatch.update(state=State.EXPIRED, due=None, leased=None, updated=utcnow())
        .where(EventLogMatch.uuid.in_(uuids), _is_kept())
        .execute()
    )
    DB.handle().tallies.add(DELIVERIES_FINISHED, expired, "expired")
    return expired


def _is_kept() -> Any:
    """Return the condition for a delivery that is held, or that nobody has fetched."""
    is_free = EventLogMatch.leased.is_null() | (EventLogMatch.leased <= utcnow())
    is_available = (EventLogMatch.state == State.AVAILABLE) & is_free
    return EventLogMatch.state.in_(KEPT_STATES) & (
        (EventLogMatch.state == State.HELD) | is_available
    )
