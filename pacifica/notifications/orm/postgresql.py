"""PostgreSQL connections with a time-out for a hanging server.

PostgreSQL enforces `statement_timeout` itself, which does not help when the server is stopped or
unreachable. psycopg2 has no read time-out, but calls a function to wait.
"""

import math
import select
import time
from typing import Any

import peewee
import psycopg2
from psycopg2 import extensions

_PEEWEE: Any = peewee  # its type stubs omit members that are used here
_HAS_POLL = hasattr(select, "poll")  # Windows has none


class PostgresqlDatabase(_PEEWEE.PostgresqlDatabase):
    """A peewee database that raises ValueError for options unknown to PostgreSQL."""

    def init(self, database: str, **options: Any) -> None:
        """Configure the database without connecting."""
        super().init(database, **options)
        names = self.connect_params.keys() - {"connection_factory"}
        try:
            extensions.make_dsn(**{name: self.connect_params[name] for name in names})
        except psycopg2.ProgrammingError as error:
            raise ValueError(str(error).strip()) from error


class _Connection(extensions.connection):
    """A connection that waits `answer_timeout` seconds for a response; None: forever."""

    answer_timeout: float | None = None


def connection_class(answer_timeout: float | None) -> type[_Connection]:
    """Return a class of connections with a time-out (seconds) for each response."""
    extensions.set_wait_callback(_wait)
    return type("Connection", (_Connection,), {"answer_timeout": answer_timeout})


def _wait(connection: Any) -> None:
    """Wait for one response of the server; if this raises, psycopg2 disconnects."""
    seconds = getattr(connection, "answer_timeout", None)
    deadline = None if seconds is None else time.monotonic() + seconds
    while (state := connection.poll()) != extensions.POLL_OK:
        remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not _is_ready(connection.fileno(), state == extensions.POLL_READ, remaining):
            raise psycopg2.OperationalError(f"no answer within {seconds:g} s")


def _is_ready(socket: int, for_reading: bool, timeout: float | None) -> bool:
    # `selectors` would take longer than the rest of a short statement here.
    if _HAS_POLL:
        poll = select.poll()
        poll.register(socket, select.POLLIN if for_reading else select.POLLOUT)
        return bool(poll.poll(None if timeout is None else math.ceil(timeout * 1000)))
    sockets = [socket]
    reading, writing = (sockets, []) if for_reading else ([], sockets)
    return any(select.select(reading, writing, [], timeout))
