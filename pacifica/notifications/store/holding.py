"""What becomes of the deliveries of a subscription that cannot be served, and when it can again.

While a subscription is disabled by an error, or Policy gives no verdict on its user's deliveries,
they are held. When `held_due` comes, some of what is held is released, or the oldest is tried as a
probe that tells whether the others can follow (see EventMatch.held_action).
"""

import logging
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import peewee

from pacifica.notifications.clock import utcnow
from pacifica.notifications.delivery import next_probe, single_line
from pacifica.notifications.flow import Delivery, State
from pacifica.notifications.metrics import DELIVERIES_FINISHED
from pacifica.notifications.orm import DB, EventLogMatch, EventMatch, HeldAction, reading, writing
from pacifica.notifications.settings import RecoverySettings
from pacifica.notifications.store.revisionlog import log_revision
from pacifica.notifications.store.revisions import advance_revision

_LOG = logging.getLogger(__name__)
UNDER_WAY = (State.MATCHED, State.ALLOWED)
_ROWS_PER_EXPIRY = 1000


def disable(
    uuid: UUID,
    error: str,
    *,
    unmatched: bool = False,
    revision: int | None = None,
    probe_due: datetime | None = None,
) -> bool:
    """Disable a subscription with its error and hold its deliveries that are under way.

    With `revision`, only if nobody has changed it since then. If its JSONPath is the error, it is
    `unmatched`: events are not matched with it before it is enabled. `probe_due` is when it is
    probed. Tells whether this call is the one that disabled it.
    """
    disabled = _disable(uuid, error, unmatched, revision, probe_due)
    if disabled:
        _LOG.warning("subscription %s is disabled: %s", uuid, single_line(error))
    return disabled


@writing
def _disable(
    uuid: UUID, error: str, unmatched: bool, revision: int | None, probe_due: datetime | None
) -> bool:
    now = utcnow()
    unchanged = () if revision is None else (EventMatch.revision <= revision,)
    newest = advance_revision()
    changed = (
        EventMatch.update(
            disabled=now,
            error=_without_nul(error),
            updated=now,
            holding=True,
            unmatched=unmatched,
            held_due=probe_due,
            probe=None,
            probes=0 if probe_due is None else 1,
            revision=newest,
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
        log_revision(uuid, "failed")
        _hold([uuid], now)
    elif unmatched:  # another error has disabled it before
        also = EventMatch.update(
            unmatched=True,
            error=_without_nul(error),
            held_due=None,
            probe=None,
            probes=0,
            revision=newest,
        ).where(EventMatch.uuid == uuid, EventMatch.holding, *unchanged)
        if also.execute():
            log_revision(uuid, "failed")
    return bool(changed)


@writing
def hold_for_disabled(uuids: Collection[UUID]) -> None:
    """Hold what is under way for those of the subscriptions that are disabled, except probes.

    Their rows are locked first: one that its owner enables at the same moment either is seen as
    enabled here, or has what is held here released. For one that was deleted, all is dropped.
    """
    query = EventMatch.select(EventMatch.uuid, EventMatch.deleted).where(
        EventMatch.uuid.in_(uuids), EventMatch.disabled.is_null(False)
    )
    rows = list(query.for_update() if DB.for_update else query)
    now = utcnow()
    for row in rows:
        if row.deleted is not None:
            drop_all(row.uuid)
    disabled = [row.uuid for row in rows if row.deleted is None]
    if disabled:
        _hold(disabled, now)


@writing
def drop_all(subscription: UUID) -> None:
    """Drop what a deleted subscription has under way or held."""
    dropped = (
        EventLogMatch.update(state=State.DROPPED, due=None, leased=None, updated=utcnow())
        .where(
            EventLogMatch.event_match == subscription,
            EventLogMatch.state.in_((*UNDER_WAY, State.HELD)),
        )
        .execute()
    )
    DB.handle().tallies.add(DELIVERIES_FINISHED, dropped, "dropped")


@writing
def nothing_held(subscription: UUID) -> None:
    """Take note that nothing is held for a deleted subscription any more."""
    EventMatch.update(held_due=None).where(
        EventMatch.uuid == subscription, EventMatch.deleted.is_null(False)
    ).execute()


def select_for_update(condition: Any) -> EventMatch | None:
    """Return a subscription that nobody else changes before the caller's transaction ends."""
    query = EventMatch.select().where(condition)
    return (query.for_update() if DB.for_update else query).get_or_none()


@reading
def due_held(limit: int) -> list[UUID]:
    """Return subscriptions whose `held_due` has come, longest waiting first."""
    rows = EventMatch.select(EventMatch.uuid).where(EventMatch.held_due <= utcnow())
    return [row.uuid for row in rows.order_by(EventMatch.held_due).limit(limit)]


@writing
def release_or_probe(subscription: UUID, batch: int, recovery: RecoverySettings) -> None:
    """Release up to `batch` held deliveries of a subscription, or probe it with the oldest."""
    now = utcnow()
    row = select_for_update(EventMatch.uuid == subscription)
    if row is None or row.held_due is None or row.held_due > now:
        return
    if row.deleted is not None:
        drop_all(subscription)
        row.held_due = None
    elif row.held_action is HeldAction.RELEASE:
        released = _release(subscription, batch, now)
        row.held_due = now if len(released) == batch else None
    else:
        _probe(row, now, recovery)
    row.save()


@writing
def probe_from(subscription: UUID, due: datetime) -> None:
    """Probe an enabled subscription from `due` on: deliveries are about to be held for it."""
    row = select_for_update(EventMatch.uuid == subscription)
    if row is None or row.disabled is not None or row.deleted is not None:
        return
    if row.held_action is HeldAction.RELEASE:
        row.probe_at(due)
        row.save()


@writing
def probe_arrived(probe: Delivery) -> None:
    """Enable a subscription whose probe was delivered, and release the other deliveries."""
    # First, as whoever else changes a subscription does: the other order would be a deadlock.
    revision = advance_revision()
    row = _probed_by(probe)
    if row is None:
        return
    if row.disabled is not None:
        row.disabled, row.error, row.holding = None, None, False
        row.updated, row.revision = utcnow(), revision
        _LOG.warning("subscription %s is enabled again: a delivery arrived", row.uuid)
    row.release_at(utcnow())
    row.save()
    if row.revision == revision:
        log_revision(row.uuid, "recovered")


@writing
def probe_was_ruled(probe: Delivery, *, allowed: bool) -> None:
    """Take note that Policy gave its verdict on a probe.

    An enabled subscription waited for nothing else. For a disabled one, a denied delivery tells
    nothing about the target: the next delivery becomes the probe.
    """
    row = _probed_by(probe)
    if row is None:
        return
    if row.disabled is None:
        row.release_at(utcnow())
    elif not allowed:
        _probe_next(row)
    row.save()


@writing
def probe_was_given_up(probe: Delivery) -> None:
    """Probe a disabled subscription with its next delivery, as this one tells nothing of it."""
    row = _probed_by(probe)
    if row is not None:
        _probe_next(row)
        row.save()


@writing
def probe_failed(
    probe: Delivery, error: str, *, for_good: bool, not_before: datetime | None = None
) -> bool:
    """Hold a probe that could not be delivered; after a failure `for_good`, its owner must act.

    The next probe is not before `not_before`, if the target has asked for that. Returns False if
    the delivery is not the probe of a disabled subscription, or no longer is.
    """
    row = _probed_by(probe)
    if row is None or row.disabled is None:
        return False
    row.error, row.updated, row.probe = _without_nul(error), utcnow(), None
    if for_good:
        row.release_at(None)
    elif not_before is not None and row.held_due is not None:
        row.held_due = max(row.held_due, not_before)
    row.save()
    hold_for_disabled([row.uuid])
    return True


def expire(max_held: int, max_age: float) -> int:
    """Give up what is held for more than `max_age` seconds, and the oldest beyond `max_held`.

    `max_held` is for each subscription. Returns how many deliveries expired; they stay on record.
    """
    expired = 0
    while batch := _expire(_too_old(max_age)):
        expired += batch
    for subscription, held in _too_many(max_held):
        for start in range(0, held - max_held, _ROWS_PER_EXPIRY):
            limit = min(held - max_held - start, _ROWS_PER_EXPIRY)
            expired += _expire(_oldest_held(subscription, limit))
    return expired


def _probe_next(row: EventMatch) -> None:
    row.probe_at(utcnow(), max(row.probes - 1, 1))


def _release(subscription: UUID, limit: int, now: datetime) -> list[UUID]:
    """Take the oldest held deliveries up again, beginning with Policy; returns their ids.

    One that a worker may still be sending waits until that worker's lease is over. Part of the
    caller's transaction.
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


def _probe(row: EventMatch, now: datetime, recovery: RecoverySettings) -> None:
    """Try the oldest, unless one is being tried, and set the time of the next probe."""
    is_under_way = (
        EventLogMatch.select()
        .where(EventLogMatch.uuid == row.probe, EventLogMatch.state.in_(UNDER_WAY))
        .exists()
    )
    if not is_under_way:
        row.probe = next(iter(_release(row.uuid, 1, now)), None)
    if row.probe is None and row.disabled is None:  # nothing is held
        row.release_at(None)
        return
    row.probes += 1
    row.held_due = next_probe(row.probes, now, row.disabled, recovery)


def _probed_by(probe: Delivery) -> EventMatch | None:
    row = select_for_update(EventMatch.uuid == probe.subscription.uuid)
    return row if row is not None and row.probe == probe.uuid else None


@reading
def _too_old(max_age: float) -> list[UUID]:
    rows = EventLogMatch.select(EventLogMatch.uuid).where(
        EventLogMatch.state == State.HELD,
        EventLogMatch.created < utcnow() - timedelta(seconds=max_age),
    )
    return [row.uuid for row in rows.limit(_ROWS_PER_EXPIRY)]


@reading
def _too_many(max_held: int) -> list[tuple[UUID, int]]:
    held = peewee.fn.COUNT(EventLogMatch.uuid)
    rows = (
        EventLogMatch.select(EventLogMatch.event_match, held.alias("held"))
        .where(EventLogMatch.state == State.HELD)
        .group_by(EventLogMatch.event_match)
        .having(held > max_held)
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
def _expire(uuids: Sequence[UUID]) -> int:
    if not uuids:
        return 0
    expired = (
        EventLogMatch.update(state=State.EXPIRED, due=None, leased=None, updated=utcnow())
        .where(EventLogMatch.uuid.in_(uuids), EventLogMatch.state == State.HELD)
        .execute()
    )
    DB.handle().tallies.add(DELIVERIES_FINISHED, expired, "expired")
    return expired


def _hold(subscriptions: Collection[UUID], now: datetime) -> None:
    probes: Any = EventMatch.select(EventMatch.probe).where(
        EventMatch.uuid.in_(subscriptions), EventMatch.probe.is_null(False)
    )
    EventLogMatch.update(state=State.HELD, due=None, failing=None, updated=now).where(
        EventLogMatch.event_match.in_(subscriptions),
        EventLogMatch.state.in_(UNDER_WAY),
        EventLogMatch.uuid.not_in(probes),
    ).execute()


def _without_nul(text: str) -> str:
    """Return a text that PostgreSQL stores, which refuses NUL."""
    return text.replace("\0", "\ufffd")
