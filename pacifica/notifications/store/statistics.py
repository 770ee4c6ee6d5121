"""What processes report: their counts, and that workers live."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import peewee

from pacifica.notifications.clock import utcnow
from pacifica.notifications.orm import (
    DB,
    EventLogMatch,
    Statistic,
    WorkerProcess,
    reading,
    writing,
)
from pacifica.notifications.settings import HoldingSettings
from pacifica.notifications.store.expiring import KEPT_STATES

#: Seconds after which a worker process counts as dead if it did not say that it lives.
WORKER_EXPIRES = 60.0
#: The gauge that the sweep sets: subscriptions for which nearly as much is held as may be.
NEAR_BOUND = "subscriptions_near_bound"
_SLOTS = 16
# Where a gauge is, which one process at a time sets.
_GAUGE_SLOT = -1
# Which part of a limit on holding counts as near it.
_NEAR = 0.9


@dataclass(frozen=True)
class Worker:
    """A worker process: its id since it started, and the name of its worker."""

    uuid: UUID
    name: str
    started: datetime


@writing
def report(counts: Mapping[str, int], worker: Worker | None) -> None:
    """Add counts to the totals, and renew the row of a worker process, if it is one."""
    slot = os.getpid() % _SLOTS
    if counts:
        # Sorted, so that two processes of one slot never wait for each other.
        rows = [{"name": key, "slot": slot, "value": counts[key]} for key in sorted(counts)]
        _upsert(rows, Statistic.value + _inserted(Statistic.value))
    if worker is not None:
        _renew(worker)


@writing
def worker_ended(worker: Worker) -> None:
    """Forget a worker process that ends."""
    WorkerProcess.delete().where(WorkerProcess.uuid == worker.uuid).execute()


@writing
def forget_dead_workers() -> int:
    """Forget the worker processes that no longer say that they live; return how many."""
    before = utcnow() - timedelta(seconds=WORKER_EXPIRES)
    return WorkerProcess.delete().where(WorkerProcess.renewed < before).execute()


def note_bounds(holding: HoldingSettings) -> None:
    """Note for how many subscriptions nearly as much, or as long, is held as may be.

    This reads the index entries of all that is held.
    """
    _note(NEAR_BOUND, _near_bounds(holding))


@writing
def _note(gauge: str, value: int) -> None:
    row = {"name": gauge, "slot": _GAUGE_SLOT, "value": value}
    _upsert([row], _inserted(Statistic.value))


@reading
def _near_bounds(holding: HoldingSettings) -> int:
    oldest = utcnow() - timedelta(seconds=_NEAR * holding.max_age)
    per_subscription = (
        EventLogMatch.select(EventLogMatch.event_match)
        .where(EventLogMatch.state.in_(KEPT_STATES))
        .group_by(EventLogMatch.event_match)
        .having(
            (peewee.fn.COUNT(EventLogMatch.event_match) >= _NEAR * holding.max_held)
            | (peewee.fn.MIN(EventLogMatch.created) < oldest)
        )
    )
    return int(per_subscription.count())


def _upsert(rows: list[dict[str, Any]], value: Any) -> None:
    """Insert rows, or change the value of those that are there, in one statement."""
    query: Any = Statistic.insert_many(rows)
    key = {} if _is_mysql() else {"conflict_target": [Statistic.name, Statistic.slot]}
    query.on_conflict(**key, update={Statistic.value: value}).execute()


def _inserted(column: Any) -> Any:
    """Return the value that a row would have been inserted with."""
    if _is_mysql():
        return peewee.fn.VALUES(column)
    return getattr(peewee.EXCLUDED, column.name)


def _is_mysql() -> bool:
    return isinstance(DB.bound(), peewee.MySQLDatabase)


def _renew(worker: Worker) -> None:
    now = utcnow()
    mine = WorkerProcess.uuid == worker.uuid
    if not WorkerProcess.update(renewed=now).where(mine).execute():
        WorkerProcess.insert(
            uuid=worker.uuid,
            name=worker.name,
            process=os.getpid(),
            started=worker.started,
            renewed=now,
        ).execute()
