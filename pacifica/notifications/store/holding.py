"""What becomes of the deliveries of a subscription that cannot be served, and when it can again.

While a subscription is disabled by an error, or Policy gives no verdict on its user's deliveries,
they are held. When `held_due` comes, some of what is held is released, or the oldest is tried as a
probe that tells whether the others can follow (see EventMatch.held_action).
"""

import logging
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import peewee

from pacifica.notifications.clock import utcnow
from pacifica.notifications.delivery import next_probe, single_line
from pacifica.notifications.flow import Delivery, Notice, State
from pacifica.notifications.metrics import DELIVERIES_FINISHED
from pacifica.notifications.orm import DB, EventLogMatch, EventMatch, HeldAction, reading, writing
from pacifica.notifications.settings import RecoverySettings
from pacifica.notifications.store.notices import note
from pacifica.notifications.store.revisionlog import log_revision
from pacifica.notifications.store.revisions import advance_revision
from pacifica.notifications.store.rowlocks import lock_deliveries, locking, one_of
from pacifica.notifications.subscriptions import Channel

_LOG = logging.getLogger(__name__)
UNDER_WAY = (State.MATCHED, State.ALLOWED, State.COLLECTED, State.AVAILABLE)
_UNFINISHED = (*UNDER_WAY, State.HELD)
# Others wait no longer than it takes to hold or drop so many.
_ROWS_PER_TRANSACTION = 1000


def disable(
    uuid: UUID,
    error: str,
    *,
    unmatched: bool = False,
    revision: int | None = None,
    probe_due: datetime | None = None,
    tell_owner: bool = True,
) -> bool:
    """Disable a subscription with its error; then hold its deliveries that are under way.

    If a worker is killed in between, they are due, and are held when they are claimed. With
    `revision`, only if nobody has changed it since then. If its JSONPath is the error, it is
    `unmatched`: events are not matched with it before it is enabled. `probe_due` is when it is
    probed. `tell_owner` is false where its owner is just being told. Tells whether this call is the
    one that disabled it.
    """
    unchanged = () if revision is None else (EventMatch.revision <= revision,)
    if not _is_to_disable(uuid, unmatched, unchanged):
        return False
    disabled = _disable(uuid, error, unmatched, unchanged, probe_due, tell_owner)
    if disabled:
        _LOG.warning("subscription %s is disabled: %s", uuid, single_line(error))
        hold_for_disabled([uuid])
    return disabled


def disable_unreadable(subscription: UUID) -> None:
    """Disable a subscription whose row cannot be read, as older versions left some."""
    disable(subscription, "its extensions or auth are stored as broken JSON")


@reading
def _is_to_disable(uuid: UUID, unmatched: bool, unchanged: tuple[Any, ...]) -> bool:
    """Tell whether a subscription is to be changed, before everybody's changes are locked.

    A target that fails fails often, and all of it finds the subscription disabled but the first.
    """
    concerned = EventMatch.disabled.is_null() & EventMatch.deleted.is_null()
    if unmatched:
        concerned |= EventMatch.holding
    query = EventMatch.select(EventMatch.uuid).where(EventMatch.uuid == uuid, concerned, *unchanged)
    return query.exists()


@writing
def _disable(
    uuid: UUID,
    error: str,
    unmatched: bool,
    unchanged: tuple[Any, ...],
    probe_due: datetime | None,
    tell_owner: bool,
) -> bool:
    now = utcnow()
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
        if tell_owner:
            note(uuid, Notice.DISABLED)
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


def hold_for_disabled(uuids: Collection[UUID]) -> None:
    """Hold what is under way for those of the subscriptions that are disabled, except probes.

    For one that was deleted, all is dropped. It is done in several transactions if it is much.
    """
    while _hold_some(uuids):
        pass


def hold_these(deliveries: Mapping[UUID, UUID]) -> None:
    """Do as `hold_for_disabled` for these deliveries, whose subscriptions are given.

    They are found by their ids: a busy subscription that is disabled has many others.
    """
    uuids = list(deliveries)
    for start in range(0, len(uuids), _ROWS_PER_TRANSACTION):
        some = uuids[start : start + _ROWS_PER_TRANSACTION]
        _hold_some({deliveries[uuid] for uuid in some}, one_of(EventLogMatch.uuid, some))


def drop_all(subscription: UUID) -> None:
    """Drop what a deleted subscription has under way or held."""
    while _drop_some(subscription):
        pass


@writing
def nothing_held(subscription: UUID) -> None:
    """Take note that nothing is held for a deleted subscription any more."""
    EventMatch.update(held_due=None).where(
        EventMatch.uuid == subscription, EventMatch.deleted.is_null(False)
    ).execute()


def select_for_update(condition: Any) -> EventMatch | None:
    """Return a subscription that nobody else changes before the caller's transaction ends."""
    return locking(EventMatch.select().where(condition)).get_or_none()


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
        row.held_due = now if _drop_some(subscription) else None
    elif row.held_action is HeldAction.RELEASE:
        released = _release(row, batch, now)
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
        note(row.uuid, Notice.RECOVERED)


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


def probe_failed(
    probe: Delivery, error: str, *, for_good: bool, not_before: datetime | None = None
) -> bool:
    """Hold a probe that could not be delivered; after a failure `for_good`, its owner must act.

    The next probe is not before `not_before`, if the target has asked for that. Returns False if
    the delivery is not the probe of a disabled subscription, or no longer is.
    """
    failed = _probe_failed(probe, error, for_good, not_before)
    if failed:
        hold_for_disabled([probe.subscription.uuid])
    return failed


@writing
def _probe_failed(probe: Delivery, error: str, for_good: bool, not_before: datetime | None) -> bool:
    row = _probed_by(probe)
    if row is None or row.disabled is None:
        return False
    row.error, row.updated, row.probe = _without_nul(error), utcnow(), None
    if for_good:
        row.release_at(None)
    elif not_before is not None and row.held_due is not None:
        row.held_due = max(row.held_due, not_before)
    row.save()
    return True


def _probe_next(row: EventMatch) -> None:
    row.probe_at(utcnow(), max(row.probes - 1, 1))


def _release(subscription: EventMatch, limit: int, now: datetime) -> list[UUID]:
    """Take the oldest held deliveries up again, beginning with Policy; returns their ids.

    So are those that wait to be fetched from a subscription that is not pulled any more. One that a
    worker may still be sending waits until that worker's lease is over. Part of the caller's
    transaction.
    """
    is_pulled = Channel.of(subscription.target_url) is Channel.PULL
    states = (State.HELD,) if is_pulled else (State.HELD, State.AVAILABLE)
    rows = (
        EventLogMatch.select(EventLogMatch.uuid)
        .where(EventLogMatch.event_match == subscription.uuid, EventLogMatch.state.in_(states))
        .order_by(EventLogMatch.created, EventLogMatch.uuid)
        .limit(limit)
    )
    oldest = [row.uuid for row in rows]
    if oldest:
        lock_deliveries(oldest)
        leased: Any = EventLogMatch.leased
        not_fetched: dict[str, Any] = {} if is_pulled else {"fetch_id": None}
        EventLogMatch.update(
            **not_fetched,
            state=State.MATCHED,
            due=peewee.Case(None, [(leased > now, leased)], now),
            attempts=0,
            failing=None,
            updated=now,
        ).where(EventLogMatch.uuid.in_(oldest), EventLogMatch.state.in_(states)).execute()
    return oldest


def _probe(row: EventMatch, now: datetime, recovery: RecoverySettings) -> None:
    """Try the oldest, unless one is being tried, and set the time of the next probe."""
    is_under_way = (
        EventLogMatch.select()
        .where(EventLogMatch.uuid == row.probe, EventLogMatch.state.in_(UNDER_WAY))
        .exists()
    )
    if not is_under_way:
        row.probe = next(iter(_release(row, 1, now)), None)
    if row.probe is None and row.disabled is None:  # nothing is held
        row.release_at(None)
        return
    row.probes += 1
    row.held_due = next_probe(row.probes, now, row.disabled, recovery)


def _probed_by(probe: Delivery) -> EventMatch | None:
    row = select_for_update(EventMatch.uuid == probe.subscription.uuid)
    return row if row is not None and row.probe == probe.uuid else None


@writing
def _hold_some(subscriptions: Collection[UUID], *conditions: Any) -> bool:
    """Hold some of what is under way for disabled subscriptions; tell whether there may be more.

    `conditions` are those that the deliveries fulfil.
    Their rows are locked first: one that its owner enables at the same moment either is seen as
    enabled here, or has what is held here released.
    """
    query = EventMatch.select(EventMatch.uuid, EventMatch.deleted, EventMatch.probe).where(
        EventMatch.uuid.in_(subscriptions), EventMatch.disabled.is_null(False)
    )
    rows = list(locking(query.order_by(EventMatch.uuid)))
    disabled = [row for row in rows if row.deleted is None]
    probes = [row.probe for row in disabled if row.probe is not None]
    if probes:
        conditions += (EventLogMatch.uuid.not_in(probes),)
    deleted = [row.uuid for row in rows if row.deleted is not None]
    to_drop = _some(deleted, _UNFINISHED, *conditions)
    to_hold = _some([row.uuid for row in disabled], UNDER_WAY, *conditions)
    lock_deliveries([*to_drop, *to_hold])
    _drop(to_drop)
    if to_hold:
        EventLogMatch.update(state=State.HELD, due=None, failing=None, updated=utcnow()).where(
            EventLogMatch.uuid.in_(to_hold), EventLogMatch.state.in_(UNDER_WAY)
        ).execute()
    return _ROWS_PER_TRANSACTION in (len(to_drop), len(to_hold))


@writing
def _drop_some(subscription: UUID) -> bool:
    """Drop some of what a deleted subscription has; tell whether there may be more."""
    to_drop = _some([subscription], _UNFINISHED)
    lock_deliveries(to_drop)
    _drop(to_drop)
    return len(to_drop) == _ROWS_PER_TRANSACTION


def _some(
    subscriptions: Collection[UUID], states: Collection[State], *conditions: Any
) -> list[UUID]:
    """Return some deliveries of subscriptions that are in one of the states."""
    if not subscriptions:
        return []
    query = EventLogMatch.select(EventLogMatch.uuid).where(
        EventLogMatch.event_match.in_(subscriptions), EventLogMatch.state.in_(states), *conditions
    )
    return [row.uuid for row in query.limit(_ROWS_PER_TRANSACTION)]


def _drop(uuids: Collection[UUID]) -> None:
    if not uuids:
        return
    dropped = (
        EventLogMatch.update(state=State.DROPPED, due=None, leased=None, updated=utcnow())
        .where(EventLogMatch.uuid.in_(uuids), EventLogMatch.state.in_(_UNFINISHED))
        .execute()
    )
    DB.handle().tallies.add(DELIVERIES_FINISHED, dropped, "dropped")


def _without_nul(text: str) -> str:
    """Return a text that PostgreSQL stores, which refuses NUL."""
    return text.replace("\0", "\ufffd")
