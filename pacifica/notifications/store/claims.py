"""How workers share the work: claimed rows are leased to one worker, and a lock has one holder."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import peewee

from pacifica.notifications.clock import utcnow
from pacifica.notifications.orm import DeferredMatch, EventLog, EventLogMatch, Job, Lock, writing
from pacifica.notifications.store.rowlocks import locking

# Seconds: by so much the clocks of two machines may differ.
_MAX_SKEW = 60.0


def claim(
    model: Any,
    *conditions: Any,
    columns: Sequence[Any],
    now: datetime,
    lease: float,
    due: Any = None,
    order: Any,
    limit: int,
    also: dict[Any, Any],
    count_fitting: Callable[[Sequence[Any]], int] = len,
) -> Sequence[Any]:
    """Return rows that are due, and move their due time on by `lease` seconds in this transaction.

    `columns`, of which the first is `uuid`, are returned as they were before; `also` is what else
    changes. `due` is the column with the due times, if it is not the one of that name. Of the rows
    found, as many as `count_fitting` returns are claimed, from the first on.

    Rows that another worker is claiming at this moment are skipped, not waited for. Where a claim
    ends without a result, as when its worker is killed, its rows are due again by themselves.
    """
    due = model.due if due is None else due
    are_due = model.select(*columns).where(due <= now, *conditions)
    query = locking(are_due.order_by(order).limit(limit), skip_locked=True)
    found = list(query.tuples())
    rows = found[: count_fitting(found)]
    if rows:
        changes = {due: now + timedelta(seconds=lease), **also}
        model.update(changes).where(model.uuid.in_([uuid for uuid, *_ in rows])).execute()
    return rows


@writing
def take_lock(name: str, seconds: float) -> bool:
    """Take a named lock for some seconds; False while another worker has it.

    One that expires later than it can was taken before the clock was put back: nobody has it.
    """
    return _taken_until(name, seconds) is not None


@writing
def take_turn(name: str, seconds: float) -> datetime | None:
    """Take a named lock; return until when, by which `keep_turn` knows its holder."""
    return _taken_until(name, seconds)


@writing
def keep_turn(name: str, until: datetime, seconds: float) -> datetime | None:
    """Keep a lock that was taken until a time, for some seconds from now on; return until when.

    None if somebody else has taken it since.
    """
    expires = utcnow() + timedelta(seconds=seconds)
    kept = Lock.update(expires=expires).where(Lock.name == name, Lock.expires == until).execute()
    return expires if kept else None


def _taken_until(name: str, seconds: float) -> datetime | None:
    now = utcnow()
    expires = now + timedelta(seconds=seconds)
    is_free = (Lock.expires <= now) | (Lock.expires > expires + timedelta(seconds=_MAX_SKEW))
    taken = Lock.update(expires=expires).where(Lock.name == name, is_free).execute()
    if taken or Lock.get_or_none(Lock.name == name):
        return expires if taken else None
    try:
        with Lock.atomic():
            Lock.create(name=name, expires=expires)
    except peewee.IntegrityError:  # another worker was first
        return None
    return expires


@writing
def release_lock(name: str) -> None:
    """Let others take a named lock at once."""
    Lock.update(expires=utcnow()).where(Lock.name == name).execute()


@writing
def keep_lock(name: str, seconds: float) -> None:
    """Keep a named lock, that the caller has taken, for some seconds from now on."""
    Lock.update(expires=utcnow() + timedelta(seconds=seconds)).where(Lock.name == name).execute()


@writing
def recall(max_wait: float, max_settling: float) -> int:
    """Make due what would wait for longer than `max_wait` seconds; return how much that is.

    For Metadata, an event waits up to `max_settling` seconds until it is asked again.

    It was written before the clock was put back, and would wait until the clock is there again.
    """
    now = utcnow()
    columns: tuple[tuple[Any, float], ...] = (
        (EventLog.due, max_wait),
        (EventLog.settle_due, max_settling),
        (EventLogMatch.due, max_wait),
        (DeferredMatch.due, max_wait),
        (Job.due, max_wait),
    )
    return sum(
        int(
            column.model.update({column: now})
            .where(column > now + timedelta(seconds=longest + _MAX_SKEW))
            .execute()
        )
        for column, longest in columns
    )
