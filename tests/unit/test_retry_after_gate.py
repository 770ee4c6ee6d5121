"""What a worker process remembers of targets that ask to wait."""

from concurrent.futures import Future
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.stages import retryafter
from pacifica.notifications.stages.retryafter import RetryAfterGate
from pacifica.notifications.subscriptions import Subscription
from tests.support.servers import eventually


def subscription(number: int, target: str = "http://h/") -> Subscription:
    return Subscription(UUID(int=number), "alice", target, {}, {}, 1)


def in_seconds(seconds: float) -> datetime:
    return utcnow() + timedelta(seconds=seconds)


def test_gate_opens_when_its_time_is_over() -> None:
    gate = RetryAfterGate(10, 300)
    gate.close_until(subscription(1), in_seconds(0.1))
    assert gate.closed_until(subscription(1)) is not None
    eventually(lambda: gate.closed_until(subscription(1)) is None)


def test_gate_stays_closed_when_a_later_response_asks_for_less() -> None:
    gate = RetryAfterGate(10, 300)
    gate.close_until(subscription(1), longer := in_seconds(60))
    gate.close_until(subscription(1), in_seconds(5))
    assert gate.closed_until(subscription(1)) == longer


def test_gate_is_closed_no_longer_than_its_bound() -> None:
    gate = RetryAfterGate(10, 5)
    gate.close_until(subscription(1), in_seconds(600))
    until = gate.closed_until(subscription(1))
    assert until is not None
    assert in_seconds(4) < until <= in_seconds(5)


def test_gate_opens_when_the_clock_was_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = RetryAfterGate(10, 300)
    gate.close_until(subscription(1), in_seconds(60))
    monkeypatch.setattr(retryafter, "utcnow", lambda: in_seconds(-3600))
    assert gate.closed_until(subscription(1)) is None


def test_gate_that_closed_first_is_forgotten_when_there_are_too_many() -> None:
    gate = RetryAfterGate(2, 300)
    for number in (1, 2, 3):
        gate.close_until(subscription(number), in_seconds(60))
    assert [gate.closed_until(subscription(number)) is None for number in (1, 2, 3)] == [
        True,
        False,
        False,
    ]


def test_request_is_cancelled_when_the_gate_closes_before_or_after_it_entered() -> None:
    gate = RetryAfterGate(10, 300)
    before, after, other = Future[None](), Future[None](), Future[None]()
    gate.enter(subscription(1), before)
    gate.enter(subscription(1, "http://other/"), other)
    gate.close_until(subscription(1), in_seconds(60))
    gate.enter(subscription(1), after)
    assert [each.cancelled() for each in (before, after, other)] == [True, True, False]


def test_request_that_ended_is_forgotten() -> None:
    gate = RetryAfterGate(10, 300)
    over = Future[None]()
    gate.enter(subscription(1), over)
    gate.exit(subscription(1), over)
    gate.exit(subscription(2), over)
    gate.close_until(subscription(1), in_seconds(60))
    assert not over.cancelled()
