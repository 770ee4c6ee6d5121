"""Deliveries that their owners fetch: each is handed out to one at a time, under a lock.

A lock belongs to one fetch and lasts until a time, by the database's clock, which all processes
share. A delivery whose lock ran out is handed out again. What a lock led to is an attempt on
record.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import accumulate
from typing import Any, NamedTuple, Self
from uuid import UUID, uuid4

import peewee

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import AttemptOutcome, Cause, State
from pacifica.notifications.metrics import DELIVERIES_FINISHED, PULL_LOCKS
from pacifica.notifications.orm import (
    DB,
    Attempt,
    EventLogMatch,
    EventMatch,
    insert_rows,
    reading,
    writing,
)
from pacifica.notifications.settings import PullSettings
from pacifica.notifications.store.events import sizes_of
from pacifica.notifications.store.rowlocks import lock_deliveries, locking, one_of
from pacifica.notifications.subscriptions import PULL_URL

_ACKNOWLEDGED = "acknowledged"
_LOCK = re.compile("[0-9a-f]{32}[.][0-9a-f]{32}")


@dataclass(frozen=True)
class PullLock:
    """The lock of a delivery, which nobody can guess who did not fetch it."""

    delivery: UUID
    fetch: UUID

    def __str__(self) -> str:
        """Return the lock as its holder has it."""
        return f"{self.delivery.hex}.{self.fetch.hex}"

    @classmethod
    def parsed(cls, text: str) -> Self:
        """Return the lock that a text stands for; raises ValueError."""
        if not _LOCK.fullmatch(text):
            raise ValueError(text)
        delivery, _, fetch = text.partition(".")
        return cls(UUID(delivery), UUID(fetch))


@dataclass(frozen=True)
class Fetched:
    """A delivery that was handed out; `attempt` counts how often it was."""

    lock: PullLock
    event: UUID
    attempt: int
    cause: Cause


class LockResult(StrEnum):
    """What became of a lock that a request named."""

    ACKNOWLEDGED = _ACKNOWLEDGED
    RELEASED = "released"
    RENEWED = "renewed"
    HELD = "held"  # released, and handed out too often
    EXPIRED = "lock_expired"
    UNKNOWN = "lock_unknown"


class _Row(NamedTuple):
    """What is stored of a delivery that is to be handed out, or was."""

    uuid: UUID
    event: UUID
    state: State
    attempts: int
    tries: int
    cause: str
    fetch: UUID | None
    fetched: datetime | None
    leased: datetime | None

    @property
    def was_fetched(self) -> bool:
        """Whether it was handed out since it became available, and not released."""
        return self.fetch is not None and self.leased is not None


@writing
def fetch(subscription: UUID, limit: int, lock: float, settings: PullSettings) -> list[Fetched]:
    """Hand out the oldest deliveries that nobody has, each under a lock of so many seconds.

    Those that others are fetching at this moment are skipped, and those that were handed out too
    often are held.
    """
    while True:
        now = database_now()
        found = _free(subscription, limit, now, settings)
        held = _end([each for each in found if each.was_fetched], "expired", now, settings)
        others = [each for each in found if each.uuid not in held]
        if others or not found:
            return _hand_out(others, now, lock)


@writing
def acknowledge(subscription: UUID, locks: Sequence[PullLock]) -> list[LockResult]:
    """Take note that deliveries arrived; returns what became of each lock."""
    now = database_now()
    rows, results = _judged(subscription, locks, now, LockResult.ACKNOWLEDGED)
    if rows:
        record_ended(rows, _ACKNOWLEDGED, AttemptOutcome.DELIVERED, now)
        EventLogMatch.update(
            # The fetch stays on record: who did not get this answer asks again.
            state=State.DELIVERED,
            due=None,
            leased=None,
            target_status_code="",
            target_resp_body=_ACKNOWLEDGED,
            updated=now,
            tries=EventLogMatch.tries + 1,
        ).where(one_of(EventLogMatch.uuid, [each.uuid for each in rows])).execute()
        DB.handle().tallies.add(DELIVERIES_FINISHED, len(rows), "delivered")
        DB.handle().tallies.add(PULL_LOCKS, len(rows), "acknowledged")
    return results


@writing
def release(
    subscription: UUID, locks: Sequence[PullLock], delay: float, settings: PullSettings
) -> list[LockResult]:
    """Have deliveries handed out again after a delay (seconds); returns what became of each."""
    now = database_now()
    rows, results = _judged(subscription, locks, now, LockResult.RELEASED)
    until = now + timedelta(seconds=delay) if delay else None
    held = _end(rows, "released", now, settings, until)
    return [
        LockResult.HELD if result is LockResult.RELEASED and lock.delivery in held else result
        for lock, result in zip(locks, results, strict=True)
    ]


@writing
def renew(subscription: UUID, locks: Sequence[PullLock], seconds: float) -> list[LockResult]:
    """Have locks last so many seconds from now on; returns what became of each."""
    now = database_now()
    rows, results = _judged(subscription, locks, now, LockResult.RENEWED)
    if rows:
        EventLogMatch.update(leased=now + timedelta(seconds=seconds)).where(
            one_of(EventLogMatch.uuid, [each.uuid for each in rows])
        ).execute()
    return results


@writing
def give_up(fetched: Fetched, reason: str) -> None:
    """Give up a delivery that was just fetched, as its event cannot be given in this format."""
    lock_deliveries([fetched.lock.delivery])
    given_up = (
        EventLogMatch.update(
            state=State.FAILED,
            leased=None,
            fetch_id=None,
            target_resp_body=f"cannot be delivered: {reason}",
            updated=utcnow(),
        )
        .where(
            EventLogMatch.uuid == fetched.lock.delivery,
            EventLogMatch.fetch_id == fetched.lock.fetch,
        )
        .execute()
    )
    DB.handle().tallies.add(DELIVERIES_FINISHED, given_up, "failed")


@reading
def with_available(subscriptions: Collection[UUID]) -> set[UUID]:
    """Return those of the subscriptions from which something can be fetched, in one query."""
    deliveries = EventLogMatch.select(peewee.SQL("1")).where(
        EventLogMatch.event_match == EventMatch.uuid,
        EventLogMatch.state == State.AVAILABLE,
        _is_free(database_now()),
    )
    rows: Any = EventMatch.select(EventMatch.uuid).where(
        EventMatch.uuid.in_(list(subscriptions)), peewee.fn.EXISTS(deliveries)
    )
    return {uuid for (uuid,) in rows.tuples()}


@writing
def make_available(uuid: UUID) -> None:
    """Leave a delivery to be fetched, whose subscription had a web address when it was allowed."""
    EventLogMatch.update(
        state=State.AVAILABLE, due=None, leased=None, fetch_id=None, attempts=0, updated=utcnow()
    ).where(EventLogMatch.uuid == uuid, EventLogMatch.state == State.ALLOWED).execute()


def database_now() -> datetime:
    """Return the time of the database's machine, naive UTC; SQLite has that of this one."""
    if isinstance(DB.bound(), peewee.PostgresqlDatabase):
        sql = "SELECT clock_timestamp() AT TIME ZONE 'UTC'"
    elif isinstance(DB.bound(), peewee.MySQLDatabase):
        sql = "SELECT UTC_TIMESTAMP(6)"
    else:
        return utcnow()
    ((now,),) = DB.execute_sql(sql).fetchall()
    return now


def _is_free(now: datetime, max_lock: float = PullSettings.max_lock) -> Any:
    """Return the condition that nobody has a delivery; no lock ends later than it can.

    One that seems to was taken before the clock was put back.
    """
    leased = EventLogMatch.leased
    latest = now + timedelta(seconds=max_lock)
    return leased.is_null() | (leased <= now) | (leased > latest)


_COLUMNS = (
    *(EventLogMatch.uuid, EventLogMatch.event_log, EventLogMatch.state, EventLogMatch.attempts),
    *(EventLogMatch.tries, EventLogMatch.cause, EventLogMatch.fetch_id, EventLogMatch.fetched),
    EventLogMatch.leased,
)


def _free(subscription: UUID, limit: int, now: datetime, settings: PullSettings) -> list[_Row]:
    """Lock and return the oldest deliveries that nobody has, as many as may be handed out."""
    query = (
        EventLogMatch.select(*_COLUMNS)
        .where(
            EventLogMatch.event_match == subscription,
            EventLogMatch.state == State.AVAILABLE,
            _is_free(now),
        )
        .order_by(EventLogMatch.created)
        .limit(limit)
    )
    found = [_Row(*row) for row in locking(query, skip_locked=True).tuples()]
    sizes = sizes_of([each.event for each in found]) if found else {}
    totals = accumulate(sizes.get(each.event, 0) for each in found)
    return found[: max(sum(total <= settings.max_bytes for total in totals), 1)]


def _hand_out(rows: Sequence[_Row], now: datetime, lock: float) -> list[Fetched]:
    if not rows:
        return []
    fetch = uuid4()
    EventLogMatch.update(
        attempts=EventLogMatch.attempts + 1,
        fetch_id=fetch,
        fetched=now,
        leased=now + timedelta(seconds=lock),
    ).where(one_of(EventLogMatch.uuid, [each.uuid for each in rows])).execute()
    return [
        Fetched(PullLock(each.uuid, fetch), each.event, each.attempts + 1, Cause(each.cause))
        for each in rows
    ]


def _judged(
    subscription: UUID, locks: Sequence[PullLock], now: datetime, valid: LockResult
) -> tuple[list[_Row], list[LockResult]]:
    """Lock the deliveries; return those whose lock is valid, and the result for each lock."""
    query = EventLogMatch.select(*_COLUMNS).where(
        one_of(EventLogMatch.uuid, [each.delivery for each in locks]),
        EventLogMatch.event_match == subscription,
    )
    ordered = locking(query.order_by(EventLogMatch.uuid))
    rows = {row[0]: _Row(*row) for row in ordered.tuples()}
    found, results = [], []
    for lock in locks:
        row = rows.get(lock.delivery)
        if row is None:
            results.append(LockResult.UNKNOWN)
        elif row.fetch != lock.fetch:
            results.append(LockResult.EXPIRED)
        elif row.leased is not None and row.leased > now:
            results.append(valid)
            found.append(row)
        else:
            is_repeated = row.state == State.DELIVERED and valid is LockResult.ACKNOWLEDGED
            results.append(valid if is_repeated else LockResult.EXPIRED)
    return found, results


def _end(
    rows: Sequence[_Row],
    end: str,
    now: datetime,
    settings: PullSettings,
    until: datetime | None = None,
) -> set[UUID]:
    """Record that deliveries were fetched in vain; hold and return those fetched too often."""
    if not rows:
        return set()
    available = [each for each in rows if each.state == State.AVAILABLE]
    too_often = [each for each in available if each.attempts >= settings.attempts]
    held = {each.uuid for each in too_often}
    record_ended(too_often, end, AttemptOutcome.HELD, now)
    others = [each for each in rows if each.uuid not in held]
    record_ended(others, end, AttemptOutcome.RETRYING, now, until or now)
    is_available = EventLogMatch.state == State.AVAILABLE
    failing = EventLogMatch.failing
    EventLogMatch.update(
        failing=peewee.Case(None, [(is_available, peewee.fn.COALESCE(failing, now))], failing),
        fetch_id=None,
        leased=until,
        target_status_code="",
        target_resp_body=_BODIES[end],
        updated=now,
        tries=EventLogMatch.tries + 1,
    ).where(one_of(EventLogMatch.uuid, [each.uuid for each in rows])).execute()
    if held:
        EventLogMatch.update(state=State.HELD, leased=None).where(
            one_of(EventLogMatch.uuid, held)
        ).execute()
    DB.handle().tallies.add(PULL_LOCKS, len(rows), end)
    return held


_BODIES = {
    "expired": "its lock ran out before it was acknowledged",
    "released": "it was released",
    _ACKNOWLEDGED: _ACKNOWLEDGED,
}


def record_ended(
    rows: Sequence[_Row],
    end: str,
    outcome: AttemptOutcome,
    now: datetime,
    next_attempt: datetime | None = None,
) -> None:
    """Store an attempt for each delivery whose lock ended."""
    insert_rows(
        Attempt,
        [
            {
                "delivery": each.uuid,
                "started": each.fetched or now,
                "number": each.tries + 1,
                "milliseconds": round(_held_for(each, now).total_seconds() * 1000),
                "cause": each.cause,
                "url": PULL_URL,
                "address": "",
                "request": "",
                "status": None,
                "response": "",
                "body": _BODIES[end],
                "truncated": False,
                "outcome": outcome,
                "next_attempt": next_attempt,
            }
            for each in rows
        ],
        unless_stored=True,
    )


def _held_for(row: _Row, now: datetime) -> timedelta:
    """Return for how long the last lock of a delivery was held."""
    ended = min(now, row.leased or now)
    return max(ended - (row.fetched or now), timedelta(0))
