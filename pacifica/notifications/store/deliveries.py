"""Deliveries: one event for one subscription, claimed by workers and ruled by what is answered."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import peewee

from pacifica.notifications.clock import utcnow
from pacifica.notifications.events import Event
from pacifica.notifications.flow import Delivery, Outcome, Ruling, State
from pacifica.notifications.orm.models import EventLog, EventLogMatch
from pacifica.notifications.orm.transaction import reading, writing
from pacifica.notifications.store.claims import claim
from pacifica.notifications.store.holding import disable, hold_for_disabled
from pacifica.notifications.store.recovery import (
    probe_arrived,
    probe_failed,
    probe_from,
    probe_was_ruled,
)
from pacifica.notifications.store.serving import Taken, served


def claim_matched(events: Collection[UUID], lease: float, limit: int) -> list[Delivery]:
    """Take deliveries of the events that wait for Policy's verdict."""
    taken, _leased = _claim(State.MATCHED, EventLogMatch.event_log.in_(events), lease, limit)
    return served(taken, None)


def claim_allowed(uuids: Collection[UUID], lease: float, limit: int) -> list[Delivery]:
    """Take those of the deliveries that wait to be sent."""
    taken, leased = _claim(State.ALLOWED, EventLogMatch.uuid.in_(uuids), lease, limit)
    return served(taken, leased)


@reading
def due_matched(limit: int) -> list[UUID]:
    """Return events of which deliveries wait for Policy and belong to no worker, oldest first."""
    rows = (
        EventLogMatch.select(EventLogMatch.event_log)
        .where(EventLogMatch.due <= utcnow(), EventLogMatch.state == State.MATCHED)
        .group_by(EventLogMatch.event_log)
        .order_by(peewee.fn.MIN(EventLogMatch.created))
    )
    return [row.event_log_id for row in rows.limit(limit)]


@reading
def due_allowed(limit: int) -> list[UUID]:
    """Return deliveries that wait to be sent and belong to no worker, longest waiting first."""
    rows = EventLogMatch.select(EventLogMatch.uuid).where(
        EventLogMatch.due <= utcnow(), EventLogMatch.state == State.ALLOWED
    )
    return [row.uuid for row in rows.order_by(EventLogMatch.due).limit(limit)]


@reading
def events_of(deliveries: Iterable[Delivery]) -> dict[UUID, Event]:
    """Return the events of deliveries, without those that were purged a moment ago."""
    uuids = {delivery.event for delivery in deliveries}
    columns = (EventLog.uuid, EventLog.jsondata, EventLog.hops, EventLog.specversion)
    rows: Any = EventLog.select(*columns).where(EventLog.uuid.in_(uuids)).tuples()
    return {uuid: Event(uuid, *others) for uuid, *others in rows}


def record_rulings(rulings: Sequence[Ruling]) -> None:
    """Store what Policy answered; deliveries held in the meantime stay held."""
    for ruling in rulings:
        if ruling.probe_due is not None:
            _hold_for_policy(ruling, ruling.probe_due)
    _record_verdicts([ruling for ruling in rulings if ruling.probe_due is None])
    for ruling in rulings:
        if ruling.state in (State.ALLOWED, State.DENIED):
            for delivery in ruling.deliveries:
                if delivery.probe:
                    probe_was_ruled(delivery, allowed=ruling.state is State.ALLOWED)


def record_outcomes(outcomes: Sequence[Outcome]) -> None:
    """Store what targets answered; disable subscriptions that fail, enable those that recover."""
    for outcome in outcomes:
        if outcome.delivered and outcome.delivery.probe:
            probe_arrived(outcome.delivery)  # first, since a worker may be killed in between
    _record_answers(outcomes)
    for outcome in outcomes:
        if outcome.error is not None:
            _fail(outcome, outcome.error)


def _fail(outcome: Outcome, error: str) -> None:
    delivery = outcome.delivery
    subscription = delivery.subscription
    if delivery.probe and probe_failed(
        delivery,
        error,
        for_good=outcome.probe_due is None,
        not_before=outcome.not_before,
    ):
        return
    if not disable(
        subscription.uuid, error, revision=subscription.revision, probe_due=outcome.probe_due
    ):
        hold_for_disabled([subscription.uuid])


@writing
def _hold_for_policy(ruling: Ruling, probe_due: datetime) -> None:
    # In one transaction: a sweep in between would find nothing held, and not come again.
    for subscription in sorted({delivery.subscription.uuid for delivery in ruling.deliveries}):
        probe_from(subscription, probe_due)
    _record_verdict(ruling, utcnow())


@writing
def _record_verdicts(rulings: Iterable[Ruling]) -> None:
    now = utcnow()
    for ruling in rulings:
        if ruling.state is State.MATCHED:
            _ask_again(ruling, now)
        else:
            _record_verdict(ruling, now)


def _ask_again(ruling: Ruling, now: datetime) -> None:
    by_attempts = defaultdict(list)
    for delivery in ruling.deliveries:
        by_attempts[delivery.attempts].append(delivery.uuid)
    for attempts, uuids in by_attempts.items():
        EventLogMatch.update(
            due=ruling.due,
            failing=peewee.fn.COALESCE(EventLogMatch.failing, now),
            policy_status_code=ruling.status,
            policy_resp_body=ruling.body,
            updated=now,
        ).where(
            EventLogMatch.uuid.in_(uuids),
            EventLogMatch.state == State.MATCHED,
            # Whoever took the delivery when this one's lease ran out is asking already.
            EventLogMatch.attempts == attempts,
        ).execute()


def _record_verdict(ruling: Ruling, now: datetime) -> None:
    # Who may still be sending what is allowed, as it is after a release, goes on being known.
    over: dict[str, Any] = {"leased": None} if ruling.state is State.DENIED else {}
    EventLogMatch.update(
        **over,
        state=ruling.state,
        due=ruling.due,
        attempts=0,
        failing=None,
        policy_status_code=ruling.status,
        policy_resp_body=ruling.body,
        updated=now,
    ).where(
        EventLogMatch.uuid.in_([delivery.uuid for delivery in ruling.deliveries]),
        EventLogMatch.state == State.MATCHED,
    ).execute()


@writing
def _record_answers(outcomes: Iterable[Outcome]) -> None:
    now = utcnow()
    arrived = defaultdict(list)
    untried = defaultdict(list)
    for outcome in outcomes:
        delivery = outcome.delivery
        if outcome.delivered:
            arrived[outcome.status, outcome.body].append(delivery.uuid)
        elif outcome.tried:
            _record_failures([outcome], now)
        else:
            claim_of = (delivery.leased, delivery.attempts, delivery.failing)
            untried[claim_of, outcome.status, outcome.body].append(outcome)
    for alike in untried.values():  # thousands, where a host has more than can wait for it
        _record_failures(alike, now)
    for (status, body), uuids in arrived.items():
        # True whoever else has taken the deliveries since, or whatever became of them.
        EventLogMatch.update(
            state=State.DELIVERED,
            due=None,
            leased=None,
            target_status_code=status,
            target_resp_body=body,
            updated=now,
        ).where(EventLogMatch.uuid.in_(uuids)).execute()


def _record_failures(outcomes: Sequence[Outcome], now: datetime) -> None:
    """Record outcomes that differ in nothing but id and time."""
    outcome, delivery = outcomes[0], outcomes[0].delivery
    # A later try, by whoever took the delivery when this one's lease ran out, knows better.
    this_claim = (
        EventLogMatch.uuid.in_([each.delivery.uuid for each in outcomes]),
        EventLogMatch.leased == delivery.leased,
    )
    EventLogMatch.update(
        due=max(filter(None, (each.due for each in outcomes)), default=None),
        leased=None,
        attempts=delivery.attempts if outcome.tried else delivery.attempts - 1,
        failing=(delivery.failing or now) if outcome.tried else delivery.failing,
        target_status_code=outcome.status,
        target_resp_body=outcome.body,
        updated=now,
    ).where(*this_claim, EventLogMatch.state == State.ALLOWED).execute()
    EventLogMatch.update(leased=None).where(
        *this_claim, EventLogMatch.state == State.HELD
    ).execute()


@writing
def _claim(state: State, condition: Any, lease: float, limit: int) -> tuple[list[Taken], datetime]:
    now = utcnow()
    leased = now + timedelta(seconds=lease)
    also: dict[Any, Any] = {EventLogMatch.attempts: EventLogMatch.attempts + 1}
    if state is State.ALLOWED:
        also[EventLogMatch.leased] = leased
    rows = claim(
        EventLogMatch,
        EventLogMatch.state == state,
        condition,
        columns=(
            EventLogMatch.uuid,
            EventLogMatch.event_log,
            EventLogMatch.event_match,
            EventLogMatch.attempts,
            EventLogMatch.failing,
        ),
        now=now,
        lease=lease,
        order=EventLogMatch.created,
        limit=limit,
        also=also,
    )
    taken = [
        Taken(uuid, event, subscription, attempts + 1, failing)
        for uuid, event, subscription, attempts, failing in rows
    ]
    return taken, leased
