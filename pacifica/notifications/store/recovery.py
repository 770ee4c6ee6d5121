"""Handing on what is held: one delivery that tells whether others can follow, or all of them.

A subscription that an outage disabled, or for which deliveries are held because Policy gave no
verdict, is probed: `probes` is the number of the probe that is due at `held_due`. With 0 what is
held is released, some at a time.
"""

from datetime import datetime
from uuid import UUID

from pacifica.notifications.clock import utcnow
from pacifica.notifications.delivery.retries import next_probe
from pacifica.notifications.flow import Delivery
from pacifica.notifications.orm.models import EventLogMatch, EventMatch
from pacifica.notifications.orm.transaction import reading, writing
from pacifica.notifications.settings import Settings
from pacifica.notifications.store.holding import UNDER_WAY, hand_on, hold_for_disabled, locked
from pacifica.notifications.store.revisions import advance_revision


@reading
def due_held(limit: int) -> list[UUID]:
    """Return subscriptions of which something held is to be handed on, longest waiting first."""
    rows = EventMatch.select(EventMatch.uuid).where(EventMatch.held_due <= utcnow())
    return [row.uuid for row in rows.order_by(EventMatch.held_due).limit(limit)]


@writing
def hand_on_held(subscription: UUID, settings: Settings) -> None:
    """Release some of what is held for a subscription, or probe it with the oldest."""
    now = utcnow()
    row = locked(EventMatch.uuid == subscription)
    if row is None or row.held_due is None or row.held_due > now:
        return
    if row.deleted is not None:
        row.held_due = None
    elif row.probes == 0:
        released = hand_on(subscription, settings.holding.release_batch, now)
        row.held_due = now if len(released) == settings.holding.release_batch else None
    else:
        _probe(row, now, settings)
    row.save()


@writing
def probe_from(subscription: UUID, due: datetime) -> None:
    """Probe an enabled subscription from `due` on: deliveries are about to be held for it."""
    row = locked(EventMatch.uuid == subscription)
    if row is None or row.disabled is not None or row.deleted is not None:
        return
    if row.probes == 0:
        row.probe, row.probes, row.held_due = None, 1, due
        row.save()


@writing
def probe_arrived(probe: Delivery) -> None:
    """Enable a subscription whose probe was delivered, and have the others follow."""
    # First, as whoever else changes a subscription does: the other order would be a deadlock.
    revision = advance_revision()
    row = _probed(probe)
    if row is None:
        return
    if row.disabled is not None:
        row.disabled, row.error, row.holding = None, None, False
        row.updated, row.revision = utcnow(), revision
    _release(row)
    row.save()


@writing
def probe_was_ruled(probe: Delivery, *, allowed: bool) -> None:
    """Note that Policy gave its verdict on a probe.

    An enabled subscription waited for that alone. Of a disabled one, a delivery that is denied
    tells nothing: the next one is the probe.
    """
    row = _probed(probe)
    if row is None:
        return
    if row.disabled is None:
        _release(row)
    elif not allowed:
        row.probe, row.held_due, row.probes = None, utcnow(), max(row.probes - 1, 1)
    row.save()


@writing
def probe_failed(
    probe: Delivery, error: str, *, for_good: bool, not_before: datetime | None = None
) -> bool:
    """Hold a probe that could not be delivered; after a failure `for_good`, its owner must act.

    The next one is not `not_before`, where the target has asked for that.
    False where it is not the probe of a disabled subscription, or not any more.
    """
    row = _probed(probe)
    if row is None or row.disabled is None:
        return False
    row.error, row.updated, row.probe = error.replace("\0", "\ufffd"), utcnow(), None
    if for_good:
        row.held_due, row.probes = None, 0
    elif not_before is not None and row.held_due is not None:
        row.held_due = max(row.held_due, not_before)
    row.save()
    hold_for_disabled([row.uuid])
    return True


def _probe(row: EventMatch, now: datetime, settings: Settings) -> None:
    """Try the oldest, unless one is being tried, and set the time of the next probe."""
    under_way = (
        EventLogMatch.select()
        .where(EventLogMatch.uuid == row.probe, EventLogMatch.state.in_(UNDER_WAY))
        .exists()
    )
    if not under_way:
        row.probe = next(iter(hand_on(row.uuid, 1, now)), None)
    if row.probe is None and row.disabled is None:  # nothing is held
        row.probes, row.held_due = 0, None
        return
    row.probes += 1
    row.held_due = next_probe(row.probes, now, row.disabled, settings.recovery)


def _probed(probe: Delivery) -> EventMatch | None:
    row = locked(EventMatch.uuid == probe.subscription.uuid)
    return row if row is not None and row.probe == probe.uuid else None


def _release(row: EventMatch) -> None:
    row.probe, row.probes, row.held_due = None, 0, utcnow()
