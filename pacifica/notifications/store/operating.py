"""What operators look at beside the metrics: rates, worst targets, disabled subscriptions, workers.

Nothing here has the content of an event.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import AttemptOutcome, State
from pacifica.notifications.orm import (
    Attempt,
    EventLog,
    EventLogMatch,
    EventMatch,
    WorkerProcess,
    reading,
)
from pacifica.notifications.store.statistics import WORKER_EXPIRES

#: Rates are told for so many minutes, of each of these lengths (minutes).
MINUTES: Final = 60
SLOT: Final = 5
#: Failures of so many hours are looked at, and of so many attempts at most: the newest.
HOURS: Final = 24
MAX_ATTEMPTS: Final = 20_000
#: So many targets, disabled subscriptions and worker processes are listed.
MAX_TARGETS: Final = 10
MAX_DISABLED: Final = 200
MAX_WORKERS: Final = 100
# Rows of one kind that are counted for the rates.
_MAX_COUNTED: Final = 100_000
_NEVER = datetime(1, 1, 1)


@dataclass(frozen=True)
class Slot:
    """Some minutes: how many events were received, and how many attempts took and failed."""

    start: datetime
    events: int = 0
    taken: int = 0
    failed: int = 0


@dataclass(frozen=True)
class FailingTarget:
    """A host: its failed attempts of all, and the last failure; `said` is a status or empty."""

    host: str
    failed: int
    attempts: int
    last: datetime
    said: str


@dataclass(frozen=True)
class DisabledSubscription:
    """A subscription that is disabled; `by_error` tells that its owner did not do it.

    `probe_due` is when its target is tried again by itself.
    """

    uuid: UUID
    user: str
    name: str
    since: datetime
    by_error: bool
    probe_due: datetime | None
    error: str


@dataclass(frozen=True)
class LiveWorker:
    """A worker process that lives."""

    name: str
    process: int
    started: datetime
    renewed: datetime


@dataclass(frozen=True)
class PolicyWait:
    """How many deliveries wait for Policy at most, and since when Policy has failed for one."""

    waiting: int
    failing: datetime | None


@dataclass(frozen=True)
class Operation:
    """How the service is doing."""

    slots: tuple[Slot, ...]
    targets: tuple[FailingTarget, ...]
    disabled: tuple[DisabledSubscription, ...]
    workers: tuple[LiveWorker, ...]
    policy: PolicyWait


@reading
def operation() -> Operation:
    """Read how the service is doing from bounded parts of indexes; raises StoreUnavailable."""
    now = utcnow()
    attempts = _attempts(now - timedelta(hours=HOURS))
    return Operation(
        _slots(now, attempts), _targets(attempts), _disabled(), _workers(now), _policy()
    )


@dataclass(frozen=True)
class _Attempted:
    started: datetime
    host: str
    status: int | None
    is_taken: bool


def _attempts(since: datetime) -> list[_Attempted]:
    columns = Attempt.started, Attempt.url, Attempt.status, Attempt.outcome
    rows: Any = Attempt.select(*columns).where(Attempt.started >= since)
    newest = rows.order_by(Attempt.started.desc()).limit(MAX_ATTEMPTS).tuples()
    return [
        _Attempted(started, urlsplit(url).netloc, status, outcome == AttemptOutcome.DELIVERED)
        for started, url, status, outcome in newest
    ]


def _slots(now: datetime, attempts: Sequence[_Attempted]) -> tuple[Slot, ...]:
    """Return the last minutes, oldest first; the last of them has only begun."""
    length = timedelta(minutes=SLOT)
    last = now.replace(minute=now.minute - now.minute % SLOT, second=0, microsecond=0)
    first = last - timedelta(minutes=MINUTES - SLOT)
    rows: Any = EventLog.select(EventLog.created).where(EventLog.created >= first)
    received = rows.order_by(EventLog.created.desc()).limit(_MAX_COUNTED).tuples()
    events = Counter((created - first) // length for (created,) in received)
    recent = [each for each in attempts if each.started >= first]
    taken = Counter((each.started - first) // length for each in recent if each.is_taken)
    failed = Counter((each.started - first) // length for each in recent if not each.is_taken)
    return tuple(
        Slot(first + number * length, events[number], taken[number], failed[number])
        for number in range(MINUTES // SLOT)
    )


def _targets(attempts: Sequence[_Attempted]) -> tuple[FailingTarget, ...]:
    """Return the hosts with the most failures; the attempts are newest first."""
    every = Counter(each.host for each in attempts)
    failures = [each for each in attempts if not each.is_taken]
    failed = Counter(each.host for each in failures)
    last = {each.host: each for each in reversed(failures)}
    return tuple(
        FailingTarget(
            host,
            count,
            every[host],
            last[host].started,
            "" if last[host].status is None else str(last[host].status),
        )
        for host, count in failed.most_common(MAX_TARGETS)
    )


def _disabled() -> tuple[DisabledSubscription, ...]:
    rows: Any = EventMatch.select().where(
        EventMatch.disabled > _NEVER, EventMatch.deleted.is_null()
    )
    return tuple(
        DisabledSubscription(
            row.uuid,
            row.user,
            row.name,
            row.disabled,
            row.holding,
            row.held_due if row.holding and row.probes else None,
            row.error or "",
        )
        for row in rows.order_by(EventMatch.disabled.desc()).limit(MAX_DISABLED)
    )


def _workers(now: datetime) -> tuple[LiveWorker, ...]:
    columns = (
        *(WorkerProcess.name, WorkerProcess.process),
        *(WorkerProcess.started, WorkerProcess.renewed),
    )
    lives = WorkerProcess.renewed > now - timedelta(seconds=WORKER_EXPIRES)
    rows: Any = WorkerProcess.select(*columns).where(lives)
    found = rows.order_by(WorkerProcess.name, WorkerProcess.started).limit(MAX_WORKERS)
    return tuple(LiveWorker(*row) for row in found.tuples())


def _policy() -> PolicyWait:
    rows: Any = EventLogMatch.select(EventLogMatch.failing).where(
        EventLogMatch.state == State.MATCHED
    )
    ordered = rows.order_by(EventLogMatch.event_match, EventLogMatch.created)
    failing = [each for (each,) in ordered.limit(_MAX_COUNTED).tuples()]
    return PolicyWait(
        len(failing), min((each for each in failing if each is not None), default=None)
    )
