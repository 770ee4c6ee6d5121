"""PostgreSQL connections that give up on a server that hangs.

`statement_timeout` is the server's own; one that is stopped, or cut off without a word, keeps no
time. psycopg2 has no time-out for reading, but lets the waiting be done here.
"""

import math
import select
import time
from typing import Any

import psycopg2
from psycopg2 import extensions

_HAS_POLL = hasattr(select, "poll")  # which Windows lacks


class _Connection(extensions.connection):
    """A connection that waits for each answer for a bounded time; None: as long as it takes."""

    answers_within: float | None = None


def connection_class(answers_within: float | None) -> type[_Connection]:
    """Return what psycopg2 is to make connections of: their answers come within some seconds."""
    extensions.set_wait_callback(_wait)
    return type("Connection", (_Connection,), {"answers_within": answers_within})


def _wait(connection: Any) -> None:
    """Wait for one answer of the server; psycopg2 closes a connection whose wait raised."""
    seconds = getattr(connection, "answers_within", None)
    deadline = None if seconds is None else time.monotonic() + seconds
    while (state := connection.poll()) != extensions.POLL_OK:
        remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not _is_ready(connection.fileno(), state == extensions.POLL_READ, remaining):
            raise psycopg2.OperationalError(f"no answer within {seconds:g} s")


def _is_ready(socket: int, for_reading: bool, timeout: float | None) -> bool:
    # Not by `selectors`, whose objects cost more than the rest of a short statement here.
    if _HAS_POLL:
        poll = select.poll()
        poll.register(socket, select.POLLIN if for_reading else select.POLLOUT)
        return bool(poll.poll(None if timeout is None else math.ceil(timeout * 1000)))
    sockets = [socket]
    reading, writing = (sockets, []) if for_reading else ([], sockets)
    return any(select.select(reading, writing, [], timeout))
