"""Deduplication: of events with the same source and id, only the first one is stored."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import compress
from typing import Any
from uuid import UUID

from pacifica.notifications.clock import utcnow
from pacifica.notifications.events import Event, identity
from pacifica.notifications.orm import DB, FirstEvent, insert_rows, reading, writing
from pacifica.notifications.store.events import record_batch

_DIGESTS_PER_STATEMENT = 500


@dataclass(frozen=True)
class Copies:
    """How many events with the source and id of another one were not stored, and when last."""

    count: int = 0
    newest: datetime | None = None


@writing
def record_first(
    events: Sequence[Event], window: float, settle_after: float | None = None
) -> list[UUID]:
    """Store those events that are the first of their source and id within `window` seconds.

    Returns, for each event, the id of the first one, which is its own if it was stored; those are
    on disk then. Events that name no version have no such identity and are all stored.
    """
    now = utcnow()
    digests = [_digest(event) for event in events]
    claimed: dict[str, UUID] = {}
    for event, digest in zip(events, digests, strict=True):
        if digest:
            claimed.setdefault(digest, event.uuid)
    owners = _claim(claimed, now, now - timedelta(seconds=window))
    firsts = [
        owners[digest] if digest else event.uuid
        for event, digest in zip(events, digests, strict=True)
    ]
    is_first = [event.uuid == uuid for event, uuid in zip(events, firsts, strict=True)]
    record_batch(list(compress(events, is_first)), settle_after)
    _count_copies(Counter(each for each, first in zip(digests, is_first, strict=True) if not first))
    return firsts


@reading
def copies_of(event: Event) -> Copies:
    """Return how often an event came again, as far as the service still knows of its identity."""
    digest = _digest(event)
    row = FirstEvent.get_or_none(digest=digest, event=event.uuid) if digest else None
    return Copies() if row is None else Copies(row.copies, row.copied)


def forget(window: float, limit: int) -> int:
    """Forget up to `limit` first events that are older than `window` seconds; return how many."""
    before = utcnow() - timedelta(seconds=window)
    old = _older_than(before, limit)
    return sum(
        _forget_batch(old[start : start + _DIGESTS_PER_STATEMENT], before)
        for start in range(0, len(old), _DIGESTS_PER_STATEMENT)
    )


@reading
def _older_than(before: datetime, limit: int) -> list[str]:
    old = FirstEvent.select(FirstEvent.digest).where(FirstEvent.created < before).limit(limit)
    return sorted(row.digest for row in old)


@writing
def _forget_batch(digests: Sequence[str], before: datetime) -> int:
    # One of them may have been claimed by a new event meanwhile.
    is_still_old = FirstEvent.created < before
    return FirstEvent.delete().where(FirstEvent.digest.in_(digests), is_still_old).execute()


def _claim(claimed: Mapping[str, UUID], now: datetime, before: datetime) -> dict[str, UUID]:
    """Return the owner of each digest: the event that claims it here, or an earlier one.

    Whoever claims the same digest at this moment waits for this transaction to end. All claim in
    the same order, so that no two wait for each other.
    """
    digests = sorted(claimed)
    rows = [
        {"digest": each, "event": claimed[each], "created": now, "copies": 0, "copied": None}
        for each in digests
    ]
    insert_rows(FirstEvent, rows, unless_stored=True)
    owners: dict[str, UUID] = {}
    for start in range(0, len(digests), _DIGESTS_PER_STATEMENT):
        query: Any = FirstEvent.select(FirstEvent.digest, FirstEvent.event, FirstEvent.created)
        query = query.where(FirstEvent.digest.in_(digests[start : start + _DIGESTS_PER_STATEMENT]))
        query = query.order_by(FirstEvent.digest)
        if DB.for_update:
            query = query.for_update()
        for digest, event, created in list(query.tuples()):
            owners[digest] = event
            if created < before:
                owners[digest] = claimed[digest]
                FirstEvent.update(event=claimed[digest], created=now, copies=0, copied=None).where(
                    FirstEvent.digest == digest
                ).execute()
    return owners


def _count_copies(digests: Counter[str]) -> None:
    """Count the events that were not stored; their rows are locked already."""
    for digest, count in sorted(digests.items()):
        FirstEvent.update(copies=FirstEvent.copies + count, copied=utcnow()).where(
            FirstEvent.digest == digest
        ).execute()


def _digest(event: Event) -> str:
    """Return a hash of source and id; empty for an event that names no version."""
    own = identity(event)
    return sha256(json.dumps(own).encode()).hexdigest() if own else ""
