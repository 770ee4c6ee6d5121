"""All subscriptions of a user at a glance: those that need their owner first, and their last day.

What Policy denied, or was not asked about, is in none of the counts.
"""

from collections.abc import Sequence
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
# Of more deliveries in an hour to the subscriptions of one page, only so many count. A page that
# counts so many in each hour takes MariaDB 50 ms.
_MAX_COUNTED = 1_000
_ENDED_BADLY = (State.FAILED, State.EXPIRED)
_WAS_ALLOWED = "AND policy_status_code LIKE '2__'"
_AS_STORED: Any = EventMatch.uuid.db_value
_AS_UUID: Any = EventMatch.uuid.python_value


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
    """Some subscriptions, and the place of the last; None: no others follow.

    `all_counted` is false if there were too many deliveries in one of the hours to count them all.
    """

    subscriptions: tuple[Overview, ...]
    last: Place | None
    all_counted: bool = True


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
    counted = [sum(each.delivered for each in hour) for hour in zip(*hours.values(), strict=True)]
    return OverviewPage(
        tuple(_overview(row, delivered.get(row.uuid), hours[row.uuid]) for row in shown),
        last,
        max(counted, default=0) < _MAX_COUNTED,
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
    if not uuids:
        return {}
    newest = (
        f"SELECT updated FROM {_deliveries()} "  # noqa: S608 no value
        f"WHERE state = {DB.param} AND event_match_id = eventmatch.uuid "
        "ORDER BY created DESC LIMIT 1"
    )
    rows = DB.execute_sql(
        f"SELECT uuid, ({newest}) FROM eventmatch WHERE uuid IN ({_marks(uuids)})",  # noqa: S608
        (State.DELIVERED, *map(_AS_STORED, uuids)),
    ).fetchall()
    as_time: Any = EventLogMatch.updated.python_value
    return {_AS_UUID(uuid): as_time(when) for uuid, when in rows if when}


def _hours(uuids: Sequence[UUID], now: datetime) -> dict[UUID, tuple[Hour, ...]]:
    """Return the last hours of each subscription."""
    first = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS - 1)
    starts = [first + timedelta(hours=number) for number in range(HOURS)]
    delivered = _counts(uuids, starts, (State.DELIVERED,))
    failed = _counts(uuids, starts, _ENDED_BADLY, _WAS_ALLOWED)
    return {
        uuid: tuple(
            Hour(start, delivered.get((uuid, start), 0), failed.get((uuid, start), 0))
            for start in starts
        )
        for uuid in uuids
    }


def _counts(
    uuids: Sequence[UUID], starts: Sequence[datetime], states: Sequence[State], also: str = ""
) -> dict[tuple[UUID, datetime], int]:
    """Count the deliveries of each subscription and hour, in one query of a bounded size.

    Each hour is a range of the index, so that no engine computes the hour of a delivery.
    """
    if not uuids:
        return {}
    hours, values = [], []
    for number, start in enumerate(starts):
        hours.append(
            f"SELECT {number}, event_match_id, COUNT(*) FROM (SELECT event_match_id "  # noqa: S608 no value
            f"FROM {_deliveries()} WHERE state IN ({_marks(states)}) "
            f"AND event_match_id IN ({_marks(uuids)}) "
            f"AND created >= {DB.param} AND created < {DB.param} {also} LIMIT {_MAX_COUNTED}"
            f") found{number} GROUP BY event_match_id"
        )
        period = start, start + timedelta(hours=1)
        values += [*states, *map(_AS_STORED, uuids), *map(EventLogMatch.created.db_value, period)]
    rows = DB.execute_sql(" UNION ALL ".join(hours), values).fetchall()
    return {(_AS_UUID(uuid), starts[number]): int(count) for number, uuid, count in rows}


def _deliveries() -> str:
    """Return the table of deliveries, with the index by state, subscription and time.

    MariaDB itself would rather read all deliveries in the order of another index.
    """
    index = "eventlogmatch_state_event_match_id_created"
    return f"eventlogmatch FORCE INDEX ({index})" if _is_mysql() else "eventlogmatch"


def _marks(values: Sequence[Any]) -> str:
    return ", ".join([DB.param] * len(values))


def _is_mysql() -> bool:
    return isinstance(DB.bound(), peewee.MySQLDatabase)
