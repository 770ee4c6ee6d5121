"""Duties that one worker at a time has, on every engine."""

import threading
from concurrent.futures import ThreadPoolExecutor

from pacifica.notifications.clock import utcnow
from pacifica.notifications.orm import Lease
from pacifica.notifications.orm.transaction import writing
from pacifica.notifications.store.leases import take_lease
from tests.support.stored import LEASE, SOON


def test_lease_is_one_workers_until_it_runs_out() -> None:
    assert take_lease("sweep", LEASE)
    assert not take_lease("sweep", LEASE)
    assert take_lease("other", 0.0)
    assert take_lease("other", LEASE)
    assert not take_lease("other", LEASE)


def test_lease_is_taken_by_one_of_workers_at_once() -> None:
    for _ in range(3):
        start = threading.Barrier(4)

        def worker(_number: int, start: threading.Barrier = start) -> bool:
            start.wait(10)
            return take_lease("sweep", LEASE)

        with ThreadPoolExecutor(4) as threads:
            assert sorted(threads.map(worker, range(4))) == [False, False, False, True]
        let_duties_run_out()


@writing
def let_duties_run_out() -> None:
    Lease.update(expires=utcnow() - SOON).execute()
