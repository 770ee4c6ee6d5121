"""Fetching deliveries on every engine: what is handed out to whom, and what becomes of locks."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import Cause, Ruling, State
from pacifica.notifications.orm import Attempt, EventLogMatch, EventMatch, reading
from pacifica.notifications.settings import PullSettings, Settings
from pacifica.notifications.store import (
    deliveries,
    expiring,
    holding,
    pulling,
    resending,
    subscriptions,
)
from pacifica.notifications.store.history import attempts_of, delivery_of
from pacifica.notifications.store.pulling import Fetched, LockResult, PullLock
from tests.support.stored import (
    LEASE,
    available,
    deliveries_of,
    make_available,
    matched,
    receive,
    record_matches,
    release_or_probe,
    row,
    state,
    subscribe,
    tallies,
    write,
)

PULL = PullSettings(attempts=3)
OK, GONE, LATE = LockResult.ACKNOWLEDGED, LockResult.UNKNOWN, LockResult.EXPIRED


def fetch(subscription: UUID, limit: int = 100, settings: PullSettings = PULL) -> list[Fetched]:
    return pulling.fetch(subscription, limit, 60, settings)


def locks_of(fetched: list[Fetched]) -> list[PullLock]:
    return [each.lock for each in fetched]


def uuids(fetched: list[Fetched]) -> list[UUID]:
    return [each.lock.delivery for each in fetched]


def run_out(*of: UUID) -> None:
    """Let the locks of deliveries run out."""
    write(EventLogMatch, of, leased=utcnow() - timedelta(days=1))


def fetched_from(subscription: UUID, limit: int = 100) -> list[UUID]:
    return uuids(fetch(subscription, limit))


def test_oldest_are_handed_out_first_and_to_one_only() -> None:
    subscription, (first, second, third) = available(3)
    _other, _others = available(1)
    assert fetched_from(subscription, 2) == [first, second]
    assert fetched_from(subscription, 2) == [third]
    assert fetched_from(subscription) == []


def test_nobody_else_is_handed_what_is_locked_by_many_at_once(engine: str) -> None:
    subscription, stored = available(60)

    def some(_number: int) -> list[UUID]:
        return fetched_from(subscription, 7)

    with ThreadPoolExecutor(4) as threads:
        handed_out = [uuid for each in threads.map(some, range(24)) for uuid in each]
    assert sorted(handed_out) == sorted(stored), engine


def test_acknowledged_is_delivered_with_its_attempt_on_record() -> None:
    subscription, (delivery,) = available(1)
    (fetched,) = fetch(subscription)
    assert pulling.acknowledge(subscription, [fetched.lock]) == [OK]
    assert state(delivery) == ("delivered", False, 1)
    (attempt,) = attempts_of(delivery)
    assert (attempt.number, attempt.outcome, attempt.status) == (1, "delivered", None)
    assert (attempt.url, attempt.body, attempt.cause) == ("pull:", "acknowledged", "automatic")
    assert fetched_from(subscription) == []
    counts = tallies().take()
    assert counts["pull_locks:acknowledged"] == counts["deliveries_finished:delivered"] == 1


def test_acknowledging_again_is_answered_as_before_and_changes_nothing() -> None:
    subscription, (delivery,) = available(1)
    locks = locks_of(fetch(subscription))
    pulling.acknowledge(subscription, locks)
    assert pulling.acknowledge(subscription, locks) == [OK]
    assert pulling.release(subscription, locks, 0, PULL) == [LATE]
    assert pulling.renew(subscription, locks, 60) == [LATE]
    assert row(EventLogMatch, delivery).tries == len(attempts_of(delivery)) == 1


def test_each_lock_of_many_has_its_own_answer() -> None:
    subscription, (first, second, third) = available(3)
    other, (of_other,) = available(1)
    one, two, three = locks_of(fetch(subscription))
    (foreign,) = locks_of(fetch(other))
    run_out(second)
    guessed = PullLock(third, uuid4())
    unknown = PullLock(uuid4(), uuid4())
    given = [unknown, two, one, guessed, foreign]
    assert pulling.acknowledge(subscription, given) == [GONE, LATE, OK, LATE, GONE]
    assert [state(each)[0] for each in (first, second, third, of_other)] == [
        *("delivered", "available", "available", "available")
    ]
    assert pulling.acknowledge(subscription, [three]) == [OK]


def test_lock_that_ran_out_hands_out_again_and_is_on_record() -> None:
    subscription, (delivery,) = available(1)
    (before,) = fetch(subscription)
    run_out(delivery)
    (again,) = fetch(subscription)
    assert (before.attempt, again.attempt) == (1, 2)
    assert pulling.acknowledge(subscription, [before.lock]) == [LATE]
    assert pulling.acknowledge(subscription, [again.lock]) == [OK]
    assert [(each.number, each.outcome) for each in attempts_of(delivery)] == [
        (1, "retrying"),
        (2, "delivered"),
    ]


def test_released_is_handed_out_at_once_or_after_its_delay() -> None:
    subscription, (first, second) = available(2)
    one, two = locks_of(fetch(subscription))
    assert pulling.release(subscription, [one], 0, PULL) == [LockResult.RELEASED]
    assert pulling.release(subscription, [two], 100, PULL) == [LockResult.RELEASED]
    assert pulling.acknowledge(subscription, [one, two]) == [LATE, LATE]
    assert fetched_from(subscription) == [first]
    run_out(second)
    assert fetched_from(subscription) == [second]
    # Its lock did not run out: it had none.
    assert [each.body for each in attempts_of(second)] == ["it was released"]


def test_renewed_lock_lasts_longer() -> None:
    subscription, (delivery,) = available(1)
    (lock,) = locks_of(fetch(subscription))
    before = row(EventLogMatch, delivery).leased
    assert pulling.renew(subscription, [lock], 3600) == [LockResult.RENEWED]
    assert row(EventLogMatch, delivery).leased - before > timedelta(minutes=55)
    run_out(delivery)
    assert pulling.renew(subscription, [lock], 3600) == [LATE]


@pytest.mark.parametrize("how", ["run out", "release"])
def test_handed_out_too_often_is_held_until_its_owner_acts(how: str, settings: Settings) -> None:
    subscription, (delivery, other) = available(2)
    for _ in range(PULL.attempts):
        fetched = fetch(subscription)
        assert uuids(fetched) == [delivery, other]
        results = pulling.release(subscription, locks_of(fetched)[: how == "release"], 0, PULL)
        run_out(other, *[delivery] * (how == "run out"))
    assert results == [LockResult.HELD] * (how == "release")
    assert fetched_from(subscription) == []
    assert state(delivery)[0] == state(other)[0] == "held"
    assert [each.outcome for each in attempts_of(delivery)] == ["retrying", "retrying", "held"]
    subscriptions.update("alice", subscription, lambda _stored: {"name": "mended"})
    release_or_probe(subscription, settings)
    authorise(delivery, other)
    (again, _other) = fetch(subscription)
    assert (again.lock.delivery, again.attempt) == (delivery, 1)


def authorise(*delivered: UUID) -> None:
    events = [row(EventLogMatch, each).event_log_id for each in delivered]
    claimed = tuple(deliveries.claim_matched(events, LEASE, 100))
    deliveries.record_rulings([Ruling(claimed, State.ALLOWED, utcnow(), "200", "")])


def test_batch_ends_where_its_events_are_too_large_together() -> None:
    subscription = subscribe(target_url="pull:")
    stored = [make_available(subscription) for _ in range(3)]
    size = len('{"data": 1}')
    small = PullSettings(max_bytes=2 * size)
    assert uuids(fetch(subscription, settings=small)) == stored[:2]
    alone = PullSettings(max_bytes=1)
    assert uuids(fetch(subscription, settings=alone)) == stored[2:]


def test_clock_that_was_put_back_locks_nothing_for_longer_than_a_lock_lasts() -> None:
    subscription, (delivery,) = available(1)
    (lock,) = locks_of(fetch(subscription))
    write(EventLogMatch, [delivery], leased=utcnow() + timedelta(days=1))
    assert fetched_from(subscription) == [delivery]
    assert pulling.acknowledge(subscription, [lock]) == [LATE]


def test_disabled_holds_what_is_available_and_a_lock_still_acknowledges() -> None:
    subscription, (first, second) = available(2)
    (lock,) = locks_of(fetch(subscription, 1))
    assert holding.disable(subscription, "Policy does not know the user")
    assert state(first)[0] == state(second)[0] == "held"
    assert pulling.acknowledge(subscription, [lock]) == [OK]
    assert state(first)[0] == "delivered"


def test_deleted_drops_what_is_available() -> None:
    subscription, (delivery,) = available(1)
    subscriptions.delete("alice", subscription)
    assert state(delivery)[0] == "dropped"


def test_unfetched_expires_with_what_is_held_and_never_under_a_lock() -> None:
    subscription, stored = available(4)
    locked, *others = stored
    fetch(subscription, 1)
    assert expiring.expire(2, LEASE) == 2
    assert [state(each)[0] for each in (locked, *others)] == [
        *("available", "expired", "expired", "available")
    ]
    write(EventLogMatch, stored, created=utcnow() - timedelta(days=1))
    assert expiring.expire(100, LEASE) == 1
    run_out(locked)
    assert expiring.expire(100, LEASE) == 1


def test_resent_is_handed_out_again_when_the_lock_of_a_fetcher_is_over() -> None:
    subscription, (delivery,) = available(1)
    (lock,) = locks_of(fetch(subscription))
    resend(subscription, delivery)
    assert state(delivery)[0] == "matched"
    assert row(EventLogMatch, delivery).due == row(EventLogMatch, delivery).leased
    pulling.acknowledge(subscription, [lock])
    resend(subscription, delivery)
    authorise(delivery)
    (again,) = fetch(subscription)
    assert (again.attempt, again.cause) == (1, Cause.RESEND)
    assert [each.outcome for each in attempts_of(delivery)] == ["delivered"]


def resend(subscription: UUID, delivery: UUID) -> None:
    found = delivery_of(subscription, delivery)
    assert found is not None
    resending.resend(found, "alice")


@pytest.mark.parametrize("when", ["matched", "allowed"])
def test_webhook_that_becomes_pulled_leaves_its_deliveries_to_be_fetched(when: str) -> None:
    subscription = subscribe()
    event = matched(subscription)
    (delivery,) = deliveries_of(event)
    if when == "allowed":
        authorise(delivery)
    subscriptions.update("alice", subscription, lambda _stored: {"target_url": "pull:"})
    if when == "allowed":
        assert deliveries.claim_allowed([delivery], LEASE, 10) == []
    else:
        authorise(delivery)
    assert state(delivery) == ("available", False, 0)
    assert fetched_from(subscription) == [delivery]


def test_pulled_that_becomes_a_webhook_is_sent_what_was_not_fetched(settings: Settings) -> None:
    subscription, (first, second) = available(2)
    (lock,) = locks_of(fetch(subscription, 1))
    web = {"target_url": "http://target.invalid/"}
    subscriptions.update("alice", subscription, lambda _stored: web)
    # A dispatch that began before may still leave something to be fetched.
    assert row(EventMatch, subscription).held_due > utcnow() + timedelta(seconds=30)
    write(EventMatch, [subscription], held_due=utcnow())
    release_or_probe(subscription, settings)
    # What somebody has fetched waits until they have had their time.
    assert row(EventLogMatch, first).due == row(EventLogMatch, first).leased
    assert row(EventLogMatch, second).due <= utcnow()
    authorise(second)
    assert [each.uuid for each in deliveries.claim_allowed([second], LEASE, 10)] == [second]
    assert pulling.acknowledge(subscription, [lock]) == [LATE]


def test_dispatch_leaves_nothing_to_send_to_what_is_pulled() -> None:
    subscription = subscribe(target_url="pull:")
    event = receive()
    record_matches(event, [subscription])
    (delivery,) = deliveries_of(event)
    authorise(delivery)
    assert deliveries.due_allowed(100) == []
    assert state(delivery) == ("available", False, 0)


def test_given_up_is_not_handed_out_again() -> None:
    subscription, (delivery,) = available(1)
    (fetched,) = fetch(subscription)
    pulling.give_up(fetched, "its version does not allow this")
    assert state(delivery)[0] == "failed"
    assert fetched_from(subscription) == []


def test_only_subscriptions_with_something_to_fetch_are_found() -> None:
    waiting, _ = available(1)
    locked, _ = available(1)
    fetch(locked)
    empty = subscribe(target_url="pull:")
    assert pulling.with_available([waiting, locked, empty, uuid4()]) == {waiting}


def test_time_is_that_of_the_database() -> None:
    assert abs(pulling.database_now() - utcnow()) < timedelta(seconds=60)


@pytest.mark.parametrize(
    "call",
    [
        lambda subscription, lock: pulling.acknowledge(subscription, [lock]),
        lambda subscription, lock: pulling.release(subscription, [lock], 0, PULL),
        lambda subscription, lock: pulling.renew(subscription, [lock], 60),
    ],
    ids=["acknowledge", "release", "renew"],
)
def test_lock_of_another_subscription_changes_nothing(
    call: Callable[[UUID, PullLock], Any],
) -> None:
    mine, _ = available(1)
    _theirs, (delivery,) = available(1, user="bob")
    (lock,) = locks_of(fetch(_theirs))
    before = row(EventLogMatch, delivery).leased
    assert call(mine, lock) == [GONE]
    assert (state(delivery)[0], row(EventLogMatch, delivery).leased) == ("available", before)


@reading
def attempts() -> int:
    return Attempt.select().count()


def test_hundred_are_acknowledged_in_one_transaction() -> None:
    subscription, stored = available(100)
    fetched = fetch(subscription)
    assert uuids(fetched) == stored
    assert set(pulling.acknowledge(subscription, locks_of(fetched))) == {OK}
    assert attempts() >= 100
    assert row(EventMatch, subscription).disabled is None
