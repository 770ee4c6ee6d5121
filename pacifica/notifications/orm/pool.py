"""Connections that a process's threads share: so many at most, each one thread's for a while."""

import threading
import time
from contextlib import suppress
from typing import Any

import peewee

_PEEWEE: Any = peewee  # its type stubs leave out what is used here


class Pool(_PEEWEE.Database):
    """Makes a pool of the peewee database whose class comes after this one.

    Peewee's own pool connects to a server, or asks it, while all its threads wait; on one that
    hangs they would wait one after the other. Here a thread waits for the server alone, and one
    that gets a dead connection finds out when it uses it.
    """

    def __init__(
        self,
        database: str,
        *,
        max_connections: int = 20,
        stale_timeout: float | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> None:
        """Take what a URL says: seconds to keep an idle connection, and to wait for one."""
        self._free = threading.BoundedSemaphore(max_connections)
        self._patience = timeout or None
        self._keeps = float("inf") if stale_timeout is None else stale_timeout
        self._idle: list[tuple[float, Any]] = []
        super().__init__(database, **options)

    def close_all(self) -> None:
        """Close this thread's connection and those that no thread uses.

        What killed one of them may have killed all. No thread is offered this one's meanwhile.
        """
        if not self.is_closed():
            connection = self._state.conn
            self._state.reset()
            self._end(connection)
            self._free.release()
        self._take_idle(keep=0)

    def _connect(self) -> Any:
        if not self._free.acquire(timeout=self._patience):
            raise peewee.OperationalError("all connections of the pool are in use")
        try:
            return self._take_idle(self._keeps) or super()._connect()
        except BaseException:
            self._free.release()
            raise

    def _close(self, connection: Any) -> None:
        self._idle.append((time.monotonic(), connection))
        self._free.release()

    def _take_idle(self, keep: float) -> Any:
        """Return a connection that was idle for less than `keep` seconds; close others before."""
        with suppress(IndexError):  # another thread may take the last one
            while True:
                since, connection = self._idle.pop()
                if time.monotonic() - since < keep:
                    return connection
                self._end(connection)
        return None

    def _end(self, connection: Any) -> None:
        with suppress(Exception):  # of a driver, about what is of no more use
            super()._close(connection)
