"""Retry-After: a target that asks to wait gets nothing until then."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.store import subscriptions
from tests.integration.stages.flow import (
    Flow,
    answering,
    attempts_of,
    due_of,
    due_within,
    make_due,
    match_of,
    release_held,
    row,
    state_of,
)
from tests.integration.stages.test_recovery import make_held_due
from tests.support.servers import RecordingServer, eventually

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def wait_of(moment: datetime | None) -> float:
    """Return how far a moment is away, in seconds."""
    assert moment is not None
    return (moment - utcnow()).total_seconds()


@pytest.mark.parametrize("status", [429, 503])
def test_target_is_tried_again_when_its_retry_after_says_so(flow: Flow, status: int) -> None:
    flow.target.answer = answering(status, Retry_After="7")
    subscription = flow.subscribe()
    event = flow.receive()
    with due_within(event, 7, 7):
        flow.run()
    assert row(subscription).disabled is None


@pytest.mark.parametrize("status", [429, 503])
def test_target_gets_nothing_else_until_its_retry_after_is_over(flow: Flow, status: int) -> None:
    flow.target.answer = answering(status, Retry_After="7")
    subscription = flow.subscribe()
    first, second = flow.send(), flow.send()
    assert len(flow.target.requests) == 1
    match = match_of(second)
    assert (match.state, match.target_status) == ("allowed", "")
    assert match.target_body == "waits, as its target has asked for"
    assert attempts_of(second) == 0
    assert due_of(match) == due_of(match_of(first))
    assert row(subscription).disabled is None


def test_delivery_is_postponed_again_when_it_is_taken_up_too_early(flow: Flow) -> None:
    flow.target.answer = answering(429, Retry_After="60")
    flow.subscribe()
    event = flow.send()
    for _ in range(3):
        flow.go_on(event)
    assert len(flow.target.requests) == 1
    assert attempts_of(event) == 1
    assert wait_of(due_of(match_of(event))) > 55


def test_target_gets_the_rest_once_its_retry_after_is_over(flow: Flow) -> None:
    flow.target.answer = answering(429, Retry_After="1")
    flow.subscribe()
    first, second = flow.send(), flow.send()
    flow.target.answer = answering(200)
    over = due_of(match_of(first))
    assert over is not None
    eventually(lambda: utcnow() >= over, timeout=3)
    for event in (first, second):
        flow.go_on(event)
        assert match_of(event).state == "delivered"


def test_waiting_requests_are_cancelled_when_the_target_asks_to_wait(
    make_flow: Callable[..., Flow],
) -> None:
    flow = make_flow(delivery_connections_per_host=1)
    flow.target.answer = answering(429, Retry_After="60")
    flow.subscribe()
    sent = [flow.receive() for _ in range(20)]
    flow.run()
    assert len(flow.target.requests) == 1
    assert {match_of(event).state for event in sent} == {"allowed"}
    assert sorted(attempts_of(event) for event in sent) == [0] * 19 + [1]
    assert min(wait_of(due_of(match_of(event))) for event in sent) > 50


def test_other_subscriptions_to_the_same_target_do_not_wait(flow: Flow) -> None:
    flow.target.answer = lambda received: (
        (429, {"Retry-After": "60"}, b"") if received.path == "/busy" else (200, {}, b"")
    )
    busy = flow.subscribe(target_url=f"{flow.target.url}/busy")
    other = flow.subscribe(target_url=f"{flow.target.url}/other")
    flow.send()
    event = flow.send()
    assert (state_of(event, busy), state_of(event, other)) == ("allowed", "delivered")


def test_subscription_does_not_wait_when_it_has_another_target(
    flow: Flow, other_target: RecordingServer
) -> None:
    flow.target.answer = answering(429, Retry_After="60")
    subscription = flow.subscribe()
    flow.send()
    changed = {"target_url": other_target.url}
    subscriptions.update("alice", subscription, lambda _stored: changed)
    assert match_of(flow.send()).state == "delivered"
    assert len(other_target.requests) == 1


@pytest.mark.parametrize(("asked", "probed"), [("3600", 3600), ("9" * 20, 86400)])
def test_subscription_is_disabled_until_then_when_retry_after_is_far(
    make_flow: Callable[..., Flow], asked: str, probed: float
) -> None:
    flow = make_flow(recovery_horizon=86400.0)
    flow.target.answer = answering(429, b"slow down", Retry_After=asked)
    subscription = flow.subscribe()
    event = flow.send()
    assert len(flow.target.requests) == 1
    disabled = row(subscription)
    assert (disabled.error or "").endswith("failed after 1 attempt: status 429: slow down")
    assert match_of(event).state == "held"
    assert wait_of(disabled.held_due) == pytest.approx(probed, abs=5)


def test_next_probe_is_not_before_the_retry_after_of_the_one_that_failed(
    make_flow: Callable[..., Flow],
) -> None:
    flow = make_flow(delivery_attempts=1)
    flow.target.answer = answering(503)
    subscription = flow.subscribe()
    event = flow.send()
    flow.target.answer = answering(429, Retry_After="7200")
    make_held_due()
    release_held()
    flow.deliver(flow.authorise([event]))
    assert len(flow.target.requests) == 2
    assert match_of(event).state == "held"
    assert wait_of(row(subscription).held_due) == pytest.approx(7200, abs=5)


def test_probe_waits_as_well_when_the_target_asks_for_it(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow(delivery_attempts=1)
    flow.target.answer = answering(503, Retry_After="60")
    subscription = flow.subscribe()
    event = flow.send()
    assert row(subscription).disabled is not None
    make_held_due()
    release_held()
    flow.deliver(flow.authorise([event]))
    make_due(timedelta(0))
    assert len(flow.target.requests) == 1
    assert match_of(event).state == "allowed"
