"""The deliveries of a subscription as its owner reads them later, newest first."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from itertools import islice
from typing import Any
from uuid import UUID

from pacifica.notifications.clock import utcnow
from pacifica.notifications.events import EventSummary, summary
from pacifica.notifications.flow import State
from pacifica.notifications.orm import Attempt, EventLog, EventLogMatch, reading
from pacifica.notifications.store.events import events_by_uuid
from pacifica.notifications.store.position import Position, concealed, newest_first

#: The states that an owner knows of; a denied delivery is as if it had never been.
VISIBLE_STATES = tuple(state for state in State if state is not State.DENIED)
# Rows that one page looks at for each state, so that a filter that few rows pass costs no more.
_MAX_SCANNED = 300
# How often a page looks for more rows in place of those that may not be shown.
_MAX_ROUNDS = 10
_MAX_ATTEMPTS = 200
#: Policy has allowed a delivery with these.
_ALLOWED = "2"


@dataclass(frozen=True)
class LoggedDelivery:
    """A delivery as it is on record; `about` is what its event says of itself.

    `attempts` and `failing` belong to the present state, and `tries` counts all attempts on record.
    """

    uuid: UUID
    subscription: UUID
    event: UUID
    about: EventSummary
    received: datetime
    state: State
    cause: str
    due: datetime | None
    attempts: int
    tries: int
    failing: datetime | None
    policy_status: str
    status: str
    body: str
    created: datetime
    updated: datetime

    @property
    def position(self) -> Position:
        """The place of the delivery in the list."""
        return Position(self.created, self.uuid)

    @property
    def was_allowed(self) -> bool:
        """Whether Policy allowed it when it was asked for the delivery."""
        return self.policy_status.startswith(_ALLOWED)


@dataclass(frozen=True)
class LoggedAttempt:
    """One request to a target, as it happened; see orm.Attempt."""

    number: int
    started: datetime
    milliseconds: int
    cause: str
    url: str
    address: str
    request: str
    status: int | None
    response: str
    body: str
    truncated: bool
    outcome: str
    next_attempt: datetime | None


@dataclass(frozen=True)
class DeliveryFilter:
    """Which deliveries of a subscription are listed; None: all.

    `status` is the first digit of a status, and `type` is that of the event, up to 255 characters.
    `start` is included and `end` is not; both are naive UTC.
    """

    states: Collection[State] = VISIBLE_STATES
    type: str | None = None
    status: str | None = None
    start: datetime | None = None
    end: datetime | None = None

    @property
    def is_selective(self) -> bool:
        """Whether no index gives the deliveries, so that they are looked for among others."""
        return self.type is not None or self.status is not None


@dataclass(frozen=True)
class DeliveryPage:
    """Some deliveries, and the position behind which others may follow; None: none do."""

    deliveries: Sequence[LoggedDelivery]
    last: Position | None


def page_of_deliveries(
    subscription: UUID,
    wanted: DeliveryFilter,
    limit: int,
    after: Position | None,
    shown: Callable[[Sequence[LoggedDelivery]], Sequence[LoggedDelivery]],
) -> DeliveryPage:
    """Return up to `limit` deliveries of a subscription, newest first, from a position on.

    `shown` returns those that the reader may see. What it leaves out leaves no trace: the last
    position is that of a delivery that is shown, or a full hour, minute or second.
    """
    found: list[LoggedDelivery] = []
    newest = after or Position(utcnow(), UUID(int=0))
    for _round in range(1 if wanted.is_selective else _MAX_ROUNDS):
        some, after = _scan(subscription, wanted, limit + 1 - len(found), after)
        found += shown(some)
        if len(found) > limit:
            return DeliveryPage(found[:limit], found[limit - 1].position)
        if after is None:
            return DeliveryPage(found, None)
    assert after is not None  # noqa: S101 for the type checker
    last = concealed(after, newest)
    return DeliveryPage([each for each in found if each.position >= last], last)


@reading
def delivery_of(subscription: UUID, uuid: UUID) -> LoggedDelivery | None:
    """Return a delivery of a subscription; None if it has no such delivery."""
    condition = (EventLogMatch.uuid == uuid) & (EventLogMatch.event_match == subscription)
    return next(iter(_read(condition)), None)


@reading
def delivery_with(uuid: UUID) -> LoggedDelivery | None:
    """Return the delivery of this id, whose ever it is; None if there is none."""
    return next(iter(_read(EventLogMatch.uuid == uuid)), None)


@reading
def delivery_of_event(subscription: UUID, event: UUID) -> LoggedDelivery | None:
    """Return the newest delivery of an event to a subscription; None if there is none."""
    condition = (EventLogMatch.event_log == event) & (EventLogMatch.event_match == subscription)
    return max(_read(condition), key=lambda each: each.position, default=None)


@reading
def attempts_of(delivery: UUID) -> Sequence[LoggedAttempt]:
    """Return the newest attempts of a delivery, oldest of them first."""
    columns = (
        *(Attempt.number, Attempt.started, Attempt.milliseconds, Attempt.cause, Attempt.url),
        *(Attempt.address, Attempt.request, Attempt.status, Attempt.response, Attempt.body),
        *(Attempt.truncated, Attempt.outcome, Attempt.next_attempt),
    )
    rows: Any = Attempt.select(*columns).where(Attempt.delivery == delivery)
    newest = rows.order_by(Attempt.started.desc()).limit(_MAX_ATTEMPTS).tuples()
    return [LoggedAttempt(*row) for row in newest][::-1]


@reading
def is_under_way(uuid: UUID) -> bool:
    """Tell whether a worker may be sending a delivery of this service now."""
    return (
        EventLogMatch.select(EventLogMatch.uuid)
        .where(EventLogMatch.uuid == uuid, EventLogMatch.leased > utcnow())
        .exists()
    )


@reading
def _scan(
    subscription: UUID, wanted: DeliveryFilter, limit: int, after: Position | None
) -> tuple[Sequence[LoggedDelivery], Position | None]:
    """Return the next deliveries that pass the filter, and the last position that was looked at.

    An index gives the deliveries of each state by time; what else the filter asks for is looked for
    in a bounded number of them.
    """
    to_scan = _MAX_SCANNED if wanted.is_selective else limit
    ends: list[Position] = []
    by_state = []
    for state in wanted.states:
        keys: Any = EventLogMatch.select(EventLogMatch.created, EventLogMatch.uuid).where(
            EventLogMatch.state == state, EventLogMatch.event_match == subscription
        )
        ordered = newest_first(
            keys, EventLogMatch.created, EventLogMatch.uuid, after, wanted.start, wanted.end
        )
        scanned = [Position(*key) for key in ordered.limit(to_scan).tuples()]
        if len(scanned) == to_scan:
            ends.append(scanned[-1])
        by_state.append(scanned)
    # Behind the first of these, rows of that state may be missing.
    end = max(ends, default=None)
    complete = [each for each in merge(*by_state, reverse=True) if end is None or each >= end]
    found = _passing([each.uuid for each in complete], wanted, limit)
    if len(found) == limit:
        return found, found[-1].position
    return found, end


def _passing(uuids: Sequence[UUID], wanted: DeliveryFilter, limit: int) -> Sequence[LoggedDelivery]:
    """Return the first of the deliveries that have the wanted type and status, newest first."""
    found: list[LoggedDelivery] = []
    step = max(limit, 100)
    for start in range(0, len(uuids), step):
        condition = EventLogMatch.uuid.in_(uuids[start : start + step])
        rows = sorted(_read(condition), key=lambda each: each.position, reverse=True)
        found += (each for each in rows if _passes(each, wanted))
        if len(found) >= limit:
            break
    return found[:limit]


def _passes(each: LoggedDelivery, wanted: DeliveryFilter) -> bool:
    # The state may have changed since the index was read.
    return (
        each.state in wanted.states
        and (wanted.type is None or each.about.type == wanted.type)
        and (wanted.status is None or each.status.startswith(wanted.status))
    )


def _read(condition: Any) -> list[LoggedDelivery]:
    columns = (
        *(EventLogMatch.uuid, EventLogMatch.event_match, EventLogMatch.event_log),
        *(EventLog.event_type, EventLog.event_source, EventLog.event_id, EventLog.event_time),
        *(EventLog.transaction_id, EventLog.created),
        *(EventLogMatch.state, EventLogMatch.cause, EventLogMatch.due, EventLogMatch.attempts),
        *(EventLogMatch.tries, EventLogMatch.failing, EventLogMatch.policy_status_code),
        *(EventLogMatch.target_status_code, EventLogMatch.target_resp_body),
        *(EventLogMatch.created, EventLogMatch.updated, EventLogMatch.leased),
    )
    rows: Any = EventLogMatch.select(*columns).join(EventLog).where(condition).tuples()
    found = list(rows)
    abouts = abouts_of_old(row[2] for row in found if not any(row[3:7]))
    return [_logged(row, abouts.get(row[2])) for row in found]


def _logged(row: Sequence[Any], about: EventSummary | None) -> LoggedDelivery:
    uuid, subscription, event, *described = row[:8]
    received, state, cause, due, *others, leased = row[8:]
    if state == State.AVAILABLE and leased is not None and leased > utcnow():
        due = leased  # then its lock runs out
    return LoggedDelivery(
        uuid,
        subscription,
        event,
        about or EventSummary(*described),
        received,
        State(state),
        cause,
        due,
        *others,
    )


def abouts_of_old(events: Iterable[UUID]) -> dict[UUID, EventSummary]:
    """Return what events say of themselves that older versions stored."""
    found = {}
    remaining = iter(events)
    while some := list(islice(remaining, 10)):
        for uuid, event in events_by_uuid(some).items():
            try:
                found[uuid] = summary(event.document())
            except (ValueError, RecursionError, AttributeError):
                found[uuid] = EventSummary()
    return found
