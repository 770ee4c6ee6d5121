"""What is on record of an event and a subscription."""

from typing import Any
from uuid import UUID

from pacifica.notifications.explanation import (
    DeferralFacts,
    DeliveryFacts,
    EventFacts,
    PairFacts,
    RevisionFacts,
    SubscriptionFacts,
)
from pacifica.notifications.flow import Settlement
from pacifica.notifications.orm import (
    Attempt,
    DeferredMatch,
    EventLog,
    EventMatch,
    reading,
)
from pacifica.notifications.store.deduplication import copies_of
from pacifica.notifications.store.events import events_by_uuid
from pacifica.notifications.store.history import LoggedDelivery, delivery_of_event
from pacifica.notifications.store.revisionlog import LoggedRevision, revision_at, revisions_after

# Of the changes of a subscription after an event, so many are looked at.
_MAX_LATER = 200


@reading
def facts_of(subscription: UUID, event: UUID) -> PairFacts | None:
    """Return all that is known of an event and a subscription; None if one is not on record.

    What moves on meanwhile is read in the order in which it moves.
    """
    about = _event(event)
    subscribed = _subscription(subscription)
    if about is None or subscribed is None:
        return None
    deferral = _deferral(subscription, event)
    delivery = delivery_of_event(subscription, event)
    then: RevisionFacts | None = None
    later: tuple[RevisionFacts, ...] = ()
    if about.revision is not None:
        found = revision_at(subscription, about.revision)
        if found is not None:
            then = _revision(found)
            after = revisions_after(subscription, found.revision, _MAX_LATER)
            later = tuple(map(_revision, after))
    stored = events_by_uuid([event]).get(event)
    copies = None if stored is None else copies_of(stored)
    return PairFacts(
        about,
        subscribed,
        then,
        later,
        None if delivery is None else _delivery(delivery),
        deferral,
        copies.count if copies else 0,
        copies.newest if copies else None,
    )


def _event(uuid: UUID) -> EventFacts | None:
    columns = EventLog.created, EventLog.due, EventLog.revision
    rows: Any = EventLog.select(*columns, EventLog.settlement, EventLog.settled)
    for created, due, revision, settlement, settled in rows.where(EventLog.uuid == uuid).tuples():
        # An event that did not wait for Metadata is settled as soon as it is received.
        went_on = created if settlement is None else settled
        given_up = settlement == Settlement.EXPIRED
        return EventFacts(uuid, created, went_on, due is None, revision, given_up)
    return None


def _subscription(uuid: UUID) -> SubscriptionFacts | None:
    row = EventMatch.get_or_none(EventMatch.uuid == uuid)
    if row is None:
        return None
    return SubscriptionFacts(uuid, row.created, row.disabled, row.deleted, row.error)


def _deferral(subscription: UUID, event: UUID) -> DeferralFacts | None:
    for row in DeferredMatch.select().where(DeferredMatch.event == event):
        if subscription.hex in row.subscriptions.split():
            return DeferralFacts(row.since, row.due is None)
    return None


def _delivery(found: LoggedDelivery) -> DeliveryFacts:
    return DeliveryFacts(
        found.uuid,
        found.state,
        found.created,
        found.updated,
        found.due,
        found.attempts,
        found.failing,
        found.tries,
        found.policy_status,
        found.status,
        _first_sent(found.uuid),
    )


def _first_sent(delivery: UUID) -> Any:
    rows: Any = Attempt.select(Attempt.started).where(Attempt.delivery == delivery)
    return next((started for (started,) in rows.order_by(Attempt.started).limit(1).tuples()), None)


def _revision(found: LoggedRevision) -> RevisionFacts:
    return RevisionFacts(
        found.revision,
        found.jsonpath,
        found.disabled is not None,
        found.holding,
        found.unmatched,
        found.deleted is not None,
    )
