"""The log of events: recording, claiming for dispatch, showing and purging."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any
from uuid import UUID

import peewee

from pacifica.notifications.clock import utcnow
from pacifica.notifications.events import Event, EventSummary
from pacifica.notifications.flow import Deferral, Settlement
from pacifica.notifications.metrics import EVENTS_RECEIVED, LEASES_EXPIRED
from pacifica.notifications.orm import (
    DB,
    DeferredMatch,
    EventLog,
    EventLogMatch,
    EventMatch,
    insert_rows,
    reading,
    single_statement,
    writing,
)
from pacifica.notifications.settlement import is_awaited
from pacifica.notifications.store.attempts import delete_deliveries
from pacifica.notifications.store.claims import claim
from pacifica.notifications.store.rowlocks import lock_deliveries, one_of

_EVENTS_PER_PURGE = 500
# A server limits the size of one statement.
_BYTES_PER_STATEMENT = 2**17
# The same as `claim`, which takes four statements: events that come one by one are claimed often.
_CLAIM_IN_ONE_STATEMENT = """
    WITH found AS (
        SELECT uuid, due, octet_length(jsondata) AS size FROM eventlog
        WHERE due <= %s AND attempts < %s ORDER BY due LIMIT %s FOR UPDATE SKIP LOCKED
    ), fitting AS (
        SELECT uuid, row_number() OVER queue AS place, sum(size) OVER queue AS total
        FROM found WINDOW queue AS (ORDER BY due, uuid)
    )
    UPDATE eventlog SET due = %s, attempts = attempts + 1 FROM fitting
    WHERE eventlog.uuid = fitting.uuid AND (place = 1 OR total <= %s)
    RETURNING place, attempts, eventlog.uuid, jsondata, hops, specversion, created, owner
"""
_SETTLED: dict[str, Any] = {"settlement": None, "settle_due": None}
# One unfinished attempt says nothing of an event: any worker may be stopped or killed.
_SUSPECT_ATTEMPTS = 2


@single_statement
def record_all(events: Sequence[Event], settle_after: float | None = None) -> None:
    """Store events, due to be dispatched at once; all are on disk when this returns.

    With `settle_after`, those of Metadata wait for it instead. It is first asked about them after
    so many seconds.
    """
    now = utcnow()
    rows = [_row(event, event.summary, now) for event in events]
    if settle_after is not None:
        due = now + timedelta(seconds=settle_after)
        rows = [
            _settling(row, due) if is_awaited(row["event_type"]) else row | _SETTLED for row in rows
        ]
    insert_rows(EventLog, rows, unless_stored=True)
    DB.handle().tallies.add(EVENTS_RECEIVED, len(events))


def _row(event: Event, about: EventSummary, now: datetime) -> dict[str, Any]:
    return {
        "uuid": event.uuid,
        "jsondata": event.text,
        "created": now,
        "due": now,
        "attempts": 0,
        "hops": event.hops,
        "specversion": event.version,
        "event_type": about.type,
        "event_source": about.source,
        "event_id": about.id,
        "event_time": about.time,
        "transaction_id": about.transaction,
    }


def _settling(row: dict[str, Any], due: datetime) -> dict[str, Any]:
    return {**row, "due": None, "settlement": Settlement.SETTLING, "settle_due": due}


@writing
def record_batch(events: Sequence[Event], settle_after: float | None = None) -> None:
    """Store events as `record_all` does, all of them or none, whatever their number and size."""
    group: list[Event] = []
    size = 0
    for event in events:
        size += len(event.text)
        if group and size > _BYTES_PER_STATEMENT:
            record_all(group, settle_after)
            group, size = [], len(event.text)
        group.append(event)
    record_all(group, settle_after)


@reading
def due_events(limit: int) -> list[UUID]:
    """Return events that wait to be dispatched, longest waiting first."""
    return _due(EventLog.attempts < _SUSPECT_ATTEMPTS, limit)


@reading
def suspect_events(limit: int) -> list[UUID]:
    """Return events whose dispatch was begun more than once and not finished, first due first.

    One of them may be what kills the workers, so that they are best claimed one at a time.
    """
    return _due(EventLog.attempts >= _SUSPECT_ATTEMPTS, limit)


def _due(condition: Any, limit: int) -> list[UUID]:
    rows = EventLog.select(EventLog.uuid).where(EventLog.due <= utcnow(), condition)
    return [row.uuid for row in rows.order_by(EventLog.due).limit(limit)]


def claim_events(limit: int, max_bytes: int, lease: float) -> list[Event]:
    """Claim events that wait to be dispatched, longest waiting first, for `lease` seconds.

    All of them together have up to `max_bytes`; one event alone may have more.
    """
    if isinstance(DB.bound(), peewee.PostgresqlDatabase):
        return _claim_in_one_statement(limit, max_bytes, lease)
    return _claim_in_steps(limit, max_bytes, lease)


@writing
def _claim_in_one_statement(limit: int, max_bytes: int, lease: float) -> list[Event]:
    now = utcnow()
    leased = now + timedelta(seconds=lease)
    values = (now, _SUSPECT_ATTEMPTS, limit, leased, max_bytes)
    rows = sorted(DB.execute_sql(_CLAIM_IN_ONE_STATEMENT, values).fetchall(), key=_place)
    _count_expired(attempts - 1 for _place, attempts, *_ in rows)
    return [Event(*columns) for _place, _attempts, *columns in rows]


def _place(row: Sequence[Any]) -> int:
    return row[0]


@writing
def _claim_in_steps(limit: int, max_bytes: int, lease: float) -> list[Event]:

    def count_fitting(rows: Sequence[Any]) -> int:
        totals = accumulate(size for *_, size in rows)
        return max(sum(total <= max_bytes for total in totals), 1)

    return _claim(EventLog.attempts < _SUSPECT_ATTEMPTS, limit, lease, count_fitting)


@writing
def claim_suspect(uuid: UUID, lease: float, max_lease: float) -> list[Event]:
    """Claim one event, if it waits to be dispatched.

    The lease doubles with each time that it was claimed before, up to `max_lease` seconds.
    """
    query: Any = EventLog.select(EventLog.attempts).where(EventLog.uuid == uuid).tuples()
    attempts = next((attempts for (attempts,) in query), 0)
    doubled = min(lease * 2 ** min(attempts, 16), max(lease, max_lease))
    return _claim(EventLog.uuid == uuid, 1, doubled, len)


def _claim(
    condition: Any, limit: int, lease: float, count_fitting: Callable[[Sequence[Any]], int]
) -> list[Event]:
    rows = claim(
        EventLog,
        condition,
        columns=(EventLog.uuid, EventLog.attempts, text_size(EventLog.jsondata)),
        now=utcnow(),
        lease=lease,
        order=EventLog.due,
        limit=limit,
        also={EventLog.attempts: EventLog.attempts + 1},
        count_fitting=count_fitting,
    )
    _count_expired(attempts for _uuid, attempts, _bytes in rows)
    uuids = [uuid for uuid, *_ in rows]
    events = events_by_uuid(uuids)
    return [events[uuid] for uuid in uuids]


@reading
def events_by_uuid(uuids: Collection[UUID]) -> dict[UUID, Event]:
    """Return those of the events that are on record, by their ids."""
    columns = (
        EventLog.uuid,
        EventLog.jsondata,
        EventLog.hops,
        EventLog.specversion,
        EventLog.created,
        EventLog.owner,
    )
    rows: Any = EventLog.select(*columns).where(one_of(EventLog.uuid, uuids)).tuples()
    return {uuid: Event(uuid, *others) for uuid, *others in rows}


@reading
def sizes_of(uuids: Collection[UUID]) -> dict[UUID, int]:
    """Return how many bytes those of the events have that are on record, by their ids."""
    rows: Any = EventLog.select(EventLog.uuid, text_size(EventLog.jsondata))
    return dict(rows.where(one_of(EventLog.uuid, uuids)).tuples())


def _count_expired(earlier_attempts: Iterable[int]) -> None:
    """Count the events whose dispatch was begun before and not ended."""
    DB.handle().tallies.add(LEASES_EXPIRED, sum(map(bool, earlier_attempts)), "event")


def text_size(column: Any) -> Any:
    """Return the number of bytes without reading them, where the engine can; the text is ASCII."""
    sqlite = isinstance(DB.bound(), peewee.SqliteDatabase)
    length: Any = peewee.fn.LENGTH if sqlite else peewee.fn.OCTET_LENGTH
    return length(column).coerce(False)  # otherwise peewee makes text of it, as of the column


@writing
def unclaim_events(uuids: Collection[UUID]) -> None:
    """Make events due again that were claimed and not looked at; they keep their place."""
    EventLog.update(due=EventLog.created, attempts=EventLog.attempts - 1).where(
        EventLog.uuid.in_(uuids), EventLog.due.is_null(False)
    ).execute()


@writing
def release_events(uuids: Collection[UUID]) -> None:
    """Make claimed events due again at once whose dispatch failed; others stay as they are."""
    EventLog.update(due=utcnow()).where(
        EventLog.uuid.in_(list(uuids)), EventLog.due.is_null(False)
    ).execute()


@dataclass(frozen=True)
class LoggedMatch:
    """A match as it is on record: its subscription, its state, and what was answered."""

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
    """An event as it is on record: its matches, oldest first, and what it is matched with later."""

    uuid: UUID
    text: str
    created: datetime
    dispatched: bool
    settlement: Settlement | None
    settle_due: datetime | None
    matches: tuple[LoggedMatch, ...]
    deferrals: tuple[Deferral, ...] = ()


@reading
def logged(
    uuids: Collection[UUID], *, start: datetime | None, end: datetime | None, limit: int
) -> list[LoggedEvent]:
    """Return up to `limit` events, newest first: those of the ids, or all, of a period."""
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
        LoggedEvent(
            row.uuid,
            row.jsondata,
            row.created,
            row.due is None and row.settle_due is None and row.settlement != Settlement.EXPIRED,
            None if row.settlement is None else Settlement(row.settlement),
            row.settle_due,
            _matches_of(row.uuid),
            _deferrals_of(row.uuid),
        )
        for row in rows
    ]


@reading
def unknown(uuids: Collection[UUID]) -> list[UUID]:
    """Return those of the ids that no event on record has."""
    recorded = set(_recorded(uuids))
    return [uuid for uuid in uuids if uuid not in recorded]


def purge(uuids: Collection[UUID], older_than: datetime | None) -> int:
    """Delete events with their matches and return how many: of those ids, older than that date.

    It is done in batches, so that no statement takes long and workers can work in between.
    """
    purged = 0
    while True:
        found, deleted = _purge_batch(uuids, older_than)
        if not found:
            return purged
        purged += deleted


@writing
def _purge_batch(uuids: Collection[UUID], older_than: datetime | None) -> tuple[int, int]:
    """Return how many events were found, and how many of these were not deleted by others."""
    conditions = [
        *([EventLog.uuid.in_(uuids)] if uuids else []),
        *([EventLog.created < older_than] if older_than else []),
    ]
    query = EventLog.select(EventLog.uuid).where(*conditions).limit(_EVENTS_PER_PURGE)
    old = [row.uuid for row in query]
    if not old:
        return 0, 0
    these = EventLog.uuid.in_(old)
    if DB.for_update:  # a worker that dispatches one of them must not add matches in between
        list(EventLog.select(EventLog.uuid).where(these).order_by(EventLog.uuid).for_update())
    rows = EventLogMatch.select(EventLogMatch.uuid).where(EventLogMatch.event_log.in_(old))
    delete_deliveries(lock_deliveries(row.uuid for row in rows))
    DeferredMatch.delete().where(DeferredMatch.event.in_(old)).execute()
    return len(old), int(EventLog.delete().where(these).execute())


@writing
def dispatch_again(uuids: Collection[UUID]) -> list[UUID]:
    """Make events due to be dispatched once more; return those that are on record.

    Those that wait for Metadata, or waited in vain, are dispatched nevertheless.
    """
    recorded, now = _recorded(uuids), utcnow()
    these = EventLog.uuid.in_(recorded)
    EventLog.update(due=now, attempts=0).where(these).execute()
    EventLog.update(settlement=Settlement.RETRIED, settle_due=None, settled=now).where(
        these, EventLog.settlement.is_null(False), EventLog.settled.is_null()
    ).execute()
    return recorded


def _recorded(uuids: Collection[UUID]) -> list[UUID]:
    return [row.uuid for row in EventLog.select(EventLog.uuid).where(EventLog.uuid.in_(uuids))]


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


def _deferrals_of(event: UUID) -> tuple[Deferral, ...]:
    rows = DeferredMatch.select().where(DeferredMatch.event == event)
    return tuple(
        Deferral(row.user, tuple(map(UUID, row.subscriptions.split())), parked=row.due is None)
        for row in rows.order_by(DeferredMatch.user, DeferredMatch.uuid)
    )
