"""Events, and deliveries of a subscription, in the order of time: some at a time for a job."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Any
from uuid import UUID

from pacifica.notifications.events import Event, EventSummary, summary
from pacifica.notifications.flow import Settlement, State
from pacifica.notifications.orm import DeferredMatch, EventLog, EventLogMatch, reading
from pacifica.notifications.store.events import events_by_uuid, sizes_of
from pacifica.notifications.store.position import Position

# How many events, and bytes of them, are read at a time; one event alone may have more.
_EVENTS, _BYTES = 100, 2**20
#: What a replay takes up again, and what it leaves alone because it is still under way.
FAILED_STATES = (State.FAILED, State.EXPIRED)
UNDER_WAY = (State.MATCHED, State.ALLOWED, State.COLLECTED, State.AVAILABLE, State.HELD)


@dataclass(frozen=True)
class OnRecord:
    """The state of a delivery, and the status that its target answered last; empty: none."""

    state: State
    status: str


@dataclass(frozen=True)
class Walked:
    """An event on the way through a period.

    `position` is that of the event, or of its delivery where deliveries are walked through.
    `revision` is that of the subscriptions that it was matched with; None: it was not, or long ago.
    `is_shown` is false while Pacifica Metadata does not show what it tells of, or if it never did.
    `is_settled` is false while it may still lead to a delivery of the subscription by itself.
    `on_record` are its deliveries to the subscription, by their ids, newest last.
    """

    position: Position
    event: Event
    revision: int | None = None
    is_shown: bool = True
    is_settled: bool = True
    on_record: Mapping[UUID, OnRecord] | None = None


@reading
def next_events(start: datetime, end: datetime, after: Position | None) -> Sequence[Walked]:
    """Return the next events that were received in a period, oldest first.

    `start` is included and `end` is not. Without a subscription, `on_record` is None.
    """
    while True:
        columns = (
            *(EventLog.created, EventLog.uuid, EventLog.revision, EventLog.due),
            *(EventLog.settle_due, EventLog.settlement),
        )
        # Nobody is sent the service's own events without having asked for them by type.
        query = EventLog.select(*columns).where(EventLog.owner.is_null())
        rows = _in_order(query, EventLog.created, EventLog.uuid, start, end, after)
        found = list(rows.limit(_EVENTS).tuples())
        events = _fitting([uuid for _created, uuid, *_ in found])
        walked = [
            Walked(
                Position(created, uuid),
                events[uuid],
                revision,
                is_shown=asked is None and settlement != Settlement.EXPIRED,
                is_settled=due is None,
            )
            for created, uuid, revision, due, asked, settlement in found
            if uuid in events
        ]
        if walked or not found:
            return walked
        after = Position(*found[0][:2])  # it was purged in between


@reading
def next_events_for(
    subscription: UUID, user: str, start: datetime, end: datetime, after: Position | None
) -> Sequence[Walked]:
    """Return the next events of a period, with what a user's subscription has of each."""
    walked = next_events(start, end, after)
    uuids = [each.event.uuid for each in walked]
    # In this order: what is matched later leaves the one table for the other.
    waiting = deferred_for(subscription, user, uuids)
    on_record = on_record_for(subscription, uuids)
    return [
        Walked(
            each.position,
            each.event,
            each.revision,
            each.is_shown,
            each.is_settled and each.event.uuid not in waiting,
            on_record.get(each.event.uuid, {}),
        )
        for each in walked
    ]


@reading
def next_failed(
    subscription: UUID, start: datetime, end: datetime, after: Position | None
) -> Sequence[Walked]:
    """Return the next deliveries of a subscription that were given up, oldest first."""
    while True:
        found = sorted(
            each
            for state in FAILED_STATES
            for each in _deliveries_in(state, subscription, start, end, after)
        )[:_EVENTS]
        events = _fitting([event for _position, event, *_ in found])
        walked = [
            Walked(position, events[event], on_record={position.uuid: OnRecord(state, status)})
            for position, event, state, status in found
            if event in events
        ]
        if walked or not found:
            return walked
        after = found[0][0]  # it was purged in between


@reading
def on_record_for(subscription: UUID, events: Collection[UUID]) -> dict[UUID, dict[UUID, OnRecord]]:
    """Return the deliveries of events to a subscription, newest last."""
    columns = (
        *(EventLogMatch.event_log, EventLogMatch.uuid, EventLogMatch.state),
        EventLogMatch.target_status_code,
    )
    rows: Any = (
        EventLogMatch.select(*columns)
        .where(EventLogMatch.event_log.in_(list(events)), EventLogMatch.event_match == subscription)
        .order_by(EventLogMatch.created)
        .tuples()
    )
    found: dict[UUID, dict[UUID, OnRecord]] = {}
    for event, uuid, state, status in rows:
        found.setdefault(event, {})[uuid] = OnRecord(State(state), status)
    return found


@reading
def deferred_for(subscription: UUID, user: str, events: Collection[UUID]) -> set[UUID]:
    """Return those of the events that are matched with a user's subscription later."""
    rows: Any = (
        DeferredMatch.select(DeferredMatch.event, DeferredMatch.subscriptions)
        .where(DeferredMatch.event.in_(list(events)), DeferredMatch.user == user)
        .tuples()
    )
    return {event for event, listed in rows if subscription.hex in listed.split()}


@reading
def described(events: Collection[UUID]) -> dict[UUID, tuple[EventSummary, datetime]]:
    """Return what a few events say of themselves and when they were received, by their ids."""
    columns = (
        *(EventLog.uuid, EventLog.created, EventLog.event_type, EventLog.event_source),
        *(EventLog.event_id, EventLog.event_time, EventLog.transaction_id),
    )
    rows: Any = EventLog.select(*columns).where(EventLog.uuid.in_(list(events))).tuples()
    found = {uuid: (EventSummary(*about), created) for uuid, created, *about in rows}
    for uuid, (about, created) in found.items():
        if about == EventSummary():  # an older version stored it
            found[uuid] = _summary_of(uuid), created
    return found


def _deliveries_in(
    state: State, subscription: UUID, start: datetime, end: datetime, after: Position | None
) -> list[tuple[Position, UUID, State, str]]:
    """Return the next deliveries in one state, which an index has in order."""
    columns = (
        *(EventLogMatch.created, EventLogMatch.uuid, EventLogMatch.event_log),
        EventLogMatch.target_status_code,
    )
    query = EventLogMatch.select(*columns).where(
        EventLogMatch.state == state, EventLogMatch.event_match == subscription
    )
    rows = _in_order(query, EventLogMatch.created, EventLogMatch.uuid, start, end, after)
    return [
        (Position(created, uuid), event, state, status)
        for created, uuid, event, status in rows.limit(_EVENTS).tuples()
    ]


def _summary_of(uuid: UUID) -> EventSummary:
    event = events_by_uuid([uuid]).get(uuid)
    try:
        return EventSummary() if event is None else summary(event.document())
    except (ValueError, RecursionError, AttributeError):
        return EventSummary()


def _fitting(uuids: Sequence[UUID]) -> dict[UUID, Event]:
    """Return the first of the events that fit into memory together, at least one.

    Those behind the first that does not fit are left out, too.
    """
    sizes = sizes_of(uuids)
    totals = accumulate(sizes.get(uuid, 0) for uuid in uuids)
    count = max(sum(total <= _BYTES for total in totals), 1)
    return events_by_uuid(uuids[:count])


def _in_order(
    query: Any, moment: Any, uuid: Any, start: datetime, end: datetime, after: Position | None
) -> Any:
    """Order a query by time, oldest first, from a position on, within a period."""
    query = query.where(moment >= start, moment < end)
    if after is not None:
        # The first condition is for the index; databases do not all see it in the second one.
        query = query.where(moment >= after.created, (moment > after.created) | (uuid > after.uuid))
    return query.order_by(moment, uuid)
