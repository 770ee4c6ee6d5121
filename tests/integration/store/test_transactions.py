"""Transactions on every engine: conflicts, lost connections, waits."""

import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest

from pacifica.notifications.errors import StoreUnavailable
from pacifica.notifications.events import Event
from pacifica.notifications.orm import DB, EventLog, EventMatch, writing
from pacifica.notifications.store import events
from pacifica.notifications.store.revisions import current_revision
from tests.support import databases
from tests.support.servers import eventually
from tests.support.stored import claim_events, receive, received, row, subscribe, uuids_of

ONLY_SERVERS = pytest.mark.parametrize("engine", databases.ON_SERVERS, indirect=True)
ONLY_SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@ONLY_SERVERS
def test_function_runs_again_when_its_idle_connection_was_dead(database: str) -> None:
    event = receive()
    databases.hang_up(database)
    assert events.due_events(10) == [event]
    databases.hang_up(database)
    assert uuids_of(claim_events()) == {event}


@ONLY_SERVERS
def test_both_functions_take_effect_when_they_deadlocked() -> None:
    first, second = received(2)
    both_have_one = threading.Barrier(2)

    @writing
    def touch(mine: UUID, other: UUID, runs: list[int]) -> None:
        runs.append(1)
        EventLog.update(due=None).where(EventLog.uuid == mine).execute()
        if len(runs) == 1:
            both_have_one.wait(10)
        EventLog.update(due=None).where(EventLog.uuid == other).execute()

    attempts: tuple[list[int], list[int]] = ([], [])
    with ThreadPoolExecutor(2) as threads:
        one = threads.submit(touch, first, second, attempts[0])
        other = threads.submit(touch, second, first, attempts[1])
        one.result(20)
        other.result(20)
    assert sum(map(len, attempts)) == 3


@ONLY_SQLITE
def test_write_waits_while_another_program_writes(database: str) -> None:
    to = subscribe()
    with writing_program(database) as finish, ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(events.record_all, [Event(uuid4(), "{}")])
        assert events.due_events(10) == []  # a reader does not wait
        assert not waiting.done()
        finish()
        waiting.result(10)
    assert len(events.due_events(10)) == 1
    assert row(EventMatch, to).name == "n"


@ONLY_SQLITE
def test_write_is_given_up_when_another_program_writes_too_long(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_STATEMENT_TIMEOUT", "1")
    DB.unbind()
    with writing_program(database):
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            receive()
        assert time.monotonic() - began < 3
    eventually(receives_again)


def receives_again() -> bool:
    try:
        return bool(receive())
    except StoreUnavailable:  # the database is spared for a moment after it did not answer
        return False


class writing_program:  # noqa: N801 (a context manager)
    """Another program that is in the middle of a write to an SQLite database."""

    def __init__(self, database: str) -> None:
        file = urlsplit(database).path[1:]
        self._connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)

    def __enter__(self) -> Callable[[], None]:
        self._connection.execute("BEGIN IMMEDIATE")
        return lambda: self._connection.rollback()

    def __exit__(self, *_: object) -> None:
        with closing(self._connection) as connection:
            connection.rollback()


def test_store_without_tables_says_that_dbsync_is_needed() -> None:
    rename("notificationcounter", "absent")
    try:
        with pytest.raises(StoreUnavailable, match="dbsync"):
            current_revision()
        with pytest.raises(StoreUnavailable, match="dbsync"):
            subscribe()
    finally:
        rename("absent", "notificationcounter")
    assert subscribe()


@writing
def rename(table: str, name: str) -> None:
    DB.execute_sql(f"ALTER TABLE {table} RENAME TO {name}")
