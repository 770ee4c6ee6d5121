"""Probes on every engine: what an outage disabled recovers by itself, or by its owner."""

from datetime import timedelta

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import Ruling, State
from pacifica.notifications.orm import EventLogMatch, EventMatch
from pacifica.notifications.settings import Settings
from pacifica.notifications.store import deliveries, events, holding, subscriptions
from pacifica.notifications.store.revisions import current_revision
from tests.integration.store.recovering import (
    answered,
    claim_for_policy,
    claim_to_send,
    enable,
    event_of,
    failed,
    held,
    let_held_be_due,
    one,
    probe,
    rule,
    states,
    sweep,
    waits,
)
from tests.support import databases
from tests.support.stored import (
    LEASE,
    SOON,
    let_leases_run_out,
    matched,
    release_or_probe,
    row,
    state,
    write,
)

ONLY_SERVERS = pytest.mark.parametrize("engine", databases.ON_SERVERS, indirect=True)


def test_nothing_is_released_or_probed_before_it_is_due(settings: Settings) -> None:
    subscription, (delivery,) = held(1)
    assert holding.due_held(10) == []
    release_or_probe(subscription, settings)
    assert state(delivery)[0] == "held"
    assert row(EventMatch, subscription).probes == 1


def test_oldest_held_becomes_the_probe_when_it_is_due(settings: Settings) -> None:
    subscription, (oldest, *others) = held(3)
    let_held_be_due(subscription)
    assert holding.due_held(10) == [subscription]
    sweep(settings)
    assert state(oldest) == ("matched", True, 0)
    assert states(others) == ["held", "held"]
    assert row(EventMatch, subscription).probe == oldest
    claimed = claim_for_policy(oldest)
    assert (claimed.probe, claimed.attempts, claimed.failing) == (True, 1, None)


def test_due_held_gives_the_longest_waiting_first_and_no_more_than_asked(
    settings: Settings,
) -> None:
    found = [held(1)[0] for _ in range(3)]
    for age, subscription in enumerate(found):
        write(EventMatch, [subscription], held_due=utcnow() - timedelta(seconds=1 + age))
    assert holding.due_held(10) == found[::-1]
    assert holding.due_held(2) == found[:0:-1]
    sweep(settings)
    assert holding.due_held(10) == []


def test_schedule_moves_on_with_each_probe_until_its_horizon(settings: Settings) -> None:
    subscription, (delivery,) = held(1)
    seen = [waits(subscription)]
    for _ in range(3):
        failed(probe(subscription, settings))
        assert state(delivery)[0] == "held"
        seen.append(waits(subscription))
    assert seen == [100, 1000, 5000, 5000]
    long_ago = utcnow() - timedelta(seconds=settings.recovery.horizon)
    write(EventMatch, [subscription], disabled=long_ago)
    failed(probe(subscription, settings))
    assert waits(subscription) is None
    sweep(settings)
    assert state(delivery)[0] == "held"
    assert row(EventMatch, subscription).disabled == long_ago


def test_last_probe_before_the_horizon_still_enables_when_it_arrives(settings: Settings) -> None:
    subscription, (first, second) = held(2)
    write(
        EventMatch, [subscription], disabled=utcnow() - timedelta(seconds=settings.recovery.horizon)
    )
    last = probe(subscription, settings)
    assert waits(subscription) is None
    answered(last)
    sweep(settings)
    assert states([first, second]) == ["delivered", "matched"]
    assert row(EventMatch, subscription).disabled is None


def test_probe_that_arrives_enables_and_clears_the_error(settings: Settings) -> None:
    subscription, (delivery,) = held(1)
    before = current_revision()
    answered(probe(subscription, settings))
    found = row(EventMatch, subscription)
    assert (found.disabled, found.error, found.holding) == (None, None, False)
    assert (found.probe, found.probes) == (None, 0)
    assert found.revision == current_revision() == before + 1
    assert state(delivery)[0] == "delivered"


def test_others_are_released_in_batches_oldest_first_when_the_probe_arrives(
    settings: Settings,
) -> None:
    subscription, (_probe, *others) = held(6)
    answered(probe(subscription, settings))
    released = []
    for _ in range(4):
        released.append(states(others).count("matched"))
        assert states(others) == ["matched"] * released[-1] + ["held"] * (5 - released[-1])
        sweep(settings)
    assert released == [0, 2, 4, 5]
    assert waits(subscription) is None
    assert len(deliveries.due_matched(10)) == 5


def test_release_ends_when_the_last_batch_was_a_full_one(settings: Settings) -> None:
    subscription, (_probe, *others) = held(3)
    answered(probe(subscription, settings))
    sweep(settings)
    assert states(others) == ["matched", "matched"]
    assert holding.due_held(10) == [subscription]
    sweep(settings)
    assert holding.due_held(10) == []


def test_probe_that_fails_says_why_holds_and_keeps_the_schedule(settings: Settings) -> None:
    subscription, (oldest, other) = held(2)
    disabled = row(EventMatch, subscription).disabled
    before = current_revision()
    failed(probe(subscription, settings), "still down é\0")
    found = row(EventMatch, subscription)
    assert (found.error, found.disabled) == ("still down é\ufffd", disabled)
    assert (found.probe, found.probes, found.holding) == (None, 2, True)
    assert waits(subscription) == 1000
    assert current_revision() == before  # matching goes on as it was
    assert states([oldest, other]) == ["held", "held"]
    assert probe(subscription, settings).uuid == oldest


def test_nothing_is_probed_again_when_the_probe_failed_for_good(settings: Settings) -> None:
    subscription, (delivery,) = held(1)
    failed(probe(subscription, settings), "gone", for_good=True)
    found = row(EventMatch, subscription)
    assert (found.error, found.held_due, found.probe, found.probes) == ("gone", None, None, 0)
    assert found.disabled is not None
    sweep(settings)
    assert state(delivery)[:2] == ("held", False)
    enable(subscription)
    sweep(settings)
    assert state(delivery) == ("matched", True, 0)


def test_nothing_is_probed_when_the_failure_that_disabled_was_for_good(settings: Settings) -> None:
    subscription, (delivery,) = held(1, probed=False)
    assert row(EventMatch, subscription).held_due is None
    release_or_probe(subscription, settings)
    assert state(delivery)[0] == "held"


def test_next_one_is_the_probe_at_once_when_policy_denies_the_first(settings: Settings) -> None:
    subscription, (first, second, third) = held(3)
    let_held_be_due(subscription)
    sweep(settings)
    rule(claim_for_policy(first), State.DENIED)
    assert row(EventMatch, subscription).disabled is not None
    sweep(settings)
    assert states([first, second, third]) == ["denied", "matched", "held"]
    assert row(EventMatch, subscription).probe == second
    assert waits(subscription) == 1000


def test_probe_waits_for_policy_when_it_gives_no_verdict(settings: Settings) -> None:
    subscription, (first, second) = held(2)
    let_held_be_due(subscription)
    sweep(settings)
    again = Ruling((claim_for_policy(first),), State.MATCHED, utcnow() + SOON, "500", "")
    deliveries.record_rulings([again])
    let_held_be_due(subscription)
    sweep(settings)
    assert row(EventMatch, subscription).probe == first
    assert state(first) == ("matched", True, 1)
    assert state(second)[0] == "held"


def test_probe_is_not_joined_by_another_when_it_takes_longer_than_the_wait(
    settings: Settings,
) -> None:
    subscription, (first, second) = held(2)
    slow = probe(subscription, settings)
    let_held_be_due(subscription)
    sweep(settings)
    assert row(EventMatch, subscription).probe == slow.uuid == first
    assert states([first, second]) == ["allowed", "held"]
    assert waits(subscription) == 5000
    answered(slow)
    assert row(EventMatch, subscription).disabled is None


def test_probe_is_claimed_by_another_worker_when_its_own_died(settings: Settings) -> None:
    subscription, (delivery,) = held(1)
    lost = probe(subscription, settings)
    assert deliveries.claim_allowed([delivery], LEASE, 1000) == []
    let_leases_run_out(EventLogMatch, [delivery])
    again = claim_to_send(delivery)
    assert (again.probe, again.attempts) == (True, lost.attempts + 1)
    answered(again)
    assert row(EventMatch, subscription).disabled is None


def test_what_matches_meanwhile_is_held_beside_the_probe_that_is_under_way(
    settings: Settings,
) -> None:
    subscription, (first,) = held(1)
    under_way = probe(subscription, settings)
    new = matched(subscription)
    assert deliveries.claim_matched([new], LEASE, 10) == []
    assert states([first, one(new)]) == ["allowed", "held"]
    answered(under_way)
    sweep(settings)
    assert states([first, one(new)]) == ["delivered", "matched"]


@pytest.mark.parametrize("given", [State.MATCHED, State.ALLOWED])
def test_probe_under_way_is_never_held_with_the_others(settings: Settings, given: State) -> None:
    subscription, (first, second) = held(2)
    other = one(matched(subscription))
    let_held_be_due(subscription)
    sweep(settings)
    write(EventLogMatch, [first, other], state=given)
    holding.hold_for_disabled([subscription])
    assert states([first, second, other]) == [given, "held", "held"]


def test_next_probe_is_another_when_the_event_of_the_first_was_purged(settings: Settings) -> None:
    subscription, (first, second) = held(2)
    gone = probe(subscription, settings)
    assert events.purge([event_of(first)], None) == 1
    failed(gone)
    assert probe(subscription, settings).uuid == second


def test_probes_go_on_when_the_purged_one_never_answers(settings: Settings) -> None:
    subscription, (first, second) = held(2)
    probe(subscription, settings)
    assert events.purge([event_of(first)], None) == 1
    answered(probe(subscription, settings))
    assert state(second)[0] == "delivered"
    assert row(EventMatch, subscription).disabled is None


def test_schedule_goes_on_when_nothing_is_held_at_the_moment(settings: Settings) -> None:
    subscription, _none = held(0)
    let_held_be_due(subscription)
    sweep(settings)
    assert (row(EventMatch, subscription).probe, waits(subscription)) == (None, 1000)
    new = matched(subscription)
    assert deliveries.claim_matched([new], LEASE, 10) == []
    assert probe(subscription, settings).uuid == one(new)


# Owners in the middle of a probe


def test_each_is_sent_once_when_its_owner_enables_in_the_middle_of_a_probe(
    settings: Settings,
) -> None:
    subscription, (first, second) = held(2)
    under_way = probe(subscription, settings)
    enable(subscription)
    found = row(EventMatch, subscription)
    assert (found.probe, found.probes) == (None, 0)
    sweep(settings)
    assert states([first, second]) == ["allowed", "matched"]
    assert deliveries.claim_allowed([first], LEASE, 1000) == []
    answered(under_way)
    assert states([first, second]) == ["delivered", "matched"]
    assert row(EventMatch, subscription).disabled is None


def test_failing_probe_is_an_ordinary_try_when_its_owner_enabled_meanwhile(
    settings: Settings,
) -> None:
    subscription, (delivery,) = held(1)
    under_way = probe(subscription, settings)
    enable(subscription)
    failed(under_way)
    found = row(EventMatch, subscription)
    assert (found.disabled, found.error) == (None, None)
    assert state(delivery) == ("allowed", True, 1)
    again = claim_to_send(delivery)
    assert (again.probe, again.attempts) == (False, 2)


def test_nothing_is_released_when_its_owner_disables_in_the_middle_of_a_probe(
    settings: Settings,
) -> None:
    subscription, (first, second) = held(2)
    under_way = probe(subscription, settings)
    moment = utcnow()
    assert subscriptions.update("alice", subscription, lambda _stored: {"disabled": moment})
    answered(under_way)
    found = row(EventMatch, subscription)
    assert (found.disabled, found.held_due, found.probe) == (moment, None, None)
    sweep(settings)
    assert states([first, second]) == ["delivered", "held"]


def test_failing_probe_is_held_when_its_owner_disabled_meanwhile(settings: Settings) -> None:
    subscription, (delivery,) = held(1)
    under_way = probe(subscription, settings)
    assert subscriptions.update("alice", subscription, lambda _stored: {"disabled": utcnow()})
    failed(under_way)
    assert deliveries.claim_allowed([delivery], LEASE, 1000) == []
    assert state(delivery)[:2] == ("held", False)
    enable(subscription)
    sweep(settings)
    assert state(delivery)[0] == "matched"


def test_schedule_stays_when_its_owner_changes_something_else(settings: Settings) -> None:
    subscription, (delivery,) = held(1)
    under_way = probe(subscription, settings)
    assert subscriptions.update("alice", subscription, lambda _stored: {"name": "changed"})
    assert row(EventMatch, subscription).probe == delivery
    assert waits(subscription) == 1000
    answered(under_way)
    assert row(EventMatch, subscription).disabled is None


@pytest.mark.parametrize(
    ("arrives", "expected"), [(True, ["delivered", "dropped"]), (False, ["dropped", "dropped"])]
)
def test_deleted_subscription_gets_no_more_when_its_probe_is_answered(
    settings: Settings, arrives: bool, expected: list[str]
) -> None:
    subscription, both = held(2)
    under_way = probe(subscription, settings)
    assert subscriptions.delete("alice", subscription)
    if arrives:
        answered(under_way)
    else:
        failed(under_way)
    sweep(settings)
    assert states(both) == expected
    assert row(EventMatch, subscription).deleted is not None
    assert holding.due_held(10) == []
