"""Deleting old events with their deliveries, a few at a time, and none that is unfinished.

An event is finished when it has been dispatched or never will be, none of its deliveries waits or
is held, and it is not to be matched with anything later.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Any
from uuid import UUID

import peewee

from pacifica.notifications.flow import State
from pacifica.notifications.metrics import EVENTS_PURGED
from pacifica.notifications.orm import DB, DeferredMatch, EventLog, EventLogMatch, reading, writing
from pacifica.notifications.store.attempts import delete_deliveries
from pacifica.notifications.store.position import Position
from pacifica.notifications.store.rowlocks import lock_deliveries

_WAITING = (State.MATCHED, State.ALLOWED, State.COLLECTED, State.AVAILABLE, State.HELD)
# How many events, and how many deliveries, one transaction looks at and deletes.
_EVENTS, _DELIVERIES = 200, 2000


_START = Position(datetime(1, 1, 1), UUID(int=0))


@dataclass(frozen=True)
class Purged:
    """How many events were deleted, and how many were kept because they are unfinished.

    `last` is where the next batch begins; None if this was the last one.
    """

    deleted: int = 0
    kept: int = 0
    last: Position | None = None


@dataclass(frozen=True)
class _Candidate:
    place: Position
    deliveries: int
    is_finished: bool


def purge_finished(
    uuids: Collection[UUID],
    older_than: datetime | None,
    *,
    dry_run: bool = False,
    report: Callable[[int], None] = lambda _count: None,
) -> Purged:
    """Delete the finished ones of those ids, or of all events, that are older than a date.

    With `dry_run`, only count them. Calls `report` with how many events were looked at so far.
    """
    deleted = kept = 0
    batch = purge_batch(older_than, None, uuids=uuids, dry_run=dry_run)
    while True:
        deleted, kept = deleted + batch.deleted, kept + batch.kept
        report(deleted + kept)
        if batch.last is None:
            return Purged(deleted, kept)
        batch = purge_batch(older_than, batch.last, uuids=uuids, dry_run=dry_run)


def purge_batch(
    older_than: datetime | None,
    after: Position | None,
    *,
    uuids: Collection[UUID] = (),
    dry_run: bool = False,
) -> Purged:
    """Delete some finished events behind a position, oldest first, in one short transaction.

    Of an event with very many deliveries, only some of these may be deleted.
    """
    if dry_run:
        return _look(older_than, after, uuids)
    return _purge(older_than, after, uuids)


@reading
def _look(older_than: datetime | None, after: Position | None, uuids: Collection[UUID]) -> Purged:
    found = _candidates(older_than, after, uuids, lock=False)
    finished = sum(each.is_finished for each in found)
    last = found[-1].place if len(found) == _EVENTS else None
    return Purged(finished, len(found) - finished, last)


@writing
def _purge(older_than: datetime | None, after: Position | None, uuids: Collection[UUID]) -> Purged:
    found = _candidates(older_than, after, uuids, lock=True)
    totals = accumulate(each.deliveries if each.is_finished else 0 for each in found)
    fitting = found[: sum(total <= _DELIVERIES for total in totals)]
    if found and not fitting:
        _delete_some_deliveries(found[0].place.uuid)
        return Purged(last=after or _START)
    deleted = _delete([each.place.uuid for each in fitting if each.is_finished])
    is_last = len(found) < _EVENTS and len(fitting) == len(found)
    last = None if is_last else fitting[-1].place
    return Purged(deleted, len(fitting) - deleted, last)


def _delete(events: Collection[UUID]) -> int:
    """Delete locked events, without those of which a delivery is sent again since; return how many.

    Nobody adds a delivery to them: all are locked that there are.
    """
    if not events:
        return 0
    columns = EventLogMatch.uuid, EventLogMatch.event_log
    of_events = EventLogMatch.event_log.in_(events)
    rows: Any = list(EventLogMatch.select(*columns).where(of_events).tuples())
    states = lock_deliveries(uuid for uuid, _event in rows)
    resumed = {event for uuid, event in rows if states.get(uuid) in _WAITING}
    delete_deliveries([uuid for uuid, event in rows if event not in resumed])
    finished = [event for event in events if event not in resumed]
    EventLog.delete().where(EventLog.uuid.in_(finished)).execute()
    DB.handle().tallies.add(EVENTS_PURGED, len(finished))
    return len(finished)


def _candidates(
    older_than: datetime | None, after: Position | None, uuids: Collection[UUID], *, lock: bool
) -> Sequence[_Candidate]:
    """Return the next events; with `lock`, without those that a worker has locked.

    While they are locked, nobody adds a delivery to them or dispatches them again.
    """
    columns = EventLog.created, EventLog.uuid, EventLog.due, EventLog.settle_due
    query = EventLog.select(*columns)
    if uuids:
        query = query.where(EventLog.uuid.in_(uuids))
    if older_than is not None:
        query = query.where(EventLog.created < older_than)
    if after is not None:
        # The first condition is for the index; databases do not all see it in the second one.
        query = query.where(
            EventLog.created >= after.created,
            (EventLog.created > after.created) | (EventLog.uuid > after.uuid),
        )
    query = query.order_by(EventLog.created, EventLog.uuid).limit(_EVENTS)
    if lock and DB.for_update:
        query = query.for_update(skip_locked=True)
    rows: Any = list(query.tuples())
    found = [uuid for _created, uuid, *_dues in rows]
    deliveries = _deliveries(found)
    deferred = _deferred(found)
    return [
        _Candidate(
            Position(created, uuid),
            deliveries.get(uuid, (0, 0))[0],
            not any(dues) and uuid not in deferred and not deliveries.get(uuid, (0, 0))[1],
        )
        for created, uuid, *dues in rows
    ]


def _deliveries(events: Collection[UUID]) -> dict[UUID, tuple[int, int]]:
    """Return for each event how many deliveries it has, and how many of them are unfinished."""
    waits = peewee.Case(None, [(EventLogMatch.state.in_(_WAITING), 1)], 0)
    rows: Any = (
        EventLogMatch.select(
            EventLogMatch.event_log, peewee.fn.COUNT(EventLogMatch.uuid), peewee.fn.SUM(waits)
        )
        .where(EventLogMatch.event_log.in_(events))
        .group_by(EventLogMatch.event_log)
        .tuples()
    )
    return {event: (count, int(waiting)) for event, count, waiting in rows}


def _deferred(events: Collection[UUID]) -> set[UUID]:
    rows = DeferredMatch.select(DeferredMatch.event).where(DeferredMatch.event.in_(events))
    return {row.event for row in rows}


def _delete_some_deliveries(event: UUID) -> None:
    rows = EventLogMatch.select(EventLogMatch.uuid).where(EventLogMatch.event_log == event)
    some = lock_deliveries(row.uuid for row in rows.limit(_DELIVERIES))
    delete_deliveries([uuid for uuid, state in some.items() if state not in _WAITING])
