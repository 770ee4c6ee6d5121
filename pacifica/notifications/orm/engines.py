"""The peewee database of each engine, set up to be safe among threads, processes and outages."""

import logging
import os
import random
import sqlite3
import time
from contextlib import nullcontext, suppress
from typing import Any
from urllib.parse import urlsplit

import peewee
from playhouse import db_url

from pacifica.notifications.errors import ConfigError
from pacifica.notifications.orm.pool import Pool
from pacifica.notifications.settings import DatabaseSettings

_PEEWEE: Any = peewee  # its type stubs leave out what is used here
# A TEXT column of MySQL and MariaDB holds 64 KiB, which is less than an event may have, and their
# DATETIME drops fractions of a second.
_MYSQL_TYPES = {"LONGTEXT": "LONGTEXT", "DATETIME": "DATETIME(6)"}
_OTHER_TYPES = {"LONGTEXT": "TEXT"}
# Seconds that a thread waits for a connection of a pool; it may then wait for a statement as well.
_POOL_WAIT = 0.7
# Seconds that the error of a server's own statement time-out may need to arrive.
_NETWORK_DELAY = 0.2
# Seconds between two attempts to begin a transaction while an SQLite file is locked.
_RETRY_PAUSE = (0.001, 0.01)
_PRIVATE = 0o600


class FairSqlite(_PEEWEE.SqliteDatabase):
    """SQLite in a private file, in which no writer waits much longer than others.

    SQLite itself tries again only every 0.1 seconds once it has waited for some time, so that new
    writers overtake those who came before them, for seconds if there are many. This class tries at
    the same short intervals until `busy_timeout` seconds have passed.
    """

    def __init__(self, database: str, *, busy_timeout: float, **options: Any) -> None:
        self._busy_timeout = busy_timeout
        super().__init__(database, **options)
        # This raises TypeError for options that SQLite does not have.
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
        """Connect; create a file that only this user can read, as SQLite's other files follow it.

        A file that exists keeps its mode, so that an operator can share it with a group.
        """
        if self.database != ":memory:":
            with suppress(OSError):  # SQLite itself says what is wrong
                os.close(os.open(self.database, os.O_CREAT | os.O_RDWR, _PRIVATE))
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
    """Return a database that is set up for its engine and not yet connected.

    `statement_timeout` (seconds) bounds each SQL statement; None leaves migrations unbounded.
    Raises ConfigError if the driver is not installed, or does not have the options of the URL.
    """
    logging.getLogger("peewee").addFilter(_without_parameters)
    try:
        database = _database(settings, statement_timeout)
    except ModuleNotFoundError as error:
        raise ConfigError(f"[database] peewee_url: {error.name} is not installed") from error
    except (TypeError, ValueError, OSError) as error:
        raise ConfigError(f"[database] peewee_url: its options cannot be used: {error}") from error
    # Each thread has a connection of its own. With peewee's lock, all threads would wait while one
    # connects to a server that hangs, or closes its connection.
    database._lock = nullcontext()
    return database


def close_connections(database: peewee.Database) -> None:
    """Close this thread's connection and, of a pool, those that no thread uses."""
    if isinstance(database, Pool):
        database.close_all()
    else:
        database.close()


def _database(settings: DatabaseSettings, statement_timeout: float | None) -> Any:
    url = settings.peewee_url
    scheme = urlsplit(url).scheme
    engine = scheme.removesuffix("+pool").replace("sqliteext", "sqlite")
    # peewee 4 has dropped the scheme `sqliteext`, which configurations have.
    options = db_url.parse(url.replace(scheme, scheme.replace("sqliteext", "sqlite"), 1))
    if "passwd" in options:  # peewee's name for it, which PyMySQL is giving up
        options["password"] = options.pop("passwd")
    if scheme.endswith("+pool"):
        options.setdefault("timeout", _POOL_WAIT)
    defaults = {"sqlite": _sqlite, "mysql": _mysql}.get(engine, _postgresql)
    kind = _peewee_class(engine)
    if scheme.endswith("+pool"):
        kind = type(f"Pooled{kind.__name__}", (Pool, kind), {})
    return kind(**{**defaults(settings, statement_timeout), **options})


def _without_parameters(record: logging.LogRecord) -> bool:
    """Let peewee log statements without their values, some of which are secret."""
    if isinstance(record.msg, tuple):
        record.msg = record.msg[0]
    return True


def _peewee_class(engine: str) -> Any:
    if engine == "sqlite":
        return FairSqlite
    # Imported here, since the drivers are extras.
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
            "synchronous": "full",  # an answered event must outlive a power cut
            "foreign_keys": 1,
        },
        # A transaction that begins by reading could not become a writer while another one writes.
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
    # Imported here, since psycopg2 is an extra.
    from pacifica.notifications.orm.postgresql import connection_class

    options["options"] = f"-c statement_timeout={int(statement_timeout * 1000)}"
    options["connection_factory"] = connection_class(statement_timeout + _NETWORK_DELAY)
    return options


def _mysql(settings: DatabaseSettings, statement_timeout: float | None) -> dict[str, Any]:
    # Imported here, since PyMySQL is an extra.
    from pacifica.notifications.orm.mysql import BoundedCursor

    return {
        "connect_timeout": settings.connect_timeout,
        "cursorclass": BoundedCursor,
        "read_timeout": statement_timeout,
        "write_timeout": statement_timeout,
        # At the default level, locked gaps between rows make unrelated claims wait for each other.
        "init_command": "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "sql_mode": "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION",
        "field_types": _MYSQL_TYPES,
    }
