"""When a database that hangs is spared, and when it is tried again."""

from types import SimpleNamespace

import pytest

from pacifica.notifications.errors import StoreUnavailable
from pacifica.notifications.orm import database
from pacifica.notifications.orm.database import CircuitBreaker
from tests.support.clocks import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(database, "time", SimpleNamespace(monotonic=clock))
    return clock


def is_closed(breaker: CircuitBreaker) -> bool:
    try:
        breaker.require_closed()
    except StoreUnavailable:
        return False
    return True


@pytest.mark.usefixtures("clock")
def test_everybody_is_let_through_when_failures_are_quick() -> None:
    breaker = CircuitBreaker()
    for _ in range(10):
        breaker.failed(1.9)
        assert is_closed(breaker)


def test_one_try_a_second_is_let_through_when_a_failure_was_slow(clock: Clock) -> None:
    breaker = CircuitBreaker()
    breaker.failed(2.1)
    for _ in range(3):
        assert not is_closed(breaker)
        clock.now += 1.0
        assert is_closed(breaker)
    assert not is_closed(breaker)


@pytest.mark.usefixtures("clock")
def test_everybody_is_let_through_when_a_try_succeeded() -> None:
    breaker = CircuitBreaker()
    breaker.failed(4.0)
    breaker.succeeded()
    assert is_closed(breaker)
    assert is_closed(breaker)
