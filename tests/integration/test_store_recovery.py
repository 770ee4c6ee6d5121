"""Recovery in the store, on every engine: probes, release, expiry, and what comes in between."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.config import load_settings
from pacifica.notifications.errors import StoreUnavailable
from pacifica.notifications.flow import Delivery, Outcome, Ruling, State
from pacifica.notifications.orm import DB, EventLog, EventLogMatch, EventMatch
from pacifica.notifications.orm.transaction import reading, writing
from pacifica.notifications.settings import Settings
from pacifica.notifications.store import deliveries, events, holding, recovery, subscriptions
from pacifica.notifications.store.revisions import current_revision
from tests.support import databases
from tests.support.stored import (
    LEASE,
    allowed,
    claim_events,
    deliveries_of,
    forget_rows,
    let_leases_run_out,
    matched,
    migrated_database,
    receive,
    row,
    state,
    subscribe,
    uuids_of,
    write,
)

ONLY_SERVERS = pytest.mark.parametrize("migrated", databases.ON_SERVERS, indirect=True)
SOON = timedelta(seconds=10)
WAITS = (100.0, 1000.0, 5000.0)


@pytest.fixture(scope="module", params=databases.ENGINES)
def migrated(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Give the URL of a migrated database that the tests of this module share."""
    with migrated_database(request.param, tmp_path_factory.mktemp("recovery")) as url:
        yield url


@pytest.fixture(autouse=True)
def settings(migrated: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Configure the service for a database without rows."""
    with databases.configured(migrated, monkeypatch):
        forget_rows()
        yield replace(
            load_settings(), recovery_waits=WAITS, recovery_horizon=20_000.0, release_batch=2
        )


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
    due = utcnow() + timedelta(seconds=settings.recovery_waits[0])
    for delivery in old:
        rule(take_matched(delivery), State.HELD, due)
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


def take_matched(delivery: UUID) -> Delivery:
    (taken,) = deliveries.claim_matched([event_of(delivery)], LEASE, 10)
    assert taken.uuid == delivery
    return taken


def take_allowed(delivery: UUID) -> Delivery:
    (taken,) = deliveries.claim_allowed([delivery], LEASE)
    return taken


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
    """Hand on what is due, once, as a worker does."""
    for subscription in recovery.due_held(100):
        recovery.hand_on_held(subscription, settings)


def probe(subscription: UUID, settings: Settings) -> Delivery:
    """Let the time of the next probe come; returns the probe as one that is to be sent."""
    let_held_be_due(subscription)
    sweep(settings)
    taken = take_matched(row(EventMatch, subscription).probe)
    rule(taken, State.ALLOWED)
    return take_allowed(taken.uuid)


def waits(subscription: UUID) -> float | None:
    """Return how long the next probe waits, in whole tens of seconds."""
    due = row(EventMatch, subscription).held_due
    return None if due is None else round((due - utcnow()).total_seconds(), -1)


# Probing what an outage disabled


def test_nothing_is_handed_on_before_it_is_due(settings: Settings) -> None:
    subscription, (delivery,) = held(1)
    assert recovery.due_held(10) == []
    recovery.hand_on_held(subscription, settings)
    assert state(delivery)[0] == "held"
    assert row(EventMatch, subscription).probes == 1


def test_oldest_held_becomes_the_probe_when_it_is_due(settings: Settings) -> None:
    subscription, (oldest, *others) = held(3)
    let_held_be_due(subscription)
    assert recovery.due_held(10) == [subscription]
    sweep(settings)
    assert state(oldest) == ("matched", True, 0)
    assert states(others) == ["held", "held"]
    assert row(EventMatch, subscription).probe == oldest
    taken = take_matched(oldest)
    assert (taken.probe, taken.attempts, taken.failing) == (True, 1, None)


def test_due_held_gives_the_longest_waiting_first_and_no_more_than_asked(
    settings: Settings,
) -> None:
    found = [held(1)[0] for _ in range(3)]
    for age, subscription in enumerate(found):
        write(EventMatch, [subscription], held_due=utcnow() - timedelta(seconds=1 + age))
    assert recovery.due_held(10) == found[::-1]
    assert recovery.due_held(2) == found[:0:-1]
    sweep(settings)
    assert recovery.due_held(10) == []


def test_schedule_moves_on_with_each_probe_until_its_horizon(settings: Settings) -> None:
    subscription, (delivery,) = held(1)
    seen = [waits(subscription)]
    for _ in range(3):
        failed(probe(subscription, settings))
        assert state(delivery)[0] == "held"
        seen.append(waits(subscription))
    assert seen == [100, 1000, 5000, 5000]
    long_ago = utcnow() - timedelta(seconds=settings.recovery_horizon)
    write(EventMatch, [subscription], disabled=long_ago)
    failed(probe(subscription, settings))
    assert waits(subscription) is None
    sweep(settings)
    assert state(delivery)[0] == "held"
    assert row(EventMatch, subscription).disabled == long_ago


def test_last_probe_before_the_horizon_still_enables_when_it_arrives(settings: Settings) -> None:
    subscription, (first, second) = held(2)
    write(
        EventMatch,
        [subscription],
        disabled=utcnow() - timedelta(seconds=settings.recovery_horizon),
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


def test_others_are_released_in_portions_oldest_first_when_the_probe_arrives(
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


def test_release_ends_when_the_last_portion_was_a_full_one(settings: Settings) -> None:
    subscription, (_probe, *others) = held(3)
    answered(probe(subscription, settings))
    sweep(settings)
    assert states(others) == ["matched", "matched"]
    assert recovery.due_held(10) == [subscription]
    sweep(settings)
    assert recovery.due_held(10) == []


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
    recovery.hand_on_held(subscription, settings)
    assert state(delivery)[0] == "held"


def test_next_one_is_the_probe_at_once_when_policy_denies_the_first(settings: Settings) -> None:
    subscription, (first, second, third) = held(3)
    let_held_be_due(subscription)
    sweep(settings)
    rule(take_matched(first), State.DENIED)
    assert row(EventMatch, subscription).disabled is not None
    sweep(settings)
    assert states([first, second, third]) == ["denied", "matched", "held"]
    assert row(EventMatch, subscription).probe == second
    assert waits(subscription) == 1000


def test_probe_waits_for_policy_when_it_gives_no_verdict(settings: Settings) -> None:
    subscription, (first, second) = held(2)
    let_held_be_due(subscription)
    sweep(settings)
    again = Ruling((take_matched(first),), State.MATCHED, utcnow() + SOON, "500", "")
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


def test_probe_is_anothers_when_its_worker_died(settings: Settings) -> None:
    subscription, (delivery,) = held(1)
    lost = probe(subscription, settings)
    assert deliveries.claim_allowed([delivery], LEASE) == []
    let_leases_run_out(EventLogMatch, [delivery])
    again = take_allowed(delivery)
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
    assert deliveries.claim_allowed([first], LEASE) == []
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
    again = take_allowed(delivery)
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
    assert deliveries.claim_allowed([delivery], LEASE) == []
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
    assert recovery.due_held(10) == []


# Deliveries that are held because Policy gave no verdict


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
    rule(take_matched(first), given)
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
    rule(take_matched(first), State.HELD, utcnow() + timedelta(seconds=WAITS[0]))
    assert states([first, second]) == ["held", "held"]
    assert waits(subscription) == 1000  # the schedule goes on, and does not begin again
    let_held_be_due(subscription)
    sweep(settings)
    assert take_matched(first).probe


def test_waiting_for_policy_has_no_horizon(settings: Settings) -> None:
    subscription, (first,) = held_for_policy(1, settings)
    brief = replace(settings, recovery_horizon=0.0)
    for _ in range(4):
        let_held_be_due(subscription)
        sweep(brief)
        rule(take_matched(first), State.HELD, utcnow() + SOON)
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
    taken = take_matched(new)
    assert not taken.probe
    rule(taken, State.ALLOWED)
    assert states([old, new]) == ["held", "allowed"]
    assert waits(subscription) == 100


def test_outage_takes_over_when_deliveries_were_held_for_policy(settings: Settings) -> None:
    subscription, (old,) = held_for_policy(1, settings)
    write(EventMatch, [subscription], probes=3)
    _event, (new,) = allowed(subscription)
    failed(take_allowed(new))
    found = row(EventMatch, subscription)
    assert found.disabled is not None
    assert (found.probe, found.probes, waits(subscription)) == (None, 1, 100)
    assert states([old, new]) == ["held", "held"]
    answered(probe(subscription, settings))
    sweep(settings)
    assert states([old, new]) == ["delivered", "matched"]


def test_late_lack_of_a_verdict_leaves_a_delivery_to_whoever_has_taken_it_since() -> None:
    delivery = one(matched(subscribe()))
    slow = take_matched(delivery)
    let_leases_run_out(EventLogMatch, [delivery])
    later = take_matched(delivery)
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
    taken = take_matched(delivery)

    @writing
    def refuse_while_the_delivery_is_locked() -> None:
        write(EventLogMatch, [delivery], target_resp_body="locked")
        with ThreadPoolExecutor(1) as thread, pytest.raises(StoreUnavailable):
            thread.submit(rule, taken, State.HELD, utcnow()).result(20)

    refuse_while_the_delivery_is_locked()
    # Between the two, a sweep would have found nothing held, and would not have come again.
    assert (row(EventMatch, subscription).probes, waits(subscription)) == (0, None)
    assert state(delivery)[0] == "matched"


# Expiry


def test_oldest_over_the_bound_expire_for_each_subscription(settings: Settings) -> None:
    _first, many = held(5)
    _second, few = held(2)
    third, released = held(4)
    enable(third)
    sweep(settings)
    sweep(settings)
    assert holding.expire(2, 3600.0) == 3
    assert states(many) == ["expired"] * 3 + ["held"] * 2
    assert states(few) == ["held"] * 2
    assert states(released) == ["matched"] * 4
    assert holding.expire(2, 3600.0) == 0
    assert state(many[0])[:2] == ("expired", False)


def test_many_expire_when_they_are_more_than_one_transaction_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(holding, "_ROWS_PER_EXPIRY", 2)
    _first, many = held(8)
    assert holding.expire(3, 3600.0) == 5
    assert states(many) == ["expired"] * 5 + ["held"] * 3
    assert holding.expire(3, 0.0) == 3
    assert states(many) == ["expired"] * 8


def test_what_is_held_for_too_long_expires_from_its_match_on() -> None:
    _subscription, (old, young) = held(2)
    write(EventLogMatch, [old], created=utcnow() - timedelta(seconds=3600))
    write(EventLogMatch, [young], created=utcnow() - timedelta(seconds=3500))
    assert holding.expire(100, 3550.0) == 1
    assert states([old, young]) == ["expired", "held"]


def test_what_is_under_way_does_not_expire_however_old_it_is(settings: Settings) -> None:
    subscription, (first, second) = held(2)
    under_way = probe(subscription, settings)
    other = one(matched(subscribe()))
    write(EventLogMatch, [first, other], created=utcnow() - timedelta(days=365))
    assert holding.expire(1, 3600.0) == 0
    assert states([first, second, other]) == ["allowed", "held", "matched"]
    answered(under_way)
    assert state(first)[0] == "delivered"


def test_expired_delivery_is_not_released_when_its_owner_enables(settings: Settings) -> None:
    subscription, (first, second) = held(2)
    assert holding.expire(1, 3600.0) == 1
    enable(subscription)
    sweep(settings)
    assert states([first, second]) == ["expired", "matched"]


# Events whose dispatch does not end


def test_lease_doubles_each_time_an_event_is_taken_up_to_the_longest() -> None:
    event = receive()
    leases = []
    for _ in range(6):
        assert uuids_of(claim_events([event], 500.0)) == {event}
        leases.append(round((row(EventLog, event).due - utcnow()).total_seconds(), -1))
        let_leases_run_out(EventLog, [event])
    assert leases == [60, 120, 240, 480, 500, 500]


def test_lease_is_never_shorter_than_the_first_when_the_longest_is() -> None:
    event = receive()
    claim_events([event])
    let_leases_run_out(EventLog, [event])
    assert uuids_of(claim_events([event], 1.0)) == {event}
    left = row(EventLog, event).due - utcnow()
    assert timedelta(seconds=LEASE) - SOON < left <= timedelta(seconds=LEASE)


def test_lease_of_another_event_stays_when_one_taken_with_it_was_taken_before() -> None:
    before, new = receive(), receive()
    claim_events([before])
    let_leases_run_out(EventLog, [before])
    assert uuids_of(claim_events([before, new])) == {before, new}
    left = row(EventLog, new).due - utcnow()
    assert left <= timedelta(seconds=LEASE) < row(EventLog, before).due - utcnow()


def test_event_is_handed_out_alone_when_two_dispatches_did_not_end() -> None:
    event, other = receive(), receive()
    for _ in range(2):
        assert set(events.due_events(10)) == {event, other}
        assert events.suspect_events(10) == []
        claim_events([event])
        let_leases_run_out(EventLog, [event])
    assert events.suspect_events(10) == [event]
    assert events.due_events(10) == [other]
    claim_events([event])
    assert events.suspect_events(10) == []  # while somebody has it
    assert events.record_matches(event, [])
    let_leases_run_out(EventLog, [other])
    assert events.due_events(10) == [other]


def test_event_is_no_longer_suspect_when_it_is_to_be_dispatched_again() -> None:
    event = receive()
    write(EventLog, [event], attempts=5)
    assert events.suspect_events(10) == [event]
    assert events.dispatch_again([event]) == [event]
    assert (events.due_events(10), events.suspect_events(10)) == ([event], [])
