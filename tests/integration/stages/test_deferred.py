"""Matching later: what takes too long for the way of an event, and what waits for its owner."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.orm import DeferredMatch, reading, writing
from pacifica.notifications.stages import deferred as stage
from pacifica.notifications.stages import dispatch
from pacifica.notifications.store import deferred, events, subscriptions
from tests.integration.stages.flow import EVENT, Flow, change_row, enable, matches, row, state_of

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)

COSTLY = "$..[?($..[?($..[?(@ = {})])])]"


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave no time on the way of an event: all that is not cheap is matched later."""
    monkeypatch.setattr(dispatch, "_EVENT_SECONDS", 0.0)
    monkeypatch.setattr(dispatch, "_VALUE_SECONDS", 0.0)


@reading
def waiting() -> list[DeferredMatch]:
    return list(DeferredMatch.select().order_by(DeferredMatch.since))


@writing
def make_older(seconds: float) -> None:
    """Have everything wait for so many seconds longer than it does."""
    for each in DeferredMatch.select():
        each.since -= timedelta(seconds=seconds)
        each.due = each.due and each.due - timedelta(seconds=seconds)
        each.save()


@pytest.mark.usefixtures("unhurried")
def test_what_is_matched_later_arrives_as_if_it_had_been_matched_at_once(flow: Flow) -> None:
    costly = flow.subscribe(jsonpath=COSTLY.format(1234))
    other = flow.subscribe("bob", jsonpath=COSTLY.format(7))
    event = flow.receive()
    flow.pipeline.dispatch()
    assert flow.pipeline.has_deferred
    assert matches(event) == ()
    assert {each.user for each in waiting()} == {"alice", "bob"}
    assert flow.pipeline.deferred.begins()
    assert not flow.pipeline.deferred.begins()  # another process has begun
    flow.run()
    assert [(each.subscription, each.state) for each in matches(event)] == [(costly, "delivered")]
    assert row(other).disabled is None
    assert waiting() == []


def test_new_jsonpath_is_parsed_beside_the_way_of_events(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow.send()
    monkeypatch.setattr(dispatch, "_PARSING_SECONDS", 0.0)
    new = flow.subscribe()
    event = flow.receive()
    flow.pipeline.dispatch()
    assert flow.pipeline.has_deferred
    flow.run()
    assert state_of(event, new) == "delivered"
    event = flow.receive()
    flow.pipeline.dispatch()
    assert not flow.pipeline.has_deferred
    flow.run()
    assert state_of(event, new) == "delivered"


@pytest.mark.usefixtures("unhurried")
def test_event_is_matched_again_when_whoever_matched_it_was_killed(flow: Flow) -> None:
    costly = flow.subscribe(jsonpath=COSTLY.format(1234))
    event = flow.receive()
    flow.pipeline.dispatch()
    assert deferred.claim_deferred("alice", 60.0) is not None
    assert deferred.users_with_deferred() == []
    make_older(61.0)  # the lease ends
    flow.run()
    assert state_of(event, costly) == "delivered"


@pytest.mark.usefixtures("unhurried")
def test_event_is_matched_with_all_when_that_takes_many_turns(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "_TURN", 0.0)
    monkeypatch.setattr(stage, "_MAX_READ", 3)
    costly = {flow.subscribe(jsonpath=COSTLY.format(1234)) for _ in range(8)}
    event = flow.receive()
    flow.run()
    assert sorted(each.subscription for each in matches(event)) == sorted(costly)


def claimed_too_long(flow: Flow) -> tuple[UUID, UUID, deferred.ClaimedDeferral]:
    """Claim what is matched later of an event, until the lease is over."""
    subscription, event = flow.subscribe(jsonpath=COSTLY.format(1234)), flow.receive()
    flow.pipeline.dispatch()
    late = deferred.claim_deferred("alice", 60.0)
    assert late is not None
    make_older(61.0)
    return subscription, event, late


@pytest.mark.usefixtures("unhurried")
def test_result_of_whom_another_is_overtaking_is_not_recorded(flow: Flow) -> None:
    costly, event, late = claimed_too_long(flow)
    assert deferred.claim_deferred("alice", 60.0) is not None
    deferred.record_deferred(late, deferred.DeferredResult(matched=[costly]))
    assert matches(event) == ()
    assert [each.event for each in waiting()] == [event]


@pytest.mark.usefixtures("unhurried")
def test_result_of_whom_another_has_overtaken_is_not_recorded(flow: Flow) -> None:
    costly, event, late = claimed_too_long(flow)
    flow.run()
    deferred.record_deferred(late, deferred.DeferredResult(matched=[costly]))
    assert len(matches(event)) == 1


@pytest.mark.usefixtures("unhurried")
def test_event_that_was_purged_is_not_matched_later(flow: Flow) -> None:
    flow.subscribe(jsonpath=COSTLY.format(1234))
    event = flow.receive()
    flow.pipeline.dispatch()
    events.purge([event], None)
    assert waiting() == []


@pytest.mark.usefixtures("unhurried")
def test_subscription_that_is_deleted_or_disabled_meanwhile_is_not_matched(flow: Flow) -> None:
    deleted, disabled = (flow.subscribe(jsonpath=COSTLY.format(1234)) for _ in range(2))
    event = flow.receive()
    flow.pipeline.dispatch()
    subscriptions.delete("alice", deleted)
    subscriptions.update("alice", disabled, lambda _stored: {"disabled": utcnow()})
    flow.run()
    assert matches(event) == ()
    assert waiting() == []


@pytest.mark.parametrize(
    "jsonpath", ["$.data[::0]", "not a jsonpath [", COSTLY.format(7)], ids=["raises", "[", "costly"]
)
def test_events_wait_for_a_jsonpath_that_fails_until_it_is_corrected(
    make_flow: Callable[..., Flow], jsonpath: str
) -> None:
    flow = make_flow(matching_budget=100)
    failing, good = flow.subscribe(), flow.subscribe("bob")
    change_row(failing, jsonpath=jsonpath)
    ids = [flow.send() for _ in range(3)]
    assert "its JSONPath failed" in (row(failing).error or "")
    assert row(failing).unmatched
    assert [len(matches(each)) for each in ids] == [1, 1, 1]
    assert [each.due for each in waiting()] == [None] * 3
    changes = {"jsonpath": "$.data", "disabled": None, "error": None}
    subscriptions.update("alice", failing, lambda _stored: changes)
    flow.match_deferred()
    flow.settle()
    assert [state_of(each, failing) for each in ids] == ["delivered"] * 3
    assert row(good).disabled is None
    assert state_of(flow.send(), failing) == "delivered"
    assert waiting() == []


def test_event_waits_for_nobody_who_was_enabled_while_policy_was_asked(flow: Flow) -> None:
    failing = flow.subscribe(jsonpath="$.data[::0]")
    flow.subscribe("bob")
    flow.send()
    corrected = {"jsonpath": "$.data", "disabled": None, "error": None}
    flow.policy.answer = flow.changing(failing, **corrected)
    event = flow.receive()
    flow.pipeline.dispatch()
    assert all(each.due is not None for each in waiting())
    flow.run()
    assert state_of(event, failing) == "delivered"


def test_event_that_is_being_matched_stays_with_its_worker_when_its_owner_enables_another(
    flow: Flow,
) -> None:
    failing, other = flow.subscribe(jsonpath="$.data[::0]"), flow.subscribe()
    flow.send()
    enable(failing)
    assert deferred.claim_deferred("alice", 60.0) is not None
    subscriptions.update("alice", other, lambda _stored: {"disabled": utcnow()})
    enable(other)
    assert deferred.users_with_deferred() == []


def test_events_go_on_waiting_when_another_subscription_of_the_user_is_enabled(flow: Flow) -> None:
    failing, other = flow.subscribe(jsonpath="$.data[::0]"), flow.subscribe()
    event = flow.send()
    subscriptions.update("alice", other, lambda _stored: {"disabled": utcnow()})
    enable(other)
    assert [each.due is None for each in waiting()] == [False]
    flow.match_deferred()
    assert [(each.event, each.due) for each in waiting()] == [(event, None)]
    assert UUID(waiting()[0].subscriptions) == failing


def test_what_waits_too_long_for_an_owner_or_with_too_many_is_forgotten(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow.subscribe(jsonpath="$.data[::0]")
    ids = [flow.send() for _ in range(2)]
    make_older(100.0)
    ids += [flow.send() for _ in range(3)]
    assert deferred.expire_parked(99.0) == 2
    assert [each.event for each in waiting()] == ids[2:]
    monkeypatch.setattr(deferred, "MAX_PARKED", 2)
    assert deferred.expire_parked(99.0) == 1
    assert [each.event for each in waiting()] == ids[3:]


@pytest.mark.usefixtures("unhurried")
def test_jsonpaths_that_take_longest_are_disabled_when_events_of_their_user_wait_too_long(
    flow: Flow,
) -> None:
    slow = flow.subscribe(jsonpath=COSTLY.format(7))
    quick = [flow.subscribe(jsonpath=f"$.data[*][?(@.value = @.v{n})]") for n in range(2)]
    document = {**EVENT, "data": [{"value": 1234}] * 22}
    flow.receive(document)
    flow.run()
    assert row(slow).disabled is None
    event = flow.receive(document)
    flow.pipeline.dispatch()
    make_older(stage._MAX_DELAY + 1)
    flow.run()
    assert "with the others of its user that is too long" in (row(slow).error or "")
    assert [row(each).disabled for each in quick] == [None] * 2
    assert matches(event) == ()
    flow.receive(document)
    flow.run()
    (parked,) = waiting()
    assert (parked.due, UUID(parked.subscriptions)) == (None, slow)
