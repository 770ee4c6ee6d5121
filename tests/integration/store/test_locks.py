"""Locks that one worker at a time has, on every engine."""

import threading
from concurrent.futures import ThreadPoolExecutor

from pacifica.notifications.clock import utcnow
from pacifica.notifications.orm import Lock, writing
from pacifica.notifications.store.claims import take_lock
from tests.support.stored import LEASE, SOON


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


@writing
def let_locks_expire() -> None:
    Lock.update(expires=utcnow() - SOON).execute()
