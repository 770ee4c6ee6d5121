"""Requests that wait for deliveries: how many may, and when all others are to come back."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Event
from time import monotonic
from uuid import UUID, uuid4

import pytest

from pacifica.notifications.settings import PullSettings
from pacifica.notifications.stages.pull import Pace, Waiting
from pacifica.notifications.store import pulling
from pacifica.notifications.subscriptions import Subscription

LONG = 20.0


def of(user: str) -> Subscription:
    return Subscription(uuid4(), user, "pull:", {}, {}, 1)


@pytest.fixture
def available(monkeypatch: pytest.MonkeyPatch) -> set[UUID]:
    """Give the set of subscriptions for which there is something."""
    there: set[UUID] = set()
    monkeypatch.setattr(pulling, "with_available", lambda asked: there & set(asked))
    return there


def test_places_are_bounded_and_each_user_has_a_share() -> None:
    waiting = Waiting(4, 0.01)
    with ExitStack() as places:
        given = [places.enter_context(waiting.place(of("alice"))) for _ in range(3)]
        assert given == [True, True, False]
        given = [places.enter_context(waiting.place(of(user))) for user in ("bob", "carol", "dora")]
        assert given == [True, True, False]
    with waiting.place(of("dora")) as has_place:
        assert has_place


def test_one_place_serves_one_user_at_a_time() -> None:
    waiting = Waiting(1, 0.01)
    with waiting.place(of("alice")) as first, waiting.place(of("bob")) as second:
        assert (first, second) == (True, False)
    with Waiting(0, 0.01).place(of("alice")) as none:
        assert not none


def test_who_waits_learns_of_deliveries_of_their_own_alone(available: set[UUID]) -> None:
    waiting, alice, bob = Waiting(4, 0.01), of("alice"), of("bob")
    with (
        waiting.place(alice),
        waiting.place(bob),
        ThreadPoolExecutor(2) as threads,
    ):
        hers = threads.submit(waiting.until, alice.uuid, monotonic() + LONG)
        his = threads.submit(waiting.until, bob.uuid, monotonic() + 0.3)
        available.add(alice.uuid)
        assert hers.result(LONG)
        assert not his.result(LONG)


def test_waiting_ends_when_nobody_waits_for_the_answer(available: set[UUID]) -> None:
    waiting, alice, gone = Waiting(4, 0.01), of("alice"), Event()
    with waiting.place(alice), ThreadPoolExecutor(1) as threads:
        waits = threads.submit(waiting.until, alice.uuid, monotonic() + LONG, gone.is_set)
        gone.set()
        assert not waits.result(LONG / 2)
        available.add(alice.uuid)
        assert not waiting.until(alice.uuid, monotonic() + LONG, gone.is_set)


def test_waiting_ends_at_once_when_the_server_stops(available: set[UUID]) -> None:
    waiting, alice = Waiting(4, 0.01), of("alice")
    with waiting.place(alice), ThreadPoolExecutor(1) as threads:
        waits = threads.submit(waiting.until, alice.uuid, monotonic() + LONG)
        waiting.stop()
        assert not waits.result(LONG / 2)
    with waiting.place(alice) as has_place:
        assert not has_place
    assert not available


def test_many_who_fetch_in_vain_are_asked_to_come_back_later() -> None:
    pace = Pace(PullSettings())
    assert 1 < pace.retry_after(uuid4()) < 3
    for _ in range(3000):
        pace.retry_after(uuid4())
    assert 20 < pace.retry_after(uuid4()) < 40
    for _ in range(30_000):
        last = pace.retry_after(uuid4())
    assert 40 < last < 80
