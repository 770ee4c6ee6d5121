"""Deliveries: each is one event for one subscription, claimed by workers until it is answered."""

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import peewee

from pacifica.notifications.clock import utcnow
from pacifica.notifications.events import Event
from pacifica.notifications.flow import Cause, Delivery, Outcome, Ruling, State
from pacifica.notifications.metrics import DELIVERIES_FINISHED, LEASES_EXPIRED
from pacifica.notifications.orm import DB, EventLogMatch, reading, writing
from pacifica.notifications.store.attempts import record_attempts
from pacifica.notifications.store.claims import claim
from pacifica.notifications.store.events import events_by_uuid
from pacifica.notifications.store.holding import (
    UNDER_WAY,
    disable,
    disable_unreadable,
    hold_these,
    probe_arrived,
    probe_failed,
    probe_from,
    probe_was_given_up,
    probe_was_ruled,
)
from pacifica.notifications.store.pulling import make_available
from pacifica.notifications.store.revisions import read_subscriptions
from pacifica.notifications.store.rowlocks import lock_deliveries, one_of


class ClaimedRow(NamedTuple):
    """The row of a claimed delivery; `attempts` counts this one."""

    uuid: UUID
    event: UUID
    subscription: UUID
    attempts: int
    failing: datetime | None
    tries: int = 0
    cause: Cause = Cause.AUTOMATIC


def claim_matched(events: Collection[UUID], lease: float, limit: int) -> list[Delivery]:
    """Claim deliveries of the events that wait for Policy's verdict, for `lease` seconds."""
    rows, _leased = _claim(State.MATCHED, EventLogMatch.event_log.in_(events), lease, limit)
    return deliverable(rows, None)


def claim_allowed(uuids: Collection[UUID], lease: float, limit: int) -> list[Delivery]:
    """Claim those of the deliveries that wait to be sent, for `lease` seconds."""
    rows, leased = _claim(State.ALLOWED, EventLogMatch.uuid.in_(uuids), lease, limit)
    return deliverable(rows, leased)


def deliverable(rows: Sequence[ClaimedRow], leased: datetime | None) -> list[Delivery]:
    """Return claimed deliveries whose subscription can be served; drop or hold the others.

    `leased` is until when the caller may send them, and None if it asks Policy first.
    """
    if not rows:
        return []
    subscriptions = read_subscriptions({row.subscription for row in rows})
    deliveries = []
    disabled = {}
    for row in rows:
        subscription = subscriptions[row.subscription]
        is_probe = subscription.probe == row.uuid
        if subscription.deleted:
            _drop(row.uuid)
        elif subscription.disabled and not is_probe:
            disabled[row.uuid] = row.subscription
        elif subscription.value is None:
            disable_unreadable(row.subscription)
            disabled[row.uuid] = row.subscription
        elif leased is not None and subscription.value.is_pulled:
            make_available(row.uuid)
        else:
            deliveries.append(
                Delivery(
                    row.uuid,
                    row.event,
                    row.attempts,
                    subscription.value,
                    row.failing,
                    leased,
                    is_probe,
                    row.tries,
                    Cause.PROBE if is_probe else row.cause,
                )
            )
    if disabled:
        if leased is not None:
            _end_leases(list(disabled), leased)
        hold_these(disabled)
    return deliveries


def matched_row(uuid: UUID, event: UUID, subscription: UUID, now: datetime) -> dict[str, Any]:
    """Return the row of a delivery that waits for Policy's verdict."""
    return {
        "uuid": uuid,
        "event_log": event,
        "event_match": subscription,
        "state": State.MATCHED,
        "due": now,
        "leased": None,
        "attempts": 0,
        "failing": None,
        "policy_status_code": "",
        "policy_resp_body": "",
        "target_status_code": "",
        "target_resp_body": "",
        "created": now,
        "updated": now,
        "tries": 0,
        "cause": Cause.AUTOMATIC,
    }


@reading
def due_matched(limit: int) -> list[UUID]:
    """Return events of which unclaimed deliveries wait for Policy, oldest first."""
    rows = (
        EventLogMatch.select(EventLogMatch.event_log)
        .where(EventLogMatch.due <= utcnow(), EventLogMatch.state == State.MATCHED)
        .group_by(EventLogMatch.event_log)
        .order_by(peewee.fn.MIN(EventLogMatch.created))
    )
    return [row.event_log_id for row in rows.limit(limit)]


@reading
def due_allowed(limit: int) -> list[UUID]:
    """Return unclaimed deliveries that wait to be sent, longest waiting first."""
    rows = EventLogMatch.select(EventLogMatch.uuid).where(
        EventLogMatch.due <= utcnow(), EventLogMatch.state == State.ALLOWED
    )
    return [row.uuid for row in rows.order_by(EventLogMatch.due).limit(limit)]


def events_of(deliveries: Iterable[Delivery]) -> dict[UUID, Event]:
    """Return the events of deliveries by their ids, without those that were purged meanwhile."""
    return events_by_uuid({delivery.event for delivery in deliveries})


def record_rulings(rulings: Sequence[Ruling]) -> None:
    """Store what Policy answered; deliveries that were held meanwhile stay held."""
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
        elif outcome.given_up and outcome.delivery.probe:
            probe_was_given_up(outcome.delivery)


def _fail(outcome: Outcome, error: str) -> None:
    delivery = outcome.delivery
    subscription = delivery.subscription
    for_good = outcome.probe_due is None
    if delivery.probe and probe_failed(
        delivery, error, for_good=for_good, not_before=outcome.not_before
    ):
        return
    if not disable(
        subscription.uuid, error, revision=subscription.revision, probe_due=outcome.probe_due
    ):
        hold_these({delivery.uuid: subscription.uuid})


@writing
def _hold_for_policy(ruling: Ruling, probe_due: datetime) -> None:
    # In one transaction: a sweep in between would find nothing held, and not come again.
    for subscription in sorted({delivery.subscription.uuid for delivery in ruling.deliveries}):
        probe_from(subscription, probe_due)
    lock_deliveries(delivery.uuid for delivery in ruling.deliveries)
    _record_verdict(ruling, utcnow())


@writing
def _record_verdicts(rulings: Sequence[Ruling]) -> None:
    lock_deliveries(delivery.uuid for ruling in rulings for delivery in ruling.deliveries)
    now = utcnow()
    for ruling in rulings:
        if ruling.state is State.MATCHED:
            _schedule_retry(ruling, now)
        else:
            _record_verdict(ruling, now)


def _schedule_retry(ruling: Ruling, now: datetime) -> None:
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
            # Whoever claimed the delivery after this worker's lease is asking already.
            EventLogMatch.attempts == attempts,
        ).execute()


def _record_verdict(ruling: Ruling, now: datetime) -> None:
    alike = defaultdict(list)
    for each in ruling.deliveries:
        alike[ruling.state_of(each), ruling.due_of(each)].append(each.uuid)
    for (state, due), uuids in alike.items():
        _enter(state, due, uuids, ruling, now)


def _enter(
    state: State, due: datetime | None, uuids: list[UUID], ruling: Ruling, now: datetime
) -> None:
    # After a release, somebody may still have what is allowed: the lease stays on record.
    lease: dict[str, Any] = {"leased": None} if state is State.DENIED else {}
    changed = (
        EventLogMatch.update(
            **lease,
            state=state,
            due=due,
            attempts=0,
            failing=None,
            policy_status_code=ruling.status,
            policy_resp_body=ruling.body,
            updated=now,
        )
        .where(
            EventLogMatch.uuid.in_(uuids),
            EventLogMatch.state == State.MATCHED,
        )
        .execute()
    )
    if state is State.DENIED:
        DB.handle().tallies.add(DELIVERIES_FINISHED, changed, "denied")


@writing
def _record_answers(outcomes: Sequence[Outcome]) -> None:
    states = lock_deliveries(outcome.delivery.uuid for outcome in outcomes)
    now = utcnow()
    # Of what was purged since, nothing is left that would ever delete an attempt.
    record_attempts(each for each in outcomes if each.delivery.uuid in states)
    delivered = defaultdict(list)
    failed = defaultdict(list)
    for outcome in outcomes:
        if outcome.delivered:
            delivered[outcome.status, outcome.body].append(outcome.delivery.uuid)
        else:
            failed[_failure(outcome)].append(outcome)
    for alike in failed.values():  # thousands, when a host's queue is full
        _record_failures(alike, states, now)
    for (status, body), uuids in delivered.items():
        # This is true whoever else has claimed the deliveries since, and whatever became of them.
        changed = (
            EventLogMatch.update(
                state=State.DELIVERED,
                due=None,
                leased=None,
                target_status_code=status,
                target_resp_body=body,
                updated=now,
                tries=EventLogMatch.tries + 1,
            )
            .where(one_of(EventLogMatch.uuid, uuids))
            .execute()
        )
        DB.handle().tallies.add(DELIVERIES_FINISHED, changed, "delivered")


def _failure(outcome: Outcome) -> Hashable:
    """Return what is the same for outcomes that `_record_failures` records together."""
    delivery = outcome.delivery
    claim = delivery.leased, delivery.attempts, delivery.failing
    due = outcome.due and outcome.due.replace(microsecond=0)
    made = outcome.attempt is not None
    return claim, outcome.tried, made, outcome.given_up, due, outcome.status, outcome.body


def _record_failures(
    outcomes: Sequence[Outcome], states: Mapping[UUID, State], now: datetime
) -> None:
    """Record outcomes that differ only in their id, and in their time by less than a second.

    `states` are those of their deliveries, which are locked.
    """
    uuids = [each.delivery.uuid for each in outcomes]
    if waiting := [uuid for uuid in uuids if states.get(uuid) is State.ALLOWED]:
        _record_failure(outcomes, waiting, now)
    if held := [uuid for uuid in uuids if states.get(uuid) is State.HELD]:
        EventLogMatch.update(leased=None).where(
            EventLogMatch.uuid.in_(held), EventLogMatch.leased == outcomes[0].delivery.leased
        ).execute()


def _record_failure(outcomes: Sequence[Outcome], uuids: Collection[UUID], now: datetime) -> None:
    outcome, delivery = outcomes[0], outcomes[0].delivery
    ended: dict[str, Any] = {"state": State.FAILED} if outcome.given_up else {}
    changed = (
        EventLogMatch.update(
            **ended,
            due=max(filter(None, (each.due for each in outcomes)), default=None),
            leased=None,
            attempts=delivery.attempts if outcome.tried else delivery.attempts - 1,
            failing=(delivery.failing or now) if outcome.tried else delivery.failing,
            target_status_code=outcome.status,
            target_resp_body=outcome.body,
            updated=now,
            tries=EventLogMatch.tries + (outcome.attempt is not None),
        )
        # A later attempt, by whoever claimed the delivery after this lease, knows better.
        .where(EventLogMatch.uuid.in_(uuids), EventLogMatch.leased == delivery.leased)
        .execute()
    )
    if outcome.given_up:
        DB.handle().tallies.add(DELIVERIES_FINISHED, changed, "failed")


@writing
def _claim(
    state: State, condition: Any, lease: float, limit: int
) -> tuple[list[ClaimedRow], datetime]:
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
            EventLogMatch.tries,
            EventLogMatch.cause,
            EventLogMatch.leased,
        ),
        now=now,
        lease=lease,
        order=EventLogMatch.created,
        limit=limit,
        also=also,
    )
    claimed = [
        ClaimedRow(uuid, event, subscription, attempts + 1, failing, tries, Cause(cause))
        for uuid, event, subscription, attempts, failing, tries, cause, _leased in rows
    ]
    if state is State.ALLOWED:
        expired = sum(before is not None for *_, before in rows)
        DB.handle().tallies.add(LEASES_EXPIRED, expired, "delivery")
    return claimed, leased


@writing
def _end_leases(uuids: Collection[UUID], leased: datetime) -> None:
    """Record that the caller does not send what it has claimed."""
    lock_deliveries(uuids)
    EventLogMatch.update(leased=None).where(
        EventLogMatch.uuid.in_(uuids), EventLogMatch.leased == leased
    ).execute()


@writing
def _drop(uuid: UUID) -> None:
    dropped = (
        EventLogMatch.update(state=State.DROPPED, due=None, leased=None, updated=utcnow())
        .where(EventLogMatch.uuid == uuid, EventLogMatch.state.in_(UNDER_WAY))
        .execute()
    )
    DB.handle().tallies.add(DELIVERIES_FINISHED, dropped, "dropped")
