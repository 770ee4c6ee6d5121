"""Deduplication: of events with the same source and id, only the first one is stored."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from pacifica.notifications.clock import utcnow
from pacifica.notifications.events import Event, identity
from pacifica.notifications.orm import DB, FirstEvent, insert_rows, reading, writing
from pacifica.notifications.store.events import record_batch

_DIGESTS_PER_STATEMENT = 500


@writing
def record_first(events: Sequence[Event], window: float) -> list[UUID]:
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
    record_batch([event for event, uuid in zip(events, firsts, strict=True) if event.uuid == uuid])
    return firsts


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
    rows = [{"digest": each, "event": claimed[each], "created": now} for each in digests]
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
                FirstEvent.update(event=claimed[digest], created=now).where(
                    FirstEvent.digest == digest
                ).execute()
    return owners


def _digest(event: Event) -> str:
    """Return a hash of source and id; empty for an event that names no version."""
    own = identity(event)
    return sha256(json.dumps(own).encode()).hexdigest() if own else ""
