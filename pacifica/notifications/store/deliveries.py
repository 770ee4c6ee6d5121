"""Deliveries: one event for one subscription, claimed by workers and ruled by what is answered."""

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any
from uuid import UUID

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import Delivery, Outcome, Ruling, State
from pacifica.notifications.orm.models import EventLog, EventLogMatch, EventMatch
from pacifica.notifications.orm.transaction import reading, writing
from pacifica.notifications.store.claims import claim
from pacifica.notifications.store.holding import disable, hold_for_disabled
from pacifica.notifications.subscriptions import Subscription


def claim_matched(events: Collection[UUID], lease: float, limit: int) -> list[Delivery]:
    """Take deliveries of the events that wait for Policy's verdict."""
    return _alive(_claim(State.MATCHED, EventLogMatch.event_log.in_(events), lease, limit))


def claim_allowed(uuids: Collection[UUID], lease: float) -> list[Delivery]:
    """Take those of the deliveries that wait to be sent."""
    return _alive(_claim(State.ALLOWED, EventLogMatch.uuid.in_(uuids), lease, len(uuids)))


@reading
def due_matched(limit: int) -> list[UUID]:
    """Return events of which deliveries wait for Policy and belong to no worker."""
    rows = EventLogMatch.select(EventLogMatch.event_log).where(
        EventLogMatch.due <= utcnow(), EventLogMatch.state == State.MATCHED
    )
    return [row.event_log_id for row in rows.distinct().limit(limit)]


@reading
def due_allowed(limit: int) -> list[UUID]:
    """Return deliveries that wait to be sent and belong to no worker, longest waiting first."""
    rows = EventLogMatch.select(EventLogMatch.uuid).where(
        EventLogMatch.due <= utcnow(), EventLogMatch.state == State.ALLOWED
    )
    return [row.uuid for row in rows.order_by(EventLogMatch.due).limit(limit)]


@reading
def event_texts(uuids: Collection[UUID]) -> dict[UUID, str]:
    """Return the JSON texts of events."""
    rows = EventLog.select(EventLog.uuid, EventLog.jsondata).where(EventLog.uuid.in_(uuids))
    return {row.uuid: row.jsondata for row in rows}


@writing
def record_rulings(rulings: Iterable[Ruling]) -> None:
    """Store what Policy answered; deliveries held in the meantime stay held."""
    now = utcnow()
    for ruling in rulings:
        attempts = EventLogMatch.attempts if ruling.state is State.MATCHED else 0
        EventLogMatch.update(
            state=ruling.state,
            due=ruling.due,
            attempts=attempts,
            policy_status_code=ruling.status,
            policy_resp_body=ruling.body,
            updated=now,
        ).where(
            EventLogMatch.uuid.in_(ruling.deliveries), EventLogMatch.state == State.MATCHED
        ).execute()


def record_outcomes(outcomes: Sequence[Outcome]) -> None:
    """Store what targets answered, and disable the subscriptions that cannot be delivered."""
    _record_answers(outcomes)
    for outcome in outcomes:
        if outcome.error is not None:
            subscription = outcome.delivery.subscription
            if not disable(subscription.uuid, outcome.error, revision=subscription.revision):
                hold_for_disabled([subscription.uuid])


@writing
def _record_answers(outcomes: Iterable[Outcome]) -> None:
    now = utcnow()
    for outcome in outcomes:
        delivery = outcome.delivery
        answered = {"target_status_code": outcome.status, "target_resp_body": outcome.body}
        row = EventLogMatch.uuid == delivery.uuid
        if outcome.delivered:
            # True whoever else has taken the delivery since, or whatever became of it.
            EventLogMatch.update(state=State.DELIVERED, due=None, updated=now, **answered).where(
                row
            ).execute()
        else:
            # A later try, by whoever took the delivery when this one's lease ran out, knows better.
            attempts = delivery.attempts if outcome.tried else delivery.attempts - 1
            EventLogMatch.update(due=outcome.due, attempts=attempts, updated=now, **answered).where(
                row,
                EventLogMatch.state == State.ALLOWED,
                EventLogMatch.attempts == delivery.attempts,
            ).execute()


@writing
def _claim(state: State, condition: Any, lease: float, limit: int) -> Sequence[EventLogMatch]:
    return claim(
        EventLogMatch,
        EventLogMatch.state == state,
        condition,
        now=utcnow(),
        lease=lease,
        order=EventLogMatch.created,
        limit=limit,
        also={EventLogMatch.attempts: EventLogMatch.attempts + 1},
    )


def _alive(rows: Sequence[EventLogMatch]) -> list[Delivery]:
    """Return those whose subscription can be served; drop, hold or disable for the others."""
    if not rows:
        return []
    known = _subscriptions({row.event_match_id for row in rows})
    deliveries = []
    disabled = set()
    for row in rows:
        subscription = known[row.event_match_id]
        if subscription.deleted is not None:
            _drop(row.uuid)
        elif subscription.disabled is not None:
            disabled.add(subscription.uuid)
        else:
            try:
                value = _value(subscription)
            except (ValueError, RecursionError):
                disable(subscription.uuid, "its extensions or auth are stored as broken JSON")
                continue
            deliveries.append(Delivery(row.uuid, row.event_log_id, row.attempts + 1, value))
    if disabled:
        hold_for_disabled(disabled)
    return deliveries


@reading
def _subscriptions(uuids: Collection[UUID]) -> dict[UUID, EventMatch]:
    return {row.uuid: row for row in EventMatch.select().where(EventMatch.uuid.in_(uuids))}


@writing
def _drop(uuid: UUID) -> None:
    EventLogMatch.update(state=State.DROPPED, due=None, updated=utcnow()).where(
        EventLogMatch.uuid == uuid
    ).execute()


def _value(row: EventMatch) -> Subscription:
    extensions, auth = (json.loads(text or "{}") for text in (row.extensions, row.auth))
    if not isinstance(extensions, dict) or not isinstance(auth, dict):
        raise ValueError("not an object")
    return Subscription(row.uuid, row.user, row.target_url, extensions, auth, row.revision)
