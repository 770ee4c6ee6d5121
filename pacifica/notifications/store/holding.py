"""What becomes of deliveries when their subscription is disabled or enabled again."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import peewee

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import State
from pacifica.notifications.orm.models import DB, EventLogMatch, EventMatch
from pacifica.notifications.orm.transaction import reading, writing
from pacifica.notifications.store.revisions import advance_revision

UNDER_WAY = (State.MATCHED, State.ALLOWED)
_ROWS_PER_EXPIRY = 1000


@writing
def disable(
    uuid: UUID,
    error: str,
    *,
    holding: bool = True,
    revision: int | None = None,
    probe_due: datetime | None = None,
) -> bool:
    """Disable a subscription with its error and hold what is under way for it.

    With `revision`, only if its owner has not changed it since then. Without `holding`, what
    matches from now on is not kept. `probe_due` is when it is tried again by itself. Tells whether
    this call is the one that disabled it.
    """
    now = utcnow()
    unchanged = () if revision is None else (EventMatch.revision == revision,)
    changed = (
        EventMatch.update(
            disabled=now,
            error=_storable(error),
            updated=now,
            holding=holding,
            held_due=probe_due,
            probe=None,
            probes=0 if probe_due is None else 1,
            revision=advance_revision(),
        )
        .where(
            EventMatch.uuid == uuid,
            EventMatch.disabled.is_null(),
            EventMatch.deleted.is_null(),
            *unchanged,
        )
        .execute()
    )
    if changed:
        _hold([uuid], now)
    return bool(changed)


@writing
def hold_for_disabled(uuids: Collection[UUID]) -> None:
    """Hold what is under way for those of the subscriptions that are disabled, but their probes.

    Their rows are locked first: one that its owner enables at the same moment either is seen as
    enabled here, or has what is held here released. For one that was deleted, all is dropped.
    """
    query = EventMatch.select(EventMatch.uuid, EventMatch.deleted).where(
        EventMatch.uuid.in_(uuids), EventMatch.disabled.is_null(False)
    )
    if DB.for_update:
        query = query.for_update()
    rows = list(query)
    now = utcnow()
    for row in rows:
        if row.deleted is not None:
            drop_all(row.uuid, now)
    disabled = [row.uuid for row in rows if row.deleted is None]
    if disabled:
        _hold(disabled, now)


def drop_all(subscription: UUID, now: datetime) -> None:
    """Drop what a deleted subscription has under way or held; part of its deletion."""
    EventLogMatch.update(state=State.DROPPED, due=None, leased=None, updated=now).where(
        EventLogMatch.event_match == subscription,
        EventLogMatch.state.in_((*UNDER_WAY, State.HELD)),
    ).execute()


def locked(condition: Any) -> EventMatch | None:
    """Return the subscription that nobody else changes before the caller's transaction ends."""
    query = EventMatch.select().where(condition)
    if DB.for_update:
        query = query.for_update()
    return query.get_or_none()


def hand_on(subscription: UUID, limit: int, now: datetime) -> list[UUID]:
    """Take the oldest that is held for a subscription up again, Policy first; returns what it is.

    What a worker may still send waits until that one's lease is over. Part of the caller's
    transaction.
    """
    rows = (
        EventLogMatch.select(EventLogMatch.uuid)
        .where(EventLogMatch.event_match == subscription, EventLogMatch.state == State.HELD)
        .order_by(EventLogMatch.created, EventLogMatch.uuid)
        .limit(limit)
    )
    oldest = [row.uuid for row in rows]
    if oldest:
        leased: Any = EventLogMatch.leased
        EventLogMatch.update(
            state=State.MATCHED,
            due=peewee.Case(None, [(leased > now, leased)], now),
            attempts=0,
            failing=None,
            updated=now,
        ).where(EventLogMatch.uuid.in_(oldest), EventLogMatch.state == State.HELD).execute()
    return oldest


def expire(most: int, seconds: float) -> int:
    """Give up what is held for longer than `seconds`, and the oldest of what is over `most`.

    `most` is for each subscription. Returns how many deliveries that were; each is on record.
    """
    expired = 0
    while some := _expire_some(_too_old(seconds)):
        expired += some
    for subscription, held in _too_many(most):
        for start in range(0, held - most, _ROWS_PER_EXPIRY):
            limit = min(held - most - start, _ROWS_PER_EXPIRY)
            expired += _expire_some(_oldest_held(subscription, limit))
    return expired


@reading
def _too_old(seconds: float) -> list[UUID]:
    rows = EventLogMatch.select(EventLogMatch.uuid).where(
        EventLogMatch.state == State.HELD,
        EventLogMatch.created < utcnow() - timedelta(seconds=seconds),
    )
    return [row.uuid for row in rows.limit(_ROWS_PER_EXPIRY)]


@reading
def _too_many(most: int) -> list[tuple[UUID, int]]:
    held = peewee.fn.COUNT(EventLogMatch.uuid)
    rows = (
        EventLogMatch.select(EventLogMatch.event_match, held.alias("held"))
        .where(EventLogMatch.state == State.HELD)
        .group_by(EventLogMatch.event_match)
        .having(held > most)
    )
    counted: Any = rows.tuples()
    return list(counted)


@reading
def _oldest_held(subscription: UUID, limit: int) -> list[UUID]:
    rows = EventLogMatch.select(EventLogMatch.uuid).where(
        EventLogMatch.event_match == subscription, EventLogMatch.state == State.HELD
    )
    return [row.uuid for row in rows.order_by(EventLogMatch.created).limit(limit)]


@writing
def _expire_some(uuids: Sequence[UUID]) -> int:
    return (
        EventLogMatch.update(state=State.EXPIRED, due=None, leased=None, updated=utcnow())
        .where(EventLogMatch.uuid.in_(uuids), EventLogMatch.state == State.HELD)
        .execute()
        if uuids
        else 0
    )


def _hold(subscriptions: Collection[UUID], now: datetime) -> None:
    probes: Any = EventMatch.select(EventMatch.probe).where(
        EventMatch.uuid.in_(subscriptions), EventMatch.probe.is_null(False)
    )
    EventLogMatch.update(state=State.HELD, due=None, failing=None, updated=now).where(
        EventLogMatch.event_match.in_(subscriptions),
        EventLogMatch.state.in_(UNDER_WAY),
        EventLogMatch.uuid.not_in(probes),
    ).execute()


def _storable(text: str) -> str:
    return text.replace("\0", "\ufffd")
