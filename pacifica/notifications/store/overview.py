"""All subscriptions of a user at a glance: those that need their owner first, and their last day.

What Policy denied, or was not asked about, is in none of the counts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import peewee

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import State
from pacifica.notifications.orm import DB, EventLogMatch, EventMatch, reading
from pacifica.notifications.store.position import Position, newest_first

#: How many hours are counted, the present one included.
HOURS = 24
# Index entries that are counted for one page; of more deliveries in a day, only so many count.
_MAX_COUNTED = 100_000
_UNTIL_HOUR = 13  # characters of a time up to its hour
_ENDED_BADLY = (State.FAILED, State.EXPIRED)
_ALLOWED = "2%"


class Standing(StrEnum):
    """How a subscription is doing, as its owner sees it."""

    DELIVERING = "delivering"
    FAILING = "failing"  # its target fails, and is tried again by itself
    DISABLED = "disabled"  # an error disabled it, and its owner must act
    PAUSED = "paused"  # its owner disabled it


@dataclass(frozen=True)
class Hour:
    """How many events of an hour were delivered, and how many could not be."""

    start: datetime
    delivered: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Overview:
    """A subscription as its owner reads it, and how it is doing.

    `next_try` is when a failing target is tried again. `delivered` is when it was last sent an
    event. `hours` are the last ones, oldest first.
    """

    subscription: dict[str, Any]
    standing: Standing
    next_try: datetime | None
    delivered: datetime | None
    hours: tuple[Hour, ...]


@dataclass(frozen=True)
class Place:
    """The place of a subscription in the list: whether it needs its owner, and its position."""

    needs_owner: bool
    position: Position


@dataclass(frozen=True)
class OverviewPage:
    """Some subscriptions, and the place of the last; None: no others follow."""

    subscriptions: tuple[Overview, ...]
    last: Place | None


@reading
def overview_of(user: str, limit: int, after: Place | None = None) -> OverviewPage:
    """Return up to `limit` of a user's subscriptions from a place on.

    Those that an error disabled come first, then the newest.
    """
    rows = _rows(user, limit + 1, after)
    last = None
    if len(rows) > limit:
        final = rows[limit - 1]
        last = Place(final.holding, Position(final.created, final.uuid))
    # MySQL itself ignores blanks at the end of a user's name.
    shown = [row for row in rows[:limit] if row.user == user]
    uuids = [row.uuid for row in shown]
    now = utcnow()
    delivered, hours = _last_delivered(uuids), _hours(uuids, now)
    return OverviewPage(
        tuple(_overview(row, delivered.get(row.uuid), hours[row.uuid]) for row in shown), last
    )


def _rows(user: str, limit: int, after: Place | None) -> list[EventMatch]:
    rows: list[EventMatch] = []
    for needs_owner in (True, False):
        if after is not None and needs_owner > after.needs_owner:
            continue
        position = after.position if after and after.needs_owner == needs_owner else None
        query = EventMatch.select().where(
            EventMatch.user == user,
            EventMatch.deleted.is_null(),
            EventMatch.holding == needs_owner,
        )
        query = newest_first(query, EventMatch.created, EventMatch.uuid, position)
        rows.extend(query.limit(limit - len(rows)))
        if len(rows) >= limit:
            break
    return rows


def _overview(row: EventMatch, delivered: datetime | None, hours: tuple[Hour, ...]) -> Overview:
    standing = _standing(row)
    next_try = row.held_due if standing is Standing.FAILING else None
    return Overview(row.to_hash(), standing, next_try, delivered, hours)


def _standing(row: EventMatch) -> Standing:
    if row.disabled is None:
        return Standing.DELIVERING
    if not row.holding:
        return Standing.PAUSED
    return Standing.FAILING if row.probes and row.held_due else Standing.DISABLED


def _last_delivered(uuids: Sequence[UUID]) -> dict[UUID, datetime]:
    """Return when each subscription was last sent an event; reads one index entry for each."""
    each = EventLogMatch.alias()
    newest = (
        each.select(each.updated)
        .where(each.state == State.DELIVERED, each.event_match == EventMatch.uuid)
        .order_by(each.created.desc())
        .limit(1)
    )
    rows: Any = (
        EventMatch.select(EventMatch.uuid, newest).where(EventMatch.uuid.in_(uuids)).tuples()
    )
    # As a subquery's value, it is not converted by itself.
    as_time: Any = EventLogMatch.updated.python_value
    return {uuid: as_time(when) for uuid, when in rows if when}


def _hours(uuids: Sequence[UUID], now: datetime) -> dict[UUID, tuple[Hour, ...]]:
    """Return the last hours of each subscription."""
    first = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS - 1)
    starts = [first + timedelta(hours=number) for number in range(HOURS)]
    delivered = _counts(uuids, first, EventLogMatch.state == State.DELIVERED)
    failed = _counts(
        uuids,
        first,
        EventLogMatch.state.in_(_ENDED_BADLY),
        EventLogMatch.policy_status_code**_ALLOWED,
    )
    return {
        uuid: tuple(
            Hour(start, delivered.get((uuid, start), 0), failed.get((uuid, start), 0))
            for start in starts
        )
        for uuid in uuids
    }


def _counts(
    uuids: Sequence[UUID], first: datetime, *conditions: Any
) -> dict[tuple[UUID, datetime], int]:
    """Count the deliveries of each subscription and hour, in one query of a bounded size."""
    found = (
        EventLogMatch.select(EventLogMatch.event_match, EventLogMatch.created)
        .where(*conditions, EventLogMatch.event_match.in_(uuids), EventLogMatch.created >= first)
        .limit(_MAX_COUNTED)
        .alias("found")
    )
    text = "CHAR(32)" if isinstance(DB.bound(), peewee.MySQLDatabase) else "TEXT"
    hour = peewee.fn.SUBSTR(found.c.created.cast(text), 1, _UNTIL_HOUR)
    counted: Any = EventLogMatch.select(
        found.c.event_match_id, hour, peewee.fn.COUNT(found.c.created)
    )
    rows: Iterable[tuple[Any, str, int]] = (
        counted.from_(found).group_by(found.c.event_match_id, hour).tuples()
    )
    as_uuid: Any = EventLogMatch.uuid.python_value
    return {
        (as_uuid(uuid), datetime.fromisoformat(f"{hour}:00")): int(count)
        for uuid, hour, count in rows
    }
