"""A bounded pool of connections that the threads of a process share."""

import threading
import time
from contextlib import suppress
from typing import Any

import peewee

_PEEWEE: Any = peewee  # its type stubs omit members that are used here


class Pool(_PEEWEE.Database):
    """Adds a pool to the peewee database class that follows it in the bases.

    Peewee's own pool holds a lock for all threads while it connects to a server or checks a
    connection. With a hanging server, they would wait one after the other. Here each thread waits
    for the server independently. A thread that gets a dead connection notices when it uses it.
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
        """Accept the options of a URL; both time-outs are in seconds.

        `stale_timeout` is how long to keep an idle connection, `timeout` how long to wait for one.
        """
        self._free = threading.BoundedSemaphore(max_connections)
        self._max_wait = timeout or None
        self._stale_timeout = float("inf") if stale_timeout is None else stale_timeout
        self._idle: list[tuple[float, Any]] = []
        super().__init__(database, **options)

    def close_all(self) -> None:
        """Close this thread's connection, and those that no thread uses.

        If one connection is dead, the others may be too. This thread's connection does not return
        to the pool.
        """
        if not self.is_closed():
            connection = self._state.conn
            self._state.reset()
            self._end(connection)
            self._free.release()
        self._take_idle(max_age=0)

    def _connect(self) -> Any:
        if not self._free.acquire(timeout=self._max_wait):
            raise peewee.OperationalError("all connections of the pool are in use")
        try:
            return self._take_idle(self._stale_timeout) or super()._connect()
        except BaseException:
            self._free.release()
            raise

    def _close(self, connection: Any) -> None:
        self._idle.append((time.monotonic(), connection))
        self._free.release()

    def _take_idle(self, max_age: float) -> Any:
        """Return a connection that was idle for less than `max_age` seconds; close older ones."""
        with suppress(IndexError):  # another thread may take the last one
            while True:
                since, connection = self._idle.pop()
                if time.monotonic() - since < max_age:
                    return connection
                self._end(connection)
        return None

    def _end(self, connection: Any) -> None:
        with suppress(Exception):  # a driver may raise anything for a dead connection
            super()._close(connection)
