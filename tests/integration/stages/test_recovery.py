"""Recovering: what an outage disabled is tried again by itself, and what is held follows."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.orm import EventLogMatch, EventMatch, reading, writing
from pacifica.notifications.store import subscriptions
from tests.integration.stages.flow import (
    Flow,
    answering,
    due_of,
    enable,
    make_due,
    match_of,
    matches,
    policy_of_users,
    release_held,
    row,
    state_of,
)
from tests.support.servers import RecordingServer

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.fixture
def flow(make_flow: Callable[..., Flow]) -> Flow:
    return make_flow(delivery_attempts=1)


@pytest.fixture
def disabled(flow: Flow) -> UUID:
    """A subscription that an outage of its target disabled, with one delivery held."""
    flow.target.answer = answering(503)
    subscription = flow.subscribe()
    flow.send()
    assert row(subscription).disabled is not None
    return subscription


@writing
def long_ago(subscription: UUID, **ago: Any) -> None:
    EventMatch.update(disabled=utcnow() - timedelta(**ago)).where(
        EventMatch.uuid == subscription
    ).execute()


@reading
def held_events() -> list[UUID]:
    rows = EventLogMatch.select().where(EventLogMatch.state == "held")
    return [match.event_log_id for match in rows.order_by(EventLogMatch.created)]


@writing
def make_held_due() -> None:
    EventMatch.update(held_due=utcnow()).where(EventMatch.held_due.is_null(False)).execute()


def probe(flow: Flow, *ids: UUID) -> None:
    """Let the time of the next probe come, and take what that leads to all the way."""
    make_held_due()
    release_held()
    flow.deliver(flow.authorise(list(ids)))


def probe_in(subscription: UUID) -> float:
    due = row(subscription).held_due
    assert due is not None
    return (due - utcnow()).total_seconds()


def test_subscription_is_enabled_and_all_released_when_its_probe_arrives(flow: Flow) -> None:
    flow.target.answer = answering(503)
    subscription = flow.subscribe()
    first, second, third = flow.send(), flow.send(), flow.send()
    assert {match_of(event).state for event in (first, second, third)} == {"held"}
    tried = len(flow.target.requests)

    flow.target.answer = answering(200)
    probe(flow, third, second, first)
    assert [match_of(event).state for event in (first, second, third)] == [
        "delivered",
        "held",
        "held",
    ]
    assert len(flow.target.requests) == tried + 1
    enabled = row(subscription)
    assert (enabled.disabled, enabled.error, enabled.holding) == (None, None, False)

    release_held()
    flow.deliver(flow.authorise([first, second, third]))
    assert {match_of(event).state for event in (first, second, third)} == {"delivered"}
    assert len(flow.target.requests) == tried + 3


def test_held_deliveries_follow_oldest_first_some_at_a_time_when_the_probe_arrives(
    flow: Flow,
) -> None:
    flow.target.answer = answering(503)
    flow.subscribe()
    sent = [flow.send() for _ in range(6)]
    flow.target.answer = answering(200)
    probe(flow, *sent)
    assert held_events() == sent[1:]
    for left in (sent[3:], sent[5:], [], []):
        release_held(holding_release_batch=2)
        assert held_events() == left
    flow.deliver(flow.authorise(sent))
    assert {match_of(event).state for event in sent} == {"delivered"}


def test_new_events_are_delivered_again_when_the_subscription_recovered(
    flow: Flow, disabled: UUID
) -> None:
    flow.target.answer = answering(200)
    probe(flow, *held_events())
    assert row(disabled).disabled is None
    assert match_of(flow.send()).state == "delivered"


def test_probes_come_on_the_schedule_and_each_says_what_failed(flow: Flow) -> None:
    flow.target.answer = answering(503, b"first")
    subscription = flow.subscribe()
    event = flow.send()
    for number, wait in enumerate([30, 300, 1800, 7200, 21600, 21600]):
        assert wait - 10 < probe_in(subscription) <= wait
        flow.target.answer = answering(502, f"probe {number}".encode())
        probe(flow, event)
        assert match_of(event).state == "held"
        assert (row(subscription).error or "").endswith(f"status 502: probe {number}")
        assert row(subscription).disabled is not None
    assert len(flow.target.requests) == 7


def test_probes_end_when_their_horizon_is_reached(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow(delivery_attempts=1)
    flow.target.answer = answering(503)
    subscription = flow.subscribe()
    event = flow.send()
    long_ago(subscription, days=7)
    probe(flow, event)
    assert (match_of(event).state, row(subscription).held_due) == ("held", None)
    flow.target.answer = answering(200)
    enable(subscription)
    flow.deliver(flow.authorise([event]))
    assert match_of(event).state == "delivered"


@pytest.mark.parametrize("status", [404, 308])
def test_probes_end_when_the_target_refuses_for_good(flow: Flow, status: int) -> None:
    flow.target.answer = answering(503)
    subscription = flow.subscribe()
    event = flow.send()
    flow.target.answer = answering(status, b"no more")
    probe(flow, event)
    disabled = row(subscription)
    assert disabled.disabled is not None
    assert (disabled.held_due, disabled.probe, disabled.probes) == (None, None, 0)
    assert (disabled.error or "").endswith(f"status {status}: no more")
    assert match_of(event).state == "held"


@pytest.mark.parametrize("status", [404, 308])
def test_nothing_is_probed_when_the_target_refused_for_good_at_first(
    flow: Flow, status: int
) -> None:
    flow.target.answer = answering(status)
    subscription = flow.subscribe()
    flow.send()
    assert row(subscription).disabled is not None
    assert row(subscription).held_due is None


def test_delivery_alone_is_given_up_when_its_target_says_that_it_came_through_too_many_services(
    flow: Flow,
) -> None:
    flow.target.answer = answering(508, b'{"own_delivery": false}')
    subscription = flow.subscribe()
    events = [flow.send() for _ in range(3)]
    assert [match_of(each).state for each in events] == ["failed"] * 3
    assert {match_of(each).target_status for each in events} == {"508"}
    assert (row(subscription).disabled, row(subscription).error) == (None, None)
    flow.target.answer = answering(200)
    assert match_of(flow.send()).state == "delivered"


def test_subscription_is_disabled_when_its_target_says_that_its_own_delivery_came_back(
    flow: Flow,
) -> None:
    flow.target.answer = answering(508, b'{"own_delivery": true}')
    subscription = flow.subscribe()
    event = flow.send()
    assert row(subscription).disabled is not None
    assert row(subscription).held_due is None
    assert match_of(event).state == "held"


def test_next_one_is_probed_when_the_probe_came_through_too_many_services(flow: Flow) -> None:
    flow.target.answer = answering(503)
    subscription = flow.subscribe()
    first, second = flow.send(), flow.send()
    flow.target.answer = answering(508)
    probe(flow, first)
    assert (match_of(first).state, match_of(second).state) == ("failed", "held")
    assert row(subscription).disabled is not None
    flow.target.answer = answering(200)
    probe(flow, second)
    assert match_of(second).state == "delivered"
    assert row(subscription).disabled is None


def test_next_one_is_probed_at_once_when_policy_denies_the_probe(flow: Flow) -> None:
    flow.target.answer = answering(503)
    subscription = flow.subscribe()
    first, second = flow.send(), flow.send()
    flow.target.answer = answering(200)
    flow.policy.answer = answering(412)
    probe(flow, first)
    assert (match_of(first).state, match_of(second).state) == ("denied", "held")
    assert row(subscription).disabled is not None

    flow.policy.answer = answering(200)
    release_held()
    flow.deliver(flow.authorise([second]))
    assert match_of(second).state == "delivered"
    assert row(subscription).disabled is None


def test_probes_end_when_policy_no_longer_knows_the_user(flow: Flow) -> None:
    flow.target.answer = answering(503)
    subscription = flow.subscribe()
    event = flow.send()
    flow.policy.answer = policy_of_users(500, 404)
    probe(flow, event)
    assert row(subscription).error == "Policy does not know the user alice"
    assert row(subscription).held_due is None
    assert match_of(event).state == "held"


def test_subscription_is_disabled_when_policy_no_longer_knows_the_user_it_gave_no_verdict_on(
    make_flow: Callable[..., Flow],
) -> None:
    flow = make_flow(policy_horizon=0.0)
    flow.policy.answer = answering(500)
    subscription = flow.subscribe()
    event = flow.send()
    assert (match_of(event).state, row(subscription).disabled) == ("held", None)
    flow.policy.answer = policy_of_users(500, 404)
    probe(flow, event)
    assert row(subscription).error == "Policy does not know the user alice"
    assert row(subscription).held_due is None
    assert match_of(event).state == "held"
    flow.policy.answer = answering(200)
    enable(subscription)
    flow.deliver(flow.authorise([event]))
    assert match_of(event).state == "delivered"


def test_other_deliveries_stay_held_while_a_probe_is_under_way(flow: Flow) -> None:
    flow.target.answer = answering(503)
    flow.subscribe()
    first = flow.send()
    make_held_due()
    release_held()
    assert match_of(first).state == "matched"
    second = flow.send()
    assert (match_of(first).state, match_of(second).state) == ("matched", "held")
    flow.target.answer = answering(200)
    flow.deliver(flow.authorise([first]))
    assert match_of(first).state == "delivered"


def test_owner_who_enables_during_a_probe_gets_each_delivery_once(flow: Flow) -> None:
    flow.target.answer = answering(503)
    subscription = flow.subscribe()
    first, second = flow.send(), flow.send()
    tried = len(flow.target.requests)
    make_held_due()
    release_held()
    enable(subscription)
    flow.target.answer = answering(200)
    flow.deliver(flow.authorise([first, second]))
    assert (match_of(first).state, match_of(second).state) == ("delivered", "delivered")
    assert len(flow.target.requests) == tried + 2


def test_owner_who_disables_during_a_probe_has_it_held(flow: Flow) -> None:
    flow.target.answer = answering(503)
    subscription = flow.subscribe()
    event = flow.send()
    make_held_due()
    release_held()
    moment = utcnow()
    assert subscriptions.update("alice", subscription, lambda _stored: {"disabled": moment})
    flow.target.answer = answering(200)
    flow.deliver(flow.authorise([event]))
    assert match_of(event).state == "held"
    assert row(subscription).disabled == moment


def test_deliveries_are_held_and_nothing_disabled_when_policy_is_silent_past_its_horizon(
    make_flow: Callable[..., Flow], other_target: RecordingServer
) -> None:
    flow = make_flow(policy_horizon=0.0)
    flow.policy.answer = answering(500)
    subscription = flow.subscribe()
    other = flow.subscribe(target_url=other_target.url)
    first, second = flow.send(), flow.send()
    assert {match.state for event in (first, second) for match in matches(event)} == {"held"}
    assert [row(each).disabled for each in (subscription, other)] == [None, None]
    assert 20 < probe_in(subscription) <= 30

    probe(flow, first)
    assert {match.state for event in (first, second) for match in matches(event)} == {"held"}
    assert 290 < probe_in(subscription) <= 300

    flow.policy.answer = answering(200)
    probe(flow, first)
    release_held()
    flow.deliver(flow.authorise([first, second]))
    assert {match.state for event in (first, second) for match in matches(event)} == {"delivered"}
    assert (len(flow.target.requests), len(other_target.requests)) == (2, 2)


def test_held_deliveries_are_released_when_policy_denies_after_its_outage(
    make_flow: Callable[..., Flow],
) -> None:
    flow = make_flow(policy_horizon=0.0)
    flow.policy.answer = answering(500)
    flow.subscribe()
    first, second = flow.send(), flow.send()
    flow.policy.answer = answering(412)
    probe(flow, first)
    release_held()
    flow.authorise([second])
    assert (match_of(first).state, match_of(second).state) == ("denied", "denied")


def test_one_subscriptions_recovery_is_none_of_anothers(
    flow: Flow, other_target: RecordingServer
) -> None:
    flow.target.answer = answering(503)
    failing = flow.subscribe()
    other = flow.subscribe(target_url=other_target.url)
    event = flow.send()
    assert state_of(event, other) == "delivered"
    probe(flow, event)
    assert (state_of(event, failing), state_of(event, other)) == ("held", "delivered")
    assert len(other_target.requests) == 1


def test_default_schedule_disables_within_seconds_of_the_first_failure(
    make_flow: Callable[..., Flow],
) -> None:
    flow = make_flow(delivery_attempts=4)
    flow.target.answer = answering(503)
    subscription = flow.subscribe()
    event = flow.send()
    waited = timedelta(0)
    for _ in range(3):
        due = due_of(match_of(event))
        assert due is not None
        waited += max(due - utcnow(), timedelta(0))
        make_due()
        flow.deliver([match_of(event).uuid])
    assert waited <= timedelta(seconds=0.5 + 1 + 2)
    assert row(subscription).disabled is not None
    assert len(flow.target.requests) == 4


def test_disabling_and_recovering_are_a_line_each(
    flow: Flow, caplog: pytest.LogCaptureFixture
) -> None:
    flow.target.answer = answering(503, b"over\nloaded")
    subscription = flow.subscribe()
    sent = [flow.send() for _ in range(3)]
    (line,) = (line for line in caplog.messages if line.startswith("subscription"))
    assert line == f"subscription {subscription} is disabled: {row(subscription).error}"
    caplog.clear()
    flow.target.answer = answering(200)
    probe(flow, *sent)
    (line,) = (line for line in caplog.messages if line.startswith("subscription"))
    assert line == f"subscription {subscription} is enabled again: a delivery arrived"
