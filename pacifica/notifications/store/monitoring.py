"""What a scrape of metrics reads: bounded parts of indexes, and totals that are stored."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import peewee

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import Settlement, State
from pacifica.notifications.orm import (
    DeferredMatch,
    EventLog,
    EventLogMatch,
    EventMatch,
    Statistic,
    WorkerProcess,
    reading,
)
from pacifica.notifications.store.jobs import JobKind, running_jobs
from pacifica.notifications.store.statistics import WORKER_EXPIRES

#: No more rows of one kind are counted; such a number means so many or more.
MAX_COUNTED = 100_000
#: An event that was begun more often than this keeps failing.
MANY_ATTEMPTS = 2
WAITING_STATES = (State.MATCHED, State.ALLOWED, State.COLLECTED, State.AVAILABLE, State.HELD)
# Before any time on record. `due > _NEVER` is served by an index on every engine, and says that
# there is something to do; an older one of SQLite does not use its index for `IS NOT NULL`.
_NEVER = datetime(1, 1, 1)
# The first condition that is true gives the state of a disabled subscription.
_DISABLED_STATES = {
    "jsonpath": EventMatch.unmatched,  # its JSONPath failed
    "recovering": EventMatch.probes > 0,  # its target failed, and is probed
    "failed": EventMatch.holding,  # its target failed, and its owner must act
}
#: Events that wait for Metadata: it is asked soon, or each hour.
SETTLING_STATES = (str(Settlement.SETTLING), str(Settlement.UNSETTLED))
SUBSCRIPTION_STATES = ("enabled", "owner", *_DISABLED_STATES)


@dataclass(frozen=True)
class Workers:
    """How many workers and worker processes live, and for how long the newest process (seconds)."""

    workers: int = 0
    processes: int = 0
    newest: float = 0.0


@dataclass(frozen=True)
class Snapshot:
    """The state of the service in its database; waits are seconds, 0 if nothing waits.

    `events_deferred` are those that wait for their user's turn, and for an owner.
    """

    events_waiting: int = 0
    events_failing: int = 0
    events_settling: Mapping[str, int] = field(
        default_factory=lambda: dict.fromkeys(SETTLING_STATES, 0)
    )
    oldest_event: float = 0.0
    oldest_delivery: float = 0.0
    events_deferred: tuple[int, int] = (0, 0)
    deliveries_waiting: Mapping[str, int] = field(
        default_factory=lambda: dict.fromkeys(WAITING_STATES, 0)
    )
    subscriptions: Mapping[str, int] = field(
        default_factory=lambda: dict.fromkeys(SUBSCRIPTION_STATES, 0)
    )
    jobs: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(JobKind, 0))
    workers: Workers = Workers()
    totals: Mapping[str, int] = field(default_factory=dict)


@reading
def snapshot() -> Snapshot:
    """Read the state of the service, in milliseconds also with millions of rows.

    Raises StoreUnavailable.
    """
    now = utcnow()
    waiting, failing = _events_waiting()
    return Snapshot(
        waiting,
        failing,
        _settling(),
        _overdue(EventLog.due, now),
        _overdue(EventLogMatch.due, now),
        (_deferred(DeferredMatch.due > _NEVER), _deferred(DeferredMatch.due.is_null())),
        {state: _deliveries_in(state) for state in WAITING_STATES},
        _subscriptions(),
        running_jobs(),
        _workers(now),
        _totals(),
    )


def _events_waiting() -> tuple[int, int]:
    rows = EventLog.select(EventLog.attempts).where(EventLog.due > _NEVER).order_by(EventLog.due)
    found = rows.limit(MAX_COUNTED).alias("found")
    failing = peewee.Case(None, [(found.c.attempts > MANY_ATTEMPTS, 1)], 0)
    counted: Any = EventLog.select(peewee.fn.COUNT(found.c.attempts), peewee.fn.SUM(failing))
    ((waiting, often),) = counted.from_(found).tuples()
    return waiting, int(often or 0)


def _settling() -> dict[str, int]:
    rows = EventLog.select(EventLog.settlement).where(EventLog.settle_due > _NEVER)
    found = rows.order_by(EventLog.settle_due).limit(MAX_COUNTED).alias("found")
    unsettled = peewee.Case(None, [(found.c.settlement == Settlement.UNSETTLED, 1)], 0)
    counted: Any = EventLog.select(peewee.fn.COUNT(found.c.settlement), peewee.fn.SUM(unsettled))
    ((waiting, number),) = counted.from_(found).tuples()
    return dict(zip(SETTLING_STATES, (waiting - int(number or 0), int(number or 0)), strict=True))


def _overdue(due: Any, now: datetime) -> float:
    """Return for how many seconds the row that is due first has been due."""
    first = due.model.select(peewee.fn.MIN(due)).scalar()
    return 0.0 if first is None else max((now - first).total_seconds(), 0.0)


def _deferred(condition: Any) -> int:
    rows = DeferredMatch.select(DeferredMatch.due).where(condition)
    return _count(rows.order_by(DeferredMatch.due))


def _deliveries_in(state: State) -> int:
    rows = EventLogMatch.select(EventLogMatch.event_match).where(EventLogMatch.state == state)
    # In the order of the index, so that no engine reads the table.
    return _count(rows.order_by(EventLogMatch.event_match, EventLogMatch.created))


def _count(rows: Any) -> int:
    return int(rows.limit(MAX_COUNTED).count())


def _subscriptions() -> dict[str, int]:
    """Count the subscriptions that are not deleted by their states."""
    kept: Any = EventMatch.deleted.is_null()
    states = [(condition, state) for state, condition in _DISABLED_STATES.items()]
    state = peewee.Case(None, states, "owner")
    disabled: Any = (
        EventMatch.select(state, peewee.fn.COUNT(EventMatch.uuid))
        .where(EventMatch.disabled > _NEVER, kept)
        .group_by(peewee.SQL("1"))
        .tuples()
    )
    counts = {**dict.fromkeys(SUBSCRIPTION_STATES, 0), **dict(disabled)}
    # Faster than to look for those whose `disabled` is null.
    counts["enabled"] = EventMatch.select().where(kept).count() - sum(counts.values())
    return counts


def _workers(now: datetime) -> Workers:
    lives = WorkerProcess.renewed > now - timedelta(seconds=WORKER_EXPIRES)
    counted: Any = (
        WorkerProcess.select(
            peewee.fn.COUNT(WorkerProcess.name.distinct()),
            peewee.fn.COUNT(WorkerProcess.uuid),
            peewee.fn.MAX(WorkerProcess.started),
        )
        .where(lives)
        .tuples()
    )
    ((workers, processes, newest),) = counted
    seconds = 0.0 if newest is None else max((now - newest).total_seconds(), 0.0)
    return Workers(workers, processes, seconds)


def _totals() -> dict[str, int]:
    rows: Any = (
        Statistic.select(Statistic.name, peewee.fn.SUM(Statistic.value))
        .group_by(Statistic.name)
        .tuples()
    )
    return {name: int(value) for name, value in rows}
