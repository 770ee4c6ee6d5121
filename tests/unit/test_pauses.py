"""Pauses: what a worker remembers of targets that ask to wait."""

from concurrent.futures import Future
from datetime import datetime, timedelta
from uuid import UUID

from pacifica.notifications.clock import utcnow
from pacifica.notifications.stages.pauses import Pauses
from pacifica.notifications.subscriptions import Subscription
from tests.support.servers import eventually


def subscription(number: int, target: str = "http://h/") -> Subscription:
    return Subscription(UUID(int=number), "alice", target, {}, {}, 1)


def in_seconds(seconds: float) -> datetime:
    return utcnow() + timedelta(seconds=seconds)


def test_pause_is_over_when_its_time_is() -> None:
    pauses = Pauses(10, 300)
    pauses.begin(subscription(1), in_seconds(0.1))
    assert pauses.until(subscription(1)) is not None
    eventually(lambda: pauses.until(subscription(1)) is None)


def test_pause_is_not_made_shorter_by_a_later_answer() -> None:
    pauses = Pauses(10, 300)
    pauses.begin(subscription(1), longer := in_seconds(60))
    pauses.begin(subscription(1), in_seconds(5))
    assert pauses.until(subscription(1)) == longer


def test_pause_lasts_no_longer_than_its_bound() -> None:
    pauses = Pauses(10, 5)
    pauses.begin(subscription(1), in_seconds(600))
    until = pauses.until(subscription(1))
    assert until is not None
    assert in_seconds(4) < until <= in_seconds(5)


def test_pause_that_began_first_is_forgotten_when_there_are_too_many() -> None:
    pauses = Pauses(2, 300)
    for number in (1, 2, 3):
        pauses.begin(subscription(number), in_seconds(60))
    assert [pauses.until(subscription(number)) is None for number in (1, 2, 3)] == [
        True,
        False,
        False,
    ]


def test_request_is_called_back_when_a_pause_begins_before_or_after_it_entered() -> None:
    pauses = Pauses(10, 300)
    before, after, other = Future[None](), Future[None](), Future[None]()
    pauses.entered(subscription(1), before)
    pauses.entered(subscription(1, "http://other/"), other)
    pauses.begin(subscription(1), in_seconds(60))
    pauses.entered(subscription(1), after)
    assert [each.cancelled() for each in (before, after, other)] == [True, True, False]


def test_request_that_is_over_is_forgotten() -> None:
    pauses = Pauses(10, 300)
    over = Future[None]()
    pauses.entered(subscription(1), over)
    pauses.left(subscription(1), over)
    pauses.left(subscription(2), over)
    pauses.begin(subscription(1), in_seconds(60))
    assert not over.cancelled()
