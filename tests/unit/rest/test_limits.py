"""How many requests a user may send, and how many threads wait for a lock."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacifica.notifications.rest.errors import ApiError
from pacifica.notifications.rest.limits import BoundedLock, RateLimiter
from tests.support.clocks import Clock
from tests.support.servers import eventually


@pytest.fixture
def clock() -> Clock:
    return Clock()


def let_through(rates: RateLimiter, user: str, times: int) -> int:
    return sum(not rates.retry_after(user) for _ in range(times))


def test_burst_is_let_through_and_no_more_when_requests_come_at_once(clock: Clock) -> None:
    rates = RateLimiter(2, 5, 10, clock)
    assert let_through(rates, "alice", 8) == 5
    assert rates.retry_after("alice") == 0.5


def test_requests_are_let_through_at_the_rate_when_the_burst_is_over(clock: Clock) -> None:
    rates = RateLimiter(2, 5, 10, clock)
    let_through(rates, "alice", 5)
    clock.now = 1.5
    assert let_through(rates, "alice", 9) == 3


def test_waiting_as_long_as_it_says_is_enough_and_not_more_than_needed(clock: Clock) -> None:
    rates = RateLimiter(0.25, 1, 10, clock)
    assert rates.retry_after("alice") == 0
    clock.now = 1
    assert rates.retry_after("alice") == 3
    clock.now = 3.9
    assert rates.retry_after("alice") > 0
    clock.now = 4
    assert rates.retry_after("alice") == 0


def test_bucket_holds_the_burst_and_not_more_when_a_user_was_away_for_long(clock: Clock) -> None:
    rates = RateLimiter(2, 5, 10, clock)
    let_through(rates, "alice", 5)
    clock.now = 10_000
    assert let_through(rates, "alice", 9) == 5


def test_users_do_not_use_up_each_others_requests(clock: Clock) -> None:
    rates = RateLimiter(1, 3, 10, clock)
    assert let_through(rates, "alice", 50) == 3
    assert let_through(rates, "bob", 5) == 3


def test_user_who_was_seen_least_recently_is_forgotten_when_there_are_too_many(
    clock: Clock,
) -> None:
    rates = RateLimiter(1, 1, 2, clock)
    for user in ("alice", "bob", "alice", "carol"):
        rates.retry_after(user)
    assert rates.retry_after("alice") > 0
    assert rates.retry_after("bob") == 0


def test_burst_is_let_through_once_when_threads_count_at_the_same_time(clock: Clock) -> None:
    rates = RateLimiter(1, 100, 10, clock)
    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(lambda _: let_through(rates, "alice", 100), range(8))) == 100


@given(
    rate=st.floats(0.01, 100),
    burst=st.integers(1, 20),
    pauses=st.lists(st.floats(0, 30), min_size=1, max_size=50),
)
def test_never_more_than_burst_and_rate_together_are_let_through(
    rate: float, burst: int, pauses: list[float]
) -> None:
    clock = Clock()
    rates = RateLimiter(rate, burst, 10, clock)
    through = 0
    for pause in pauses:
        clock.now += pause
        through += let_through(rates, "alice", 1)
        assert through <= burst + clock.now * rate + 1e-6


@given(user=st.text(), clock=st.builds(Clock), wait=st.floats(0.01, 50).map(lambda rate: 1 / rate))
def test_who_waits_as_told_is_let_through(
    user: str, clock: Callable[[], float], wait: float
) -> None:
    assert isinstance(clock, Clock)
    rates = RateLimiter(1 / wait, 1, 1, clock)
    rates.retry_after(user)
    clock.now += rates.retry_after(user) * (1 + 1e-9)
    assert rates.retry_after(user) == 0


def test_lock_sends_threads_away_when_enough_wait_and_when_they_waited_long_enough() -> None:
    lock = BoundedLock("", max_waiting=2, max_wait=0.5)

    def refusal() -> str | None:
        try:
            with lock.held():
                return None
        except ApiError as error:
            return error.headers["Retry-After"]

    with ThreadPoolExecutor(2) as threads:
        with lock.held():
            waiting = [threads.submit(refusal) for _ in range(2)]
            eventually(lambda: refusal() is not None)
            assert not any(each.done() for each in waiting)
            assert [each.result() for each in waiting] == ["2", "2"]
        assert refusal() is None


def test_lock_is_passed_on_when_its_holder_ends_or_fails() -> None:
    lock = BoundedLock("", max_waiting=8, max_wait=10)
    held: list[int] = []

    def hold(number: int) -> None:
        with lock.held():
            held.append(number)
            assert len(held) == 1
            held.clear()
            raise LookupError

    with ThreadPoolExecutor(8) as threads:
        for each in [threads.submit(hold, number) for number in range(8)]:
            with pytest.raises(LookupError):
                each.result()
