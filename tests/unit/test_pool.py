"""What threads get from a pool of connections."""

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import peewee
import pytest

from pacifica.notifications.orm.pool import Pool

TIMES = 3000


class Connection:
    """A connection to no server."""

    is_broken = False
    is_closed = False


class Engine(peewee.Database):
    """A database that is always there."""

    def _connect(self) -> Connection:
        return Connection()

    def _close(self, connection: Connection) -> None:
        connection.is_closed = True


class PooledEngine(Pool, Engine):
    pass


def pool_of(size: int, max_wait: float) -> PooledEngine:
    """Give a pool as the service sets one up: without peewee's lock around connecting."""
    pool = PooledEngine("name", max_connections=size, timeout=max_wait)
    pool._lock = nullcontext()
    return pool


@pytest.fixture
def busy_threads() -> Iterator[None]:
    """Have threads interrupt each other as often as can be."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("busy_threads")
def test_no_other_thread_gets_a_connection_that_its_own_one_gave_up() -> None:
    pool = pool_of(2, max_wait=10)
    over = threading.Event()

    def offered() -> list[bool]:
        broken = []
        while not over.is_set():
            broken.append(pool.connection().is_broken)
            pool.close()
        return broken

    with ThreadPoolExecutor(1) as thread:
        others = thread.submit(offered)
        for _ in range(TIMES):
            pool.connection().is_broken = True
            pool.close_all()
        over.set()
        assert not any(others.result(10))


def test_connection_is_given_back_once_when_its_thread_closes_it_twice() -> None:
    pool = pool_of(1, max_wait=0.01)
    given_up = pool.connection()
    pool.close_all()
    pool.close_all()
    assert given_up.is_closed
    mine = pool.connection()
    with ThreadPoolExecutor(1) as thread:
        with pytest.raises(peewee.OperationalError, match="in use"):
            thread.submit(pool.connection).result(10)
        pool.close()
        assert thread.submit(pool.connection).result(10) is mine
