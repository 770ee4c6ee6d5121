"""Waiting for a database that is away, for as long as the configuration says."""

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from pacifica.notifications.errors import StoreUnavailable
from pacifica.notifications.orm import DB, OrmSync
from tests.support import databases


class Reaction(logging.Handler):
    """Does something when the first failed try is logged."""

    def __init__(self, react: Callable[[], None]) -> None:
        super().__init__()
        self._left = [react]

    def emit(self, _record: logging.LogRecord) -> None:
        if self._left:
            self._left.pop()()


@contextmanager
def reaction(react: Callable[[], None]) -> Iterator[None]:
    logger = logging.getLogger("pacifica.notifications.orm.schema")
    handler = Reaction(react)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@pytest.mark.usefixtures("empty_database")
def test_dbconn_blocking_leaves_connection_open_when_database_is_there() -> None:
    OrmSync.dbconn_blocking()
    assert not DB.is_closed()
    OrmSync.dbconn_blocking()
    assert DB.execute_sql("SELECT 1").fetchone() == (1,)


def test_dbconn_blocking_succeeds_when_database_comes_later(
    absent_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_CONNECT_ATTEMPTS", "2")
    monkeypatch.setenv("DATABASE_CONNECT_WAIT", "0")
    with reaction(lambda: databases.create(absent_database)):
        OrmSync.dbconn_blocking()
    assert DB.execute_sql("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("scheme", ["postgresql", "mysql", "mysql+pool"])
def test_dbconn_blocking_gives_up_without_telling_the_password_when_nobody_listens(
    scheme: str,
    closed_port: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("DATABASE_CONNECT_ATTEMPTS", "3")
    monkeypatch.setenv("DATABASE_CONNECT_WAIT", "0.01")
    url = f"{scheme}://somebody:sesame@127.0.0.1:{closed_port}/absent"
    with databases.configured(url, monkeypatch), pytest.raises(StoreUnavailable) as refusal:
        OrmSync.dbconn_blocking()
    assert refusal.value.__cause__ is not None
    assert "was not reached in 3 tries" in str(refusal.value)
    assert [record.args[1] for record in caplog.records] == [1, 2, 3]
    for line in (*caplog.messages, str(refusal.value)):
        assert "sesame" not in line
        assert "\n" not in line


@pytest.mark.parametrize("engine", databases.ON_SERVERS, indirect=True)
def test_dbconn_blocking_replaces_connection_when_it_died(engine: str, empty_database: str) -> None:
    if engine == "sqlite":
        pytest.skip("a file does not hang up")
    OrmSync.dbconn_blocking()
    databases.hang_up(empty_database)
    OrmSync.dbconn_blocking()
    assert DB.execute_sql("SELECT 1").fetchone() == (1,)


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
