"""Finding events: by their ids and transactions, and page by page, newest first."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pacifica.notifications.events import EventSummary, summary
from pacifica.notifications.orm import EventLog, reading
from pacifica.notifications.store.history import abouts_of_old
from pacifica.notifications.store.position import Position, concealed, newest_first

#: Of the events that have one id or transaction, so many are found.
MAX_SAME: Final = 200
# Events that are looked at before Policy is asked about them, or of which few pass a filter.
_CANDIDATES = 50
_MAX_SCANNED = 1000
_LARGEST = 2**63 - 1


@dataclass(frozen=True)
class FoundEvent:
    """An event, and what it says of itself."""

    uuid: UUID
    received: datetime
    about: EventSummary

    @property
    def position(self) -> Position:
        """The place of the event in the list."""
        return Position(self.received, self.uuid)


@dataclass(frozen=True)
class EventFilter:
    """Which events are listed; None: all.

    `name` is an id of an event, or a transaction number. `start` is included and `end` is not; both
    are naive UTC.
    """

    type: str | None = None
    source: str | None = None
    name: str | None = None
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True)
class EventPage:
    """Some events, and the position behind which others may follow; None: none do."""

    events: Sequence[FoundEvent]
    last: Position | None


def page_of_events(
    wanted: EventFilter,
    limit: int,
    after: Position | None,
    shown: Callable[[Sequence[FoundEvent]], Sequence[FoundEvent]],
    may_go_on: Callable[[], bool],
) -> EventPage:
    """Return up to `limit` events, newest first, from a position on.

    `shown` returns those that the reader may see, and `may_go_on` tells whether more may be looked
    at in their place. The last position is that of an event that is shown, or a full hour, minute
    or second, so that it tells of no event that is not.
    """
    found: list[FoundEvent] = []
    newest: Position | None = None
    while True:
        candidates, after = _candidates(wanted, after)
        newest = newest or (candidates[0].position if candidates else None)
        found += shown(candidates)
        if len(found) > limit:
            return EventPage(found[:limit], found[limit - 1].position)
        if after is None:
            return EventPage(found, None)
        if not may_go_on():
            last = concealed(after, newest or after)
            return EventPage([each for each in found if each.position >= last], last)


@reading
def events_named(name: str) -> Sequence[FoundEvent]:
    """Return the newest events that have this id or transaction: first one with our own id."""
    found = _named(name, None, None, None)
    return sorted(found, key=lambda each: (_is_uuid_of(name, each), each.position), reverse=True)


@reading
def found_event(uuid: UUID) -> FoundEvent | None:
    """Return an event; None if it is not on record."""
    return next(iter(_found(_rows().where(EventLog.uuid == uuid))), None)


@reading
def _candidates(
    wanted: EventFilter, after: Position | None
) -> tuple[Sequence[FoundEvent], Position | None]:
    """Return the next events that pass a filter, and the last position that was looked at.

    An index gives the events of a type, or else of a source, or all, by time.
    """
    if wanted.name is not None:
        named = _named(wanted.name, after, wanted.start, wanted.end)
        return [each for each in named if _passes(each, wanted)], None
    query = _rows()
    to_scan = _CANDIDATES
    if wanted.type is not None:
        query = query.where(EventLog.event_type == wanted.type)
        to_scan = _CANDIDATES if wanted.source is None else _MAX_SCANNED
    elif wanted.source is not None:
        query = query.where(EventLog.event_source == wanted.source)
    query = newest_first(
        query, EventLog.created, EventLog.uuid, after, wanted.start, wanted.end
    ).limit(to_scan)
    scanned = _found(query)
    passing = [each for each in scanned if _passes(each, wanted)]
    if len(passing) > _CANDIDATES:
        return passing[:_CANDIDATES], passing[_CANDIDATES - 1].position
    return passing, scanned[-1].position if len(scanned) == to_scan else None


def _named(
    name: str, after: Position | None, start: datetime | None, end: datetime | None
) -> Sequence[FoundEvent]:
    """Return the newest events that have this id, transaction or id of ours, newest first."""
    stored = summary({"id": name}).id
    conditions: list[Any] = [EventLog.event_id == stored] if stored else []
    if name.isascii() and name.isdecimal() and len(name) <= len(str(_LARGEST)):
        conditions += [EventLog.transaction_id == int(name)] if int(name) <= _LARGEST else []
    if (uuid := _uuid(name)) is not None:
        conditions.append(EventLog.uuid == uuid)
    found: dict[UUID, FoundEvent] = {}
    for condition in conditions:  # an index serves each, and not all of them together
        query = newest_first(
            _rows().where(condition), EventLog.created, EventLog.uuid, after, start, end
        )
        found |= {each.uuid: each for each in _found(query.limit(MAX_SAME))}
    # Some databases compare texts without regard to case, or to blanks at the end.
    exact = [
        each
        for each in found.values()
        if each.uuid == uuid or each.about.id == stored or str(each.about.transaction) == name
    ]
    return sorted(exact, key=lambda each: each.position, reverse=True)[:MAX_SAME]


def _uuid(name: str) -> UUID | None:
    try:
        return UUID(name)
    except ValueError:
        return None


def _is_uuid_of(name: str, event: FoundEvent) -> bool:
    return event.uuid == _uuid(name)


def _passes(each: FoundEvent, wanted: EventFilter) -> bool:
    return (wanted.type is None or each.about.type == wanted.type) and (
        wanted.source is None or each.about.source == wanted.source
    )


def _rows() -> Any:
    return EventLog.select(
        *(EventLog.uuid, EventLog.created),
        *(EventLog.event_type, EventLog.event_source, EventLog.event_id, EventLog.event_time),
        EventLog.transaction_id,
    )


def _found(query: Any) -> Sequence[FoundEvent]:
    rows: Iterable[Any] = list(query.tuples())
    abouts = abouts_of_old(uuid for uuid, _created, *described in rows if not any(described[:4]))
    return [
        FoundEvent(uuid, created, abouts.get(uuid) or EventSummary(*described))
        for uuid, created, *described in rows
    ]
