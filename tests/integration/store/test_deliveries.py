"""Deliveries on every engine: claims, leases, and what rulings and outcomes make of them."""

from datetime import datetime

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import Outcome, Ruling, State
from pacifica.notifications.orm import EventLogMatch, EventMatch
from pacifica.notifications.store import deliveries, events, holding, subscriptions
from pacifica.notifications.store.revisions import current_revision
from tests.support.stored import (
    LEASE,
    SOON,
    allowed,
    deliveries_of,
    let_leases_run_out,
    matched,
    row,
    state,
    subscribe,
    uuids_of,
)


def test_claimed_delivery_has_the_values_of_its_subscription() -> None:
    to = subscribe()
    changes = {"extensions": {"é": [1]}, "auth": {"type": "header"}}
    subscriptions.update("alice", to, lambda _stored: changes)
    event = matched(to)
    (claimed,) = deliveries.claim_matched([event], LEASE, 10)
    assert (claimed.event, claimed.attempts) == (event, 1)
    subscription = claimed.subscription
    assert (subscription.uuid, subscription.user) == (to, "alice")
    assert (subscription.extensions, subscription.auth) == ({"é": [1]}, {"type": "header"})
    assert subscription.revision == current_revision()


def test_claimed_deliveries_are_not_claimed_again_until_the_lease_ends() -> None:
    event = matched(subscribe(), subscribe())
    (first,) = deliveries.claim_matched([event], LEASE, 1)
    (second,) = deliveries.claim_matched([event], LEASE, 10)
    assert {first.uuid, second.uuid} == set(deliveries_of(event))
    assert deliveries.claim_matched([event], LEASE, 10) == []
    assert deliveries.due_matched(10) == []
    let_leases_run_out(EventLogMatch, [first.uuid])
    assert deliveries.due_matched(10) == [event]
    (again,) = deliveries.claim_matched([event], LEASE, 10)
    assert (again.uuid, again.attempts) == (first.uuid, 2)


def test_due_functions_return_what_each_stage_has_to_do() -> None:
    to, other = subscribe(), subscribe("bob")
    waiting = matched(to, other)
    _event, sendable = allowed(to, other)
    assert deliveries.due_matched(10) == [waiting]
    assert sorted(deliveries.due_allowed(10)) == sorted(sendable)
    assert len(deliveries.due_allowed(1)) == 1
    assert deliveries.claim_allowed(deliveries_of(waiting), LEASE, 1000) == []
    assert uuids_of(deliveries.claim_allowed(sendable, LEASE, 1000)) == set(sendable)
    assert deliveries.due_allowed(10) == []
    matched(to)
    assert len(deliveries.due_matched(1)) == 1
    assert len(deliveries.due_matched(10)) == 2


@pytest.mark.parametrize(
    ("ruled", "due", "expected"),
    [
        (State.ALLOWED, utcnow(), ("allowed", True, 0)),
        (State.DENIED, None, ("denied", False, 0)),
        (State.MATCHED, utcnow() + SOON, ("matched", True, 1)),
    ],
)
def test_ruling_is_recorded_with_what_policy_answered(
    ruled: State, due: datetime | None, expected: tuple[str, bool, int]
) -> None:
    event = matched(subscribe())
    (claimed,) = deliveries.claim_matched([event], LEASE, 10)
    deliveries.record_rulings([Ruling((claimed,), ruled, due, "412", "é 😀")])
    assert state(claimed.uuid) == expected
    (logged,) = events.logged([event], start=None, end=None, limit=1)
    assert (logged.matches[0].policy_status, logged.matches[0].policy_body) == ("412", "é 😀")


def test_delivery_stays_held_when_a_late_ruling_comes() -> None:
    to = subscribe()
    (claimed,) = deliveries.claim_matched([matched(to)], LEASE, 10)
    holding.disable(to, "broken")
    deliveries.record_rulings([Ruling((claimed,), State.ALLOWED, utcnow(), "200", "")])
    assert state(claimed.uuid)[0] == "held"


def test_delivered_outcome_is_recorded_whatever_became_of_the_delivery() -> None:
    to = subscribe()
    event, uuids = allowed(to)
    (claimed,) = deliveries.claim_allowed(uuids, LEASE, 1000)
    holding.disable(to, "broken")
    deliveries.record_outcomes([Outcome(claimed, True, None, "200", "thanks")])
    assert state(claimed.uuid) == ("delivered", False, 1)
    (logged,) = events.logged([event], start=None, end=None, limit=1)
    assert (logged.matches[0].target_status, logged.matches[0].target_body) == ("200", "thanks")


def test_failed_outcome_of_an_earlier_try_does_not_count() -> None:
    _event, uuids = allowed(subscribe())
    (slow,) = deliveries.claim_allowed(uuids, LEASE, 1000)
    let_leases_run_out(EventLogMatch, uuids)
    (later,) = deliveries.claim_allowed(uuids, LEASE, 1000)
    deliveries.record_outcomes([Outcome(slow, False, utcnow(), "500", "")])
    assert deliveries.due_allowed(10) == []
    deliveries.record_outcomes([Outcome(later, True, None, "200", "")])
    deliveries.record_outcomes([Outcome(slow, False, utcnow(), "500", "")])
    assert state(slow.uuid) == ("delivered", False, 2)


def test_outcome_is_no_attempt_when_nothing_was_sent() -> None:
    _event, uuids = allowed(subscribe())
    (claimed,) = deliveries.claim_allowed(uuids, LEASE, 1000)
    deliveries.record_outcomes([Outcome(claimed, False, utcnow(), "", "closed", tried=False)])
    (again,) = deliveries.claim_allowed(uuids, LEASE, 1000)
    assert again.attempts == 1


def test_outcome_with_an_error_disables_and_holds() -> None:
    to = subscribe()
    _event, uuids = allowed(to)
    also = matched(to)
    (claimed,) = deliveries.claim_allowed(uuids, LEASE, 1000)
    deliveries.record_outcomes([Outcome(claimed, False, utcnow(), "404", "no", "gone é\0")])
    found = row(EventMatch, to)
    assert (found.error, found.holding) == ("gone é\ufffd", True)
    assert utcnow() - SOON < found.disabled <= utcnow()
    assert state(claimed.uuid)[:2] == ("held", False)
    assert state(deliveries_of(also)[0])[:2] == ("held", False)


def test_outcome_with_an_error_does_not_disable_what_its_owner_changed() -> None:
    to = subscribe()
    _event, uuids = allowed(to)
    (claimed,) = deliveries.claim_allowed(uuids, LEASE, 1000)
    subscriptions.update("alice", to, lambda _stored: {"name": "changed"})
    deliveries.record_outcomes([Outcome(claimed, False, utcnow(), "404", "no", "gone")])
    assert row(EventMatch, to).disabled is None
    assert deliveries.due_allowed(10) == uuids


def test_delivery_is_dropped_when_its_subscription_was_deleted() -> None:
    to, other = subscribe(), subscribe()
    event = matched(to, other)
    subscriptions.delete("alice", to)
    claimed = deliveries.claim_matched([event], LEASE, 10)
    assert [each.subscription.uuid for each in claimed] == [other]
    assert sorted(state(each)[0] for each in deliveries_of(event)) == ["dropped", "matched"]
