"""The log of events: recording, claiming for dispatch, showing and purging."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from pacifica.notifications.clock import utcnow
from pacifica.notifications.events import Event
from pacifica.notifications.flow import State
from pacifica.notifications.orm.models import DB, EventLog, EventLogMatch, EventMatch
from pacifica.notifications.orm.transaction import reading, writing
from pacifica.notifications.store.claims import claim

_ROWS_PER_INSERT = 100
_EVENTS_PER_PURGE = 500
# One attempt that did not end is any worker that was told to stop, or killed.
_SUSPECT = 2


@writing
def record(event: Event) -> None:
    """Store an event, due to be dispatched at once; it is on disk when this returns."""
    now = utcnow()
    EventLog.insert(
        uuid=event.uuid, jsondata=event.text, created=now, due=now, attempts=0, hops=event.hops
    ).execute()


@reading
def due_events(limit: int) -> list[UUID]:
    """Return events that wait to be dispatched, longest waiting first."""
    return _due(EventLog.attempts < _SUSPECT, limit)


@reading
def suspect_events(limit: int) -> list[UUID]:
    """Return events whose dispatch did not end more than once, longest waiting first.

    One of them may be what ends the workers: they are better taken one at a time.
    """
    return _due(EventLog.attempts >= _SUSPECT, limit)


def _due(condition: Any, limit: int) -> list[UUID]:
    rows = EventLog.select(EventLog.uuid).where(EventLog.due <= utcnow(), condition)
    return [row.uuid for row in rows.order_by(EventLog.due).limit(limit)]


@writing
def claim_events(uuids: Collection[UUID], lease: float, longest_lease: float) -> list[Event]:
    """Take those of the events that wait to be dispatched, for `lease` seconds.

    For those that were taken before it doubles each time, up to `longest_lease`.
    """
    now = utcnow()
    rows = claim(
        EventLog,
        EventLog.uuid.in_(uuids),
        now=now,
        lease=lease,
        order=EventLog.created,
        limit=len(uuids),
        also={EventLog.attempts: EventLog.attempts + 1},
    )
    for row in rows:
        if row.attempts:
            seconds = min(lease * 2 ** min(row.attempts, 16), max(lease, longest_lease))
            EventLog.update(due=now + timedelta(seconds=seconds)).where(
                EventLog.uuid == row.uuid
            ).execute()
    return [Event(row.uuid, row.jsondata, row.hops) for row in rows]


@writing
def record_matches(event: UUID, subscriptions: Sequence[UUID]) -> bool:
    """Store whom an event goes to, which ends its dispatch; False if that was done before."""
    dispatched = (
        EventLog.update(due=None)
        .where(EventLog.uuid == event, EventLog.due.is_null(False))
        .execute()
    )
    if not dispatched:
        return False
    now = utcnow()
    rows = [
        {
            "uuid": uuid4(),
            "event_log": event,
            "event_match": subscription,
            "state": State.MATCHED,
            "due": now,
            "created": now,
            "updated": now,
        }
        for subscription in subscriptions
    ]
    for start in range(0, len(rows), _ROWS_PER_INSERT):
        EventLogMatch.insert_many(rows[start : start + _ROWS_PER_INSERT]).execute()
    return True


@dataclass(frozen=True)
class LoggedMatch:
    """A match as it is on record: who, what Policy and the target answered, and its state."""

    uuid: UUID
    subscription: UUID
    name: str
    user: str
    state: str
    policy_status: str
    policy_body: str
    target_status: str
    target_body: str


@dataclass(frozen=True)
class LoggedEvent:
    """An event as it is on record, with its matches, oldest first."""

    uuid: UUID
    text: str
    created: datetime
    dispatched: bool
    matches: tuple[LoggedMatch, ...]


@reading
def logged(
    uuids: Collection[UUID], *, start: datetime | None, end: datetime | None, limit: int
) -> list[LoggedEvent]:
    """Return events, newest first: the given ones, or all of a time, at most `limit`."""
    conditions = [
        *([EventLog.uuid.in_(uuids)] if uuids else []),
        *([EventLog.created >= start] if start else []),
        *([EventLog.created <= end] if end else []),
    ]
    query = EventLog.select()
    if conditions:
        query = query.where(*conditions)
    rows = query.order_by(EventLog.created.desc(), EventLog.uuid).limit(limit)
    return [
        LoggedEvent(row.uuid, row.jsondata, row.created, row.due is None, _matches_of(row.uuid))
        for row in rows
    ]


@reading
def unknown(uuids: Collection[UUID]) -> list[UUID]:
    """Return those of the ids that no event on record has."""
    known = {row.uuid for row in EventLog.select(EventLog.uuid).where(EventLog.uuid.in_(uuids))}
    return [uuid for uuid in uuids if uuid not in known]


def purge(uuids: Collection[UUID], older_than: datetime | None) -> int:
    """Delete events with their matches and return how many: of those ids, and older than that.

    Some at a time, so that no statement takes long and workers get their turn in between.
    """
    purged = 0
    while some := _purge_some(uuids, older_than):
        purged += some
    return purged


@writing
def _purge_some(uuids: Collection[UUID], older_than: datetime | None) -> int:
    conditions = [
        *([EventLog.uuid.in_(uuids)] if uuids else []),
        *([EventLog.created < older_than] if older_than else []),
    ]
    query = EventLog.select(EventLog.uuid).where(*conditions).limit(_EVENTS_PER_PURGE)
    if DB.for_update:  # a worker that is dispatching one of them comes before or after, not between
        query = query.for_update()
    old = [row.uuid for row in query]
    if old:
        EventLogMatch.delete().where(EventLogMatch.event_log.in_(old)).execute()
        EventLog.delete().where(EventLog.uuid.in_(old)).execute()
    return len(old)


@writing
def dispatch_again(uuids: Collection[UUID]) -> list[UUID]:
    """Make events due to be dispatched once more; return those that are on record."""
    known = [row.uuid for row in EventLog.select(EventLog.uuid).where(EventLog.uuid.in_(uuids))]
    EventLog.update(due=utcnow(), attempts=0).where(EventLog.uuid.in_(known)).execute()
    return known


def _matches_of(event: UUID) -> tuple[LoggedMatch, ...]:
    rows = (
        EventLogMatch.select(EventLogMatch, EventMatch)
        .join(EventMatch)
        .where(EventLogMatch.event_log == event)
        .order_by(EventLogMatch.created, EventLogMatch.uuid)
    )
    return tuple(
        LoggedMatch(
            row.uuid,
            row.event_match.uuid,
            row.event_match.name,
            row.event_match.user,
            row.state,
            row.policy_status_code,
            row.policy_resp_body,
            row.target_status_code,
            row.target_resp_body,
        )
        for row in rows
    )
