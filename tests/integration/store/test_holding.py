"""Holding on every engine: disabling, releasing, and the bounds on what is held."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.config import load_settings
from pacifica.notifications.flow import Outcome, State
from pacifica.notifications.orm import EventLogMatch, EventMatch
from pacifica.notifications.settings import Settings
from pacifica.notifications.store import deliveries, expiring, holding, subscriptions
from pacifica.notifications.store.revisions import current_revision
from tests.integration.store.recovering import (
    answered,
    claim_for_policy,
    claim_to_send,
    enable,
    failed,
    held,
    one,
    probe,
    rule,
    states,
    sweep,
)
from tests.support.stored import (
    LEASE,
    allowed,
    deliveries_of,
    let_leases_run_out,
    matched,
    release_or_probe,
    row,
    state,
    subscribe,
    uuids_of,
    write,
)


def test_disable_happens_once_and_only_to_what_is_enabled() -> None:
    to, other, gone = subscribe(), subscribe(), subscribe()
    subscriptions.delete("alice", gone)
    before = current_revision()
    assert holding.disable(to, "first")
    assert current_revision() == row(EventMatch, to).revision == before + 1
    assert not holding.disable(to, "second")
    assert not holding.disable(gone, "error")
    assert not holding.disable(uuid4(), "error")
    assert row(EventMatch, to).error == "first"
    assert row(EventMatch, other).disabled is None
    assert row(EventMatch, gone).disabled is None


def test_disable_changes_no_revision_when_the_subscription_is_disabled_already() -> None:
    to = subscribe()
    assert holding.disable(to, "first")
    before = current_revision()
    assert not holding.disable(to, "second")
    assert not holding.disable(uuid4(), "error")
    assert current_revision() == before
    assert not holding.disable(to, "its JSONPath failed", unmatched=True)
    assert row(EventMatch, to).unmatched
    assert current_revision() == before + 1


def test_disable_with_a_revision_only_when_nothing_changed_since() -> None:
    to = subscribe()
    seen = row(EventMatch, to).revision
    subscriptions.update("alice", to, lambda _stored: {"name": "changed"})
    assert not holding.disable(to, "error", revision=seen)
    assert holding.disable(to, "error", revision=row(EventMatch, to).revision)


def test_what_is_held_is_released_when_its_owner_enables_the_subscription() -> None:
    to, other = subscribe(), subscribe()
    (held, kept) = (deliveries_of(matched(each))[0] for each in (to, other))
    _event, (sendable,) = allowed(to)
    holding.disable(to, "error")
    holding.disable(other, "error")
    assert [state(each)[:2] for each in (held, sendable, kept)] == [("held", False)] * 3
    assert deliveries.due_matched(10) == []
    subscriptions.update("alice", to, lambda _stored: {"error": None})
    assert state(held)[0] == "held"
    enabled = {"disabled": None, "error": None}
    subscriptions.update("alice", to, lambda _stored: enabled)
    assert holding.due_held(10) == [to]
    release_or_probe(to, load_settings())
    assert [state(each) for each in (held, sendable)] == [("matched", True, 0)] * 2
    assert state(kept)[0] == "held"
    assert holding.due_held(10) == []
    assert len(deliveries.due_matched(10)) == 2


def test_released_delivery_waits_while_a_worker_may_be_sending_it(settings: Settings) -> None:
    to = subscribe()
    (sending,), (waiting,) = (allowed(to)[1] for _ in range(2))
    leased = claim_to_send(sending).leased
    holding.disable(to, "error")
    enable(to)
    sweep(settings)
    assert states([sending, waiting]) == ["matched"] * 2
    assert row(EventLogMatch, sending).due == leased
    assert row(EventLogMatch, waiting).due <= utcnow()


def test_released_delivery_waits_no_longer_when_its_worker_has_failed_to_send_it(
    settings: Settings,
) -> None:
    to = subscribe()
    _event, (sending,) = allowed(to)
    claimed = claim_to_send(sending)
    holding.disable(to, "error")
    failed(claimed)
    enable(to)
    sweep(settings)
    assert state(sending) == ("matched", True, 0)
    assert row(EventLogMatch, sending).due <= utcnow()


def test_released_delivery_waits_no_longer_when_its_worker_found_it_disabled(
    settings: Settings,
) -> None:
    to = subscribe()
    _event, (delivery,) = allowed(to)
    write(EventMatch, [to], disabled=utcnow(), error="error", holding=True)
    assert deliveries.claim_allowed([delivery], LEASE, 1000) == []
    assert state(delivery)[0] == "held"
    enable(to)
    sweep(settings)
    assert row(EventLogMatch, delivery).due <= utcnow()


def test_late_answer_of_an_earlier_claim_says_nothing_about_a_released_delivery(
    settings: Settings,
) -> None:
    to = subscribe()
    _event, (delivery,) = allowed(to)
    late = claim_to_send(delivery)
    holding.disable(to, "error")
    enable(to)
    sweep(settings)
    let_leases_run_out(EventLogMatch, [delivery])
    rule(claim_for_policy(delivery), State.ALLOWED)
    claimed = claim_to_send(delivery)
    assert claimed.attempts == late.attempts
    again = Outcome(late, False, utcnow(), "503", "")
    deliveries.record_outcomes([again])
    assert deliveries.claim_allowed([delivery], LEASE, 1000) == []
    deliveries.record_outcomes([replace(again, delivery=claimed)])
    assert uuids_of(deliveries.claim_allowed([delivery], LEASE, 1000)) == {delivery}


@pytest.mark.parametrize("deleted", [False, True], ids=["disabled", "deleted"])
def test_all_is_held_or_dropped_when_it_is_more_than_one_transaction_takes(
    monkeypatch: pytest.MonkeyPatch, deleted: bool
) -> None:
    monkeypatch.setattr(holding, "_ROWS_PER_TRANSACTION", 2)
    to, other = subscribe(), subscribe()
    many = [one(matched(to)) for _ in range(5)]
    apart = one(matched(other))
    gone = utcnow() if deleted else None
    write(EventMatch, [to, other], disabled=utcnow(), error="error")
    write(EventMatch, [to], deleted=gone)
    holding.hold_for_disabled([to, other])
    assert states(many) == ["dropped" if deleted else "held"] * 5
    assert states([apart]) == ["held"]


def test_what_a_deleted_subscription_left_is_dropped_a_batch_at_a_time(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr(holding, "_ROWS_PER_TRANSACTION", 2)
    to, many = held(3)
    write(EventMatch, [to], deleted=utcnow(), held_due=utcnow())
    for left in (1, 0):
        assert holding.due_held(10) == [to]
        sweep(settings)
        assert states(many).count("held") == left
    assert holding.due_held(10) == []


def test_hold_for_disabled_leaves_enabled_subscriptions_alone() -> None:
    to, other = subscribe(), subscribe()
    event = matched(to, other)
    write(EventMatch, [to], disabled=utcnow())
    holding.hold_for_disabled([to, other])
    assert sorted(state(each)[0] for each in deliveries_of(event)) == ["held", "matched"]


def test_oldest_beyond_the_limit_expire_for_each_subscription(settings: Settings) -> None:
    _first, many = held(5)
    _second, few = held(2)
    third, released = held(4)
    enable(third)
    sweep(settings)
    sweep(settings)
    assert expiring.expire(2, 3600.0) == 3
    assert states(many) == ["expired"] * 3 + ["held"] * 2
    assert states(few) == ["held"] * 2
    assert states(released) == ["matched"] * 4
    assert expiring.expire(2, 3600.0) == 0
    assert state(many[0])[:2] == ("expired", False)


def test_all_expire_when_they_are_more_than_one_transaction_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(expiring, "_ROWS_PER_TRANSACTION", 2)
    _first, many = held(8)
    assert expiring.expire(3, 3600.0) == 5
    assert states(many) == ["expired"] * 5 + ["held"] * 3
    assert expiring.expire(3, 0.0) == 3
    assert states(many) == ["expired"] * 8


def test_delivery_expires_when_its_match_is_too_long_ago() -> None:
    _subscription, (old, young) = held(2)
    write(EventLogMatch, [old], created=utcnow() - timedelta(seconds=3600))
    write(EventLogMatch, [young], created=utcnow() - timedelta(seconds=3500))
    assert expiring.expire(100, 3550.0) == 1
    assert states([old, young]) == ["expired", "held"]


def test_what_is_under_way_does_not_expire_however_old_it_is(settings: Settings) -> None:
    subscription, (first, second) = held(2)
    under_way = probe(subscription, settings)
    other = one(matched(subscribe()))
    write(EventLogMatch, [first, other], created=utcnow() - timedelta(days=365))
    assert expiring.expire(1, 3600.0) == 0
    assert states([first, second, other]) == ["allowed", "held", "matched"]
    answered(under_way)
    assert state(first)[0] == "delivered"


def test_expired_delivery_is_not_released_when_its_owner_enables(settings: Settings) -> None:
    subscription, (first, second) = held(2)
    assert expiring.expire(1, 3600.0) == 1
    enable(subscription)
    sweep(settings)
    assert states([first, second]) == ["expired", "matched"]
