"""Deliveries that are held because Policy gave no verdict, on every engine."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.errors import StoreUnavailable
from pacifica.notifications.flow import Ruling, State
from pacifica.notifications.orm import DB, EventLogMatch, EventMatch, writing
from pacifica.notifications.settings import Settings
from pacifica.notifications.store import deliveries, events
from tests.integration.store.recovering import (
    WAITS,
    answered,
    claim_for_policy,
    claim_to_send,
    event_of,
    failed,
    held_for_policy,
    let_held_be_due,
    one,
    probe,
    rule,
    states,
    sweep,
    waits,
)
from tests.support import databases
from tests.support.configured import changed
from tests.support.stored import (
    SOON,
    allowed,
    let_leases_run_out,
    matched,
    row,
    state,
    subscribe,
    write,
)

ONLY_SERVERS = pytest.mark.parametrize("engine", databases.ON_SERVERS, indirect=True)


def test_enabled_subscription_is_probed_when_deliveries_wait_for_policy_alone(
    settings: Settings,
) -> None:
    subscription, (first, second) = held_for_policy(2, settings)
    found = row(EventMatch, subscription)
    assert (found.disabled, found.probe, found.probes) == (None, None, 1)
    assert waits(subscription) == 100
    let_held_be_due(subscription)
    sweep(settings)
    assert states([first, second]) == ["matched", "held"]
    assert row(EventMatch, subscription).probe == first
    assert waits(subscription) == 1000


@pytest.mark.parametrize("given", [State.ALLOWED, State.DENIED])
def test_any_verdict_on_the_probe_releases_what_waited_for_policy(
    settings: Settings, given: State
) -> None:
    subscription, (first, second) = held_for_policy(2, settings)
    let_held_be_due(subscription)
    sweep(settings)
    rule(claim_for_policy(first), given)
    sweep(settings)
    assert states([first, second]) == [given, "matched"]
    found = row(EventMatch, subscription)
    assert (found.probe, found.probes, found.held_due) == (None, 0, None)


def test_others_wait_on_when_policy_gives_no_verdict_on_the_probe_either(
    settings: Settings,
) -> None:
    subscription, (first, second) = held_for_policy(2, settings)
    let_held_be_due(subscription)
    sweep(settings)
    rule(claim_for_policy(first), State.HELD, utcnow() + timedelta(seconds=WAITS[0]))
    assert states([first, second]) == ["held", "held"]
    assert waits(subscription) == 1000  # the schedule goes on, and does not begin again
    let_held_be_due(subscription)
    sweep(settings)
    assert claim_for_policy(first).probe


def test_waiting_for_policy_has_no_horizon(settings: Settings) -> None:
    subscription, (first,) = held_for_policy(1, settings)
    brief = changed(settings, recovery_horizon=0.0)
    for _ in range(4):
        let_held_be_due(subscription)
        sweep(brief)
        rule(claim_for_policy(first), State.HELD, utcnow() + SOON)
    assert waits(subscription) == WAITS[-1]


def test_probing_for_policy_ends_when_nothing_is_held_any_more(settings: Settings) -> None:
    subscription, (first,) = held_for_policy(1, settings)
    assert events.purge([event_of(first)], None) == 1
    let_held_be_due(subscription)
    sweep(settings)
    found = row(EventMatch, subscription)
    assert (found.probe, found.probes, found.held_due) == (None, 0, None)


def test_new_matches_are_asked_about_while_others_are_held_for_policy(settings: Settings) -> None:
    subscription, (old,) = held_for_policy(1, settings)
    new = one(matched(subscription))
    claimed = claim_for_policy(new)
    assert not claimed.probe
    rule(claimed, State.ALLOWED)
    assert states([old, new]) == ["held", "allowed"]
    assert waits(subscription) == 100


def test_outage_takes_over_when_deliveries_were_held_for_policy(settings: Settings) -> None:
    subscription, (old,) = held_for_policy(1, settings)
    write(EventMatch, [subscription], probes=3)
    _event, (new,) = allowed(subscription)
    failed(claim_to_send(new))
    found = row(EventMatch, subscription)
    assert found.disabled is not None
    assert (found.probe, found.probes, waits(subscription)) == (None, 1, 100)
    assert states([old, new]) == ["held", "held"]
    answered(probe(subscription, settings))
    sweep(settings)
    assert states([old, new]) == ["delivered", "matched"]


def test_outage_disables_when_the_worker_died_before_recording_the_verdict(
    settings: Settings,
) -> None:
    subscription, (delivery, other) = held_for_policy(2, settings)
    let_held_be_due(subscription)
    sweep(settings)
    claimed = claim_for_policy(delivery)
    deliveries._record_verdicts([Ruling((claimed,), State.ALLOWED, utcnow(), "", "")])
    failed(claim_to_send(delivery))
    found = row(EventMatch, subscription)
    assert (found.error, found.probes, found.probe) == ("again", 1, None)
    assert states([delivery, other]) == ["held"] * 2


def test_late_lack_of_a_verdict_changes_nothing_when_another_worker_has_claimed_since() -> None:
    delivery = one(matched(subscribe()))
    slow = claim_for_policy(delivery)
    let_leases_run_out(EventLogMatch, [delivery])
    later = claim_for_policy(delivery)
    deliveries.record_rulings([Ruling((slow,), State.MATCHED, utcnow(), "500", "")])
    assert deliveries.due_matched(10) == []
    deliveries.record_rulings([Ruling((later,), State.MATCHED, utcnow(), "500", "")])
    assert deliveries.due_matched(10) == [event_of(delivery)]


@ONLY_SERVERS
def test_nobody_is_probed_for_policy_when_holding_could_not_be_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_STATEMENT_TIMEOUT", "1")
    DB.unbind()
    subscription = subscribe()
    delivery = one(matched(subscription))
    claimed = claim_for_policy(delivery)

    @writing
    def refuse_while_the_delivery_is_locked() -> None:
        write(EventLogMatch, [delivery], target_resp_body="locked")
        with ThreadPoolExecutor(1) as thread, pytest.raises(StoreUnavailable):
            thread.submit(rule, claimed, State.HELD, utcnow()).result(20)

    refuse_while_the_delivery_is_locked()
    # Between the two, a sweep would have found nothing held, and would not have come again.
    assert (row(EventMatch, subscription).probes, waits(subscription)) == (0, None)
    assert state(delivery)[0] == "matched"
