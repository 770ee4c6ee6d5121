"""Which events were there before: the first of each source and id is stored, and no other one."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from pacifica.notifications.clock import utcnow
from pacifica.notifications.events import Event, identity
from pacifica.notifications.orm.bulk import insert_rows
from pacifica.notifications.orm.models import DB, Identity
from pacifica.notifications.orm.transaction import reading, writing
from pacifica.notifications.store.events import record_batch

_AT_ONCE = 500


@writing
def record_first(events: Sequence[Event], window: float) -> list[UUID]:
    """Store those events that are the first of their source and id within `window` seconds.

    Returns the id of each one's first, which is its own where it was stored; all that are stored
    are on disk then. Those that name no version are all stored.
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


def forget(window: float, most: int) -> int:
    """Forget who was first more than `window` seconds ago; return how many, `most` at most."""
    before = utcnow() - timedelta(seconds=window)
    old = _of_before(before, most)
    return sum(
        _forget_some(old[start : start + _AT_ONCE], before)
        for start in range(0, len(old), _AT_ONCE)
    )


@reading
def _of_before(before: datetime, most: int) -> list[str]:
    old = Identity.select(Identity.digest).where(Identity.created < before).limit(most)
    return sorted(row.digest for row in old)


@writing
def _forget_some(digests: Sequence[str], before: datetime) -> int:
    # One of them may have begun anew in the meantime.
    still = Identity.created < before
    return Identity.delete().where(Identity.digest.in_(digests), still).execute()


def _claim(claimed: Mapping[str, UUID], now: datetime, before: datetime) -> dict[str, UUID]:
    """Return whose each digest is in this transaction: the claiming event's, or an earlier one's.

    Whoever claims the same at this moment waits for this transaction to end. All take the rows in
    one order, so that no two wait for each other.
    """
    digests = sorted(claimed)
    rows = [{"digest": each, "event": claimed[each], "created": now} for each in digests]
    insert_rows(Identity, rows, unless_stored=True)
    owners: dict[str, UUID] = {}
    for start in range(0, len(digests), _AT_ONCE):
        query: Any = Identity.select(Identity.digest, Identity.event, Identity.created)
        query = query.where(Identity.digest.in_(digests[start : start + _AT_ONCE]))
        query = query.order_by(Identity.digest)
        if DB.for_update:
            query = query.for_update()
        for digest, event, created in list(query.tuples()):
            owners[digest] = event
            if created < before:
                owners[digest] = claimed[digest]
                Identity.update(event=claimed[digest], created=now).where(
                    Identity.digest == digest
                ).execute()
    return owners


def _digest(event: Event) -> str:
    """Return what tells an event from others; empty for one that names no version."""
    own = identity(event)
    return sha256(json.dumps(own).encode()).hexdigest() if own else ""
