"""Subscriptions that are to recover, and the steps on their way."""

from datetime import datetime, timedelta
from uuid import UUID

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import Delivery, Outcome, Ruling, State
from pacifica.notifications.orm import EventLogMatch, EventMatch, reading
from pacifica.notifications.settings import Settings
from pacifica.notifications.store import deliveries, holding, subscriptions
from tests.support.stored import (
    LEASE,
    deliveries_of,
    matched,
    release_or_probe,
    row,
    state,
    subscribe,
    write,
)

WAITS = (100.0, 1000.0, 5000.0)


def held(count: int, *, probed: bool = True) -> tuple[UUID, list[UUID]]:
    """Store a subscription that a failure disabled, and what is held for it, oldest first."""
    subscription = subscribe()
    old = [one(matched(subscription)) for _ in range(count)]
    for age, delivery in enumerate(reversed(old), start=1):
        write(EventLogMatch, [delivery], created=utcnow() - timedelta(minutes=age))
    due = utcnow() + timedelta(seconds=WAITS[0])
    assert holding.disable(subscription, "an outage", probe_due=due if probed else None)
    assert states(old) == ["held"] * count
    return subscription, old


def held_for_policy(count: int, settings: Settings) -> tuple[UUID, list[UUID]]:
    """Store an enabled subscription for which deliveries are held since Policy gave no verdict."""
    subscription = subscribe()
    old = [one(matched(subscription)) for _ in range(count)]
    for age, delivery in enumerate(reversed(old), start=1):
        write(EventLogMatch, [delivery], created=utcnow() - timedelta(minutes=age))
    due = utcnow() + timedelta(seconds=settings.recovery.waits[0])
    for delivery in old:
        rule(claim_for_policy(delivery), State.HELD, due)
    assert states(old) == ["held"] * count
    return subscription, old


def one(event: UUID) -> UUID:
    (delivery,) = deliveries_of(event)
    return delivery


def states(uuids: list[UUID]) -> list[str]:
    return [state(each)[0] for each in uuids]


@reading
def event_of(delivery: UUID) -> UUID:
    return EventLogMatch.get_by_id(delivery).event_log_id


def claim_for_policy(delivery: UUID) -> Delivery:
    (claimed,) = deliveries.claim_matched([event_of(delivery)], LEASE, 10)
    assert claimed.uuid == delivery
    return claimed


def claim_to_send(delivery: UUID) -> Delivery:
    (claimed,) = deliveries.claim_allowed([delivery], LEASE, 1000)
    return claimed


def rule(delivery: Delivery, given: State, probe_due: datetime | None = None) -> None:
    due = utcnow() if given is State.ALLOWED else None
    deliveries.record_rulings([Ruling((delivery,), given, due, "", "", probe_due)])


def answered(delivery: Delivery) -> None:
    deliveries.record_outcomes([Outcome(delivery, True, None, "200", "")])


def failed(delivery: Delivery, error: str = "again", *, for_good: bool = False) -> None:
    probe_due = None if for_good else utcnow() + timedelta(seconds=WAITS[0])
    deliveries.record_outcomes(
        [Outcome(delivery, False, utcnow(), "503", "", error, probe_due=probe_due)]
    )


def enable(subscription: UUID) -> None:
    changes = {"disabled": None, "error": None}
    assert subscriptions.update("alice", subscription, lambda _stored: changes)


def let_held_be_due(subscription: UUID) -> None:
    assert row(EventMatch, subscription).held_due is not None
    write(EventMatch, [subscription], held_due=utcnow() - timedelta(seconds=1))


def sweep(settings: Settings) -> None:
    """Release or probe what is due, once, as a worker does."""
    for subscription in holding.due_held(100):
        release_or_probe(subscription, settings)


def probe(subscription: UUID, settings: Settings) -> Delivery:
    """Let the time of the next probe come; returns the probe as one that is to be sent."""
    let_held_be_due(subscription)
    sweep(settings)
    claimed = claim_for_policy(row(EventMatch, subscription).probe)
    rule(claimed, State.ALLOWED)
    return claim_to_send(claimed.uuid)


def waits(subscription: UUID) -> float | None:
    """Return how long the next probe waits, in whole tens of seconds."""
    due = row(EventMatch, subscription).held_due
    return None if due is None else round((due - utcnow()).total_seconds(), -1)
