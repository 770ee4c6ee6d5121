"""Locks and leases, on every engine, and what becomes of them when the clock is put back."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from pacifica.notifications.clock import utcnow
from pacifica.notifications.orm import EventLog, EventLogMatch, Lock, writing
from pacifica.notifications.store import deliveries, events
from pacifica.notifications.store.claims import recall, take_lock
from tests.support.stored import LEASE, SOON, allowed, subscribe, write

HOUR = timedelta(hours=1)


def test_lock_is_one_workers_until_it_expires() -> None:
    assert take_lock("sweep", LEASE)
    assert not take_lock("sweep", LEASE)
    assert take_lock("other", 0.0)
    assert take_lock("other", LEASE)
    assert not take_lock("other", LEASE)


def test_lock_is_taken_by_one_worker_when_several_try_at_once() -> None:
    for _ in range(3):
        start = threading.Barrier(4)

        def worker(_number: int, start: threading.Barrier = start) -> bool:
            start.wait(10)
            return take_lock("sweep", LEASE)

        with ThreadPoolExecutor(4) as threads:
            assert sorted(threads.map(worker, range(4))) == [False, False, False, True]
        let_locks_expire()


def test_lock_is_free_when_the_clock_was_put_back() -> None:
    assert take_lock("sweep", LEASE)
    put_the_clock_back(HOUR)
    assert take_lock("sweep", LEASE)
    assert not take_lock("sweep", LEASE)


def test_lock_stays_one_workers_when_clocks_differ_a_little() -> None:
    assert take_lock("sweep", LEASE)
    put_the_clock_back(timedelta(seconds=30))
    assert not take_lock("sweep", LEASE)


def test_events_and_deliveries_are_due_again_when_the_clock_was_put_back() -> None:
    event, _ = allowed(subscribe())
    write(EventLog, [event], due=utcnow())
    put_the_clock_back(HOUR)
    assert (events.due_events(10), deliveries.due_allowed(10)) == ([], [])
    assert recall(LEASE, LEASE) == 2
    assert events.due_events(10) == [event]
    assert len(deliveries.due_allowed(10)) == 1


def test_waits_are_not_cut_short_when_they_can_last_so_long() -> None:
    allowed(subscribe())
    put_the_clock_back(HOUR)
    assert recall(HOUR.total_seconds(), LEASE) == 0


@writing
def put_the_clock_back(by: timedelta) -> None:
    """Have all that is stored be of a clock that was ahead by so much."""
    for model, field in ((Lock, "expires"), (EventLog, "due"), (EventLogMatch, "due")):
        for each in model.select():
            if getattr(each, field) is not None:
                setattr(each, field, getattr(each, field) + by)
                each.save()


@writing
def let_locks_expire() -> None:
    Lock.update(expires=utcnow() - SOON).execute()
