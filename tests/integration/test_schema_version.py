"""Whether this code can work on the database that it finds, and whether it finds one."""

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from pacifica.notifications.errors import SchemaMismatch, StoreUnavailable
from pacifica.notifications.orm import DB, NotificationSystem, OrmSync, check_safe
from pacifica.notifications.orm.version import record_version
from tests.support import databases

only_sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


class Reaction(logging.Handler):
    """Does something when the first failed try is logged."""

    def __init__(self, react: Callable[[], None]) -> None:
        super().__init__()
        self._left = [react]

    def emit(self, record: logging.LogRecord) -> None:
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


def test_get_version_is_0_0_when_there_is_no_table(empty_database: str) -> None:
    assert NotificationSystem.get_version() == (0, 0)
    assert NotificationSystem.get_or_create_version() == (0, 0)
    assert not NotificationSystem.table_exists()


@only_sqlite
def test_get_or_create_version_records_ours_when_table_is_empty(database: str) -> None:
    NotificationSystem.delete().execute()
    assert NotificationSystem.get_version() == (0, 0)
    assert NotificationSystem.get_or_create_version() == (4, 0)
    assert NotificationSystem.get_version() == (4, 0)


@only_sqlite
@pytest.mark.parametrize(
    ("version", "equal", "safe"),
    [
        ((4, 0), True, True),
        ((4, 1), False, True),
        ((3, 0), False, False),
        ((5, 0), False, False),
        ((0, 0), False, False),
    ],
)
def test_version_is_judged_by_its_major_and_minor_when_it_is_recorded(
    database: str, version: tuple[int, int], equal: bool, safe: bool
) -> None:
    record_version(version)
    assert NotificationSystem.get_version() == version
    assert NotificationSystem.get_or_create_version() == version
    assert NotificationSystem.is_equal() is equal
    assert NotificationSystem.is_safe() is safe


@only_sqlite
@pytest.mark.parametrize(
    ("version", "remedy"),
    [
        ((3, 0), "run `pacifica-notifications-cmd dbsync`"),
        ((0, 0), "run `pacifica-notifications-cmd dbsync`"),
        ((5, 0), "upgrade the program"),
    ],
)
def test_check_safe_says_what_to_do_when_version_is_another(
    database: str, version: tuple[int, int], remedy: str
) -> None:
    record_version(version)
    with pytest.raises(SchemaMismatch) as refusal:
        check_safe()
    assert str(refusal.value) == (
        f"the database has schema version {version[0]}.{version[1]} "
        f"and this program needs 4.0: {remedy}"
    )


@only_sqlite
@pytest.mark.parametrize("version", [(4, 0), (4, 1)])
def test_check_safe_agrees_when_major_version_is_ours(
    database: str, version: tuple[int, int]
) -> None:
    record_version(version)
    check_safe()
    assert NotificationSystem.get_version() == version


def test_get_version_is_unavailable_when_database_is_absent(
    engine: str, absent_database: str
) -> None:
    if engine == "sqlite":
        pytest.skip("SQLite makes a file that is absent")
    with pytest.raises(StoreUnavailable) as refusal:
        NotificationSystem.get_version()
    assert refusal.value.__cause__ is not None


def test_dbconn_blocking_leaves_connection_open_when_database_is_there(
    empty_database: str,
) -> None:
    OrmSync.dbconn_blocking()
    assert not DB.is_closed()
    OrmSync.dbconn_blocking()
    assert DB.execute_sql("SELECT 1").fetchone() == (1,)


def test_dbconn_blocking_succeeds_when_database_comes_later(
    engine: str, absent_database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    if engine == "sqlite":
        pytest.skip("SQLite makes a file that is absent")
    monkeypatch.setenv("DATABASE_CONNECT_ATTEMPTS", "2")
    monkeypatch.setenv("DATABASE_CONNECT_WAIT", "0")
    with reaction(lambda: databases.create(absent_database)):
        OrmSync.dbconn_blocking()
    assert DB.execute_sql("SELECT 1").fetchone() == (1,)
