"""What a PostgreSQL that is connected and says nothing may cost."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from pacifica.notifications.errors import StoreUnavailable
from pacifica.notifications.orm import DB
from pacifica.notifications.store.revisions import current_revision
from tests.support.servers import eventually

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(sys.platform == "win32", reason="needs SIGSTOP"),
    pytest.mark.parametrize("engine", ["postgresql"], indirect=True),
    pytest.mark.usefixtures("database"),
]


@contextmanager
def hanging_server_process() -> Iterator[None]:
    """Stop the server's process behind this thread's connection for the time of the block."""
    current_revision()
    process = DB.execute_sql("SELECT pg_backend_pid()").fetchone()[0]
    try:
        os.kill(process, signal.SIGSTOP)
    except (PermissionError, ProcessLookupError):
        pytest.skip("the server's process cannot be stopped from here")
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def test_reading_uses_a_new_connection_when_the_old_one_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_STATEMENT_TIMEOUT", "1")
    DB.unbind()
    with hanging_server_process():
        assert current_revision() == 0


def test_reading_gives_up_within_five_seconds_when_the_server_hangs_at_the_default_limits() -> None:
    DB.unbind()
    with hanging_server_process():
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            current_revision()
        assert time.monotonic() - began < 5
    eventually(answers)


def answers() -> bool:
    with suppress(StoreUnavailable):
        return current_revision() == 0
    return False
