"""The peewee database of each engine, with safe settings for threads and outages."""

import logging
import os
import random
import sqlite3
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import peewee
from playhouse import db_url

from pacifica.notifications.errors import ConfigError
from pacifica.notifications.orm.pool import Pool
from pacifica.notifications.settings import DatabaseSettings

_PEEWEE: Any = peewee  # its type stubs omit members that are used here
# In MySQL and MariaDB, TEXT holds 64 KiB, which is too small for an event, and DATETIME drops
# fractions of a second.
_MYSQL_TYPES = {"LONGTEXT": "LONGTEXT", "DATETIME": "DATETIME(6)"}
_OTHER_TYPES = {"LONGTEXT": "TEXT"}
# Seconds that a thread waits for a pooled connection; it may then also wait for a statement.
_POOL_WAIT = 0.7
# Seconds for the server's own time-out error to arrive, on top of the statement time-out.
_NETWORK_DELAY = 0.2
# Seconds between two attempts to begin a transaction while an SQLite file is locked.
_RETRY_PAUSE = (0.001, 0.01)
_PRIVATE = 0o600


class FairSqlite(_PEEWEE.SqliteDatabase):
    """SQLite in a private file, in which no writer waits much longer than others.

    After some time, SQLite itself retries only every 0.1 seconds. So new writers can overtake older
    ones for seconds if there are many. This class retries at the same short intervals until
    `busy_timeout` seconds have passed.
    """

    def __init__(self, database: str, *, busy_timeout: float, **options: Any) -> None:
        self._busy_timeout = busy_timeout
        super().__init__(database, **options)
        # This raises TypeError for unknown options.
        sqlite3.connect(":memory:", timeout=self._timeout, **self.connect_params).close()

    def begin(self, lock_type: str | None = None) -> None:
        """Begin a transaction; one with an explicit lock type waits inside SQLite."""
        if lock_type is not None:
            super().begin(lock_type)
            return
        deadline = time.monotonic() + self._busy_timeout
        self._set_busy_timeout(0)
        try:
            while not self._try_to_begin(deadline):
                time.sleep(random.uniform(*_RETRY_PAUSE))  # noqa: S311
        finally:
            self._set_busy_timeout(self._busy_timeout)

    def _connect(self) -> Any:
        """Connect; create a missing file so that only this user can read it.

        SQLite gives its other files the same mode. An existing file keeps its mode, so that an
        operator can share it with a group.
        """
        if self.database != ":memory:":
            # An existing file must not be opened: closing it would release the locks that other
            # connections of this process hold (POSIX). SQLite itself reports other problems.
            with suppress(OSError):
                os.close(os.open(self.database, os.O_CREAT | os.O_EXCL | os.O_RDWR, _PRIVATE))
        return super()._connect()

    def _try_to_begin(self, deadline: float) -> bool:
        try:
            super().begin()
        except peewee.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            return False
        return True

    def _set_busy_timeout(self, seconds: float) -> None:
        self.execute_sql(f"PRAGMA busy_timeout = {int(seconds * 1000)}")


def peewee_database(
    settings: DatabaseSettings, *, statement_timeout: float | None
) -> peewee.Database:
    """Return a database with the settings for its engine, not yet connected.

    `statement_timeout` (seconds) limits each SQL statement; None means no limit, for migrations.
    Raises ConfigError if the driver is not installed, or does not know the options in the URL.
    """
    logging.getLogger("peewee").addFilter(_without_parameters)
    try:
        database = _database(settings, statement_timeout)
    except ModuleNotFoundError as error:
        raise ConfigError(f"[database] peewee_url: {error.name} is not installed") from error
    except (TypeError, ValueError, OSError) as error:
        raise ConfigError(f"[database] peewee_url: its options cannot be used: {error}") from error
    # Each thread has its own connection. With peewee's lock, all threads would wait while one
    # connects to a hanging server, or closes its connection.
    database._lock = nullcontext()
    return database


def is_absent(database: peewee.Database) -> bool:
    """Return whether the database is an SQLite file that does not exist; it is not opened."""
    if not isinstance(database, FairSqlite) or database.database == ":memory:":
        return False
    return not Path(database.database).exists()


def close_connections(database: peewee.Database) -> None:
    """Close this thread's connection, and the idle connections of a pool."""
    if isinstance(database, Pool):
        database.close_all()
    else:
        database.close()


def _database(settings: DatabaseSettings, statement_timeout: float | None) -> Any:
    url = settings.peewee_url
    scheme = urlsplit(url).scheme
    engine = scheme.removesuffix("+pool").replace("sqliteext", "sqlite")
    # peewee 4 has dropped the scheme `sqliteext`, which existing configurations use.
    options = db_url.parse(url.replace(scheme, scheme.replace("sqliteext", "sqlite"), 1))
    if "passwd" in options:  # peewee's name for the password, which PyMySQL has deprecated
        options["password"] = options.pop("passwd")
    if scheme.endswith("+pool"):
        options.setdefault("timeout", _POOL_WAIT)
    defaults = {"sqlite": _sqlite, "mysql": _mysql}.get(engine, _postgresql)
    kind = _peewee_class(engine)
    if scheme.endswith("+pool"):
        kind = type(f"Pooled{kind.__name__}", (Pool, kind), {})
    return kind(**{**defaults(settings, statement_timeout), **options})


def _without_parameters(record: logging.LogRecord) -> bool:
    """Remove the values from peewee's log of statements, because some are secret."""
    if isinstance(record.msg, tuple):
        record.msg = record.msg[0]
    return True


def _peewee_class(engine: str) -> Any:
    if engine == "sqlite":
        return FairSqlite
    # Imported here, because the drivers are extras.
    if engine == "mysql":
        from pacifica.notifications.orm.mysql import MySqlDatabase

        return MySqlDatabase
    from pacifica.notifications.orm.postgresql import PostgresqlDatabase

    return PostgresqlDatabase


def _sqlite(settings: DatabaseSettings, _statement_timeout: float | None) -> dict[str, Any]:
    """Set up SQLite for a web server and workers that write at the same time."""
    return {
        "pragmas": {
            # For statements outside transactions.
            "busy_timeout": int(settings.statement_timeout * 1000),
            "journal_mode": "wal",
            "synchronous": "full",  # an acknowledged event must survive a power cut
            "foreign_keys": 1,
        },
        # A transaction that began with a read could not write while another one is writing.
        "lock_type": "IMMEDIATE",
        "field_types": _OTHER_TYPES,
        "busy_timeout": settings.statement_timeout,
        "timeout": settings.statement_timeout,
        "check_same_thread": False,
    }


def _postgresql(settings: DatabaseSettings, statement_timeout: float | None) -> dict[str, Any]:
    options: dict[str, Any] = {
        "connect_timeout": settings.connect_timeout,
        "application_name": "pacifica-notifications",
        "field_types": _OTHER_TYPES,
    }
    if statement_timeout is None:
        return options
    # Imported here, because psycopg2 is an extra.
    from pacifica.notifications.orm.postgresql import connection_class

    options["options"] = f"-c statement_timeout={int(statement_timeout * 1000)}"
    options["connection_factory"] = connection_class(statement_timeout + _NETWORK_DELAY)
    return options


def _mysql(settings: DatabaseSettings, statement_timeout: float | None) -> dict[str, Any]:
    # Imported here, because PyMySQL is an extra.
    from pacifica.notifications.orm.mysql import BoundedCursor

    return {
        "connect_timeout": settings.connect_timeout,
        "cursorclass": BoundedCursor,
        "read_timeout": statement_timeout,
        "write_timeout": statement_timeout,
        # At the default level, gap locks between rows make unrelated claims wait for each other.
        "init_command": "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "sql_mode": "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION",
        "field_types": _MYSQL_TYPES,
    }
