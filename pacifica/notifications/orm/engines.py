"""The peewee database of each engine, set up to be safe among threads, processes and outages."""

import logging
import random
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import peewee
from playhouse import db_url

from pacifica.notifications.orm.pool import Pool

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


@dataclass(frozen=True, kw_only=True)
class DatabaseOptions:
    """Which database to use, and how; all times are in seconds.

    `statement_timeout` bounds each SQL statement, and None does not. `busy_timeout` is how long to
    wait for a locked SQLite file. `keys` encrypt secrets: the first one encrypts, each decrypts.
    """

    url: str = field(repr=False)
    connect_timeout: int
    statement_timeout: float | None
    busy_timeout: float
    connect_attempts: int
    connect_wait: float
    keys: tuple[str, ...] = field(repr=False)


class FairSqlite(peewee.SqliteDatabase):
    """SQLite in which all writers get their turn, however many they are.

    SQLite itself tries again only every 0.1 seconds once it has waited for some time, so that new
    writers overtake those who have waited longest, for seconds where there are many. This class
    tries at the same short intervals until `busy_timeout` seconds have passed.
    """

    def __init__(self, database: str, *, busy_timeout: float, **options: Any) -> None:
        self._busy_timeout = busy_timeout
        super().__init__(database, **options)

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


def peewee_database(options: DatabaseOptions) -> peewee.Database:
    """Return a database that is set up for its engine and not yet connected."""
    logging.getLogger("peewee").addFilter(_without_parameters)
    scheme = urlsplit(options.url).scheme
    engine = scheme.removesuffix("+pool").replace("sqliteext", "sqlite")
    # peewee 4 has dropped the scheme `sqliteext`, which configurations have.
    known_url = options.url.replace(scheme, scheme.replace("sqliteext", "sqlite"), 1)
    parameters = db_url.parse(known_url)
    if "passwd" in parameters:  # peewee's name for it, which PyMySQL is giving up
        parameters["password"] = parameters.pop("passwd")
    if scheme.endswith("+pool"):
        parameters.setdefault("timeout", _POOL_WAIT)
    defaults = {"sqlite": _sqlite, "mysql": _mysql}.get(engine, _postgresql)
    kind = _peewee_class(engine)
    if scheme.endswith("+pool"):
        kind = type(f"Pooled{kind.__name__}", (Pool, kind), {})
    database = kind(**{**defaults(options, parameters), **parameters})
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


def _without_parameters(record: logging.LogRecord) -> bool:
    """Let peewee log statements without their values, some of which are secret."""
    if isinstance(record.msg, tuple):
        record.msg = record.msg[0]
    return True


def _peewee_class(engine: str) -> Any:
    if engine == "sqlite":
        return FairSqlite
    if engine == "mysql":
        # Imported here, since PyMySQL is an extra.
        from pacifica.notifications.orm.mysql import MySqlDatabase

        return MySqlDatabase
    return db_url.schemes[engine]


def _sqlite(options: DatabaseOptions, parameters: dict[str, Any]) -> dict[str, Any]:
    """Set up SQLite for a web server and workers that write at the same time."""
    defaults: dict[str, Any] = {
        "pragmas": {
            # For statements outside transactions.
            "busy_timeout": int(options.busy_timeout * 1000),
            "journal_mode": "wal",
            "synchronous": "full",  # an answered event must outlive a power cut
            "foreign_keys": 1,
        },
        # A transaction that begins by reading could not become a writer while another one writes.
        "lock_type": "IMMEDIATE",
        "field_types": _OTHER_TYPES,
        "busy_timeout": options.busy_timeout,
        "check_same_thread": False,
    }
    if "timeout" not in parameters:
        defaults["timeout"] = options.busy_timeout
    return defaults


def _postgresql(options: DatabaseOptions, _parameters: dict[str, Any]) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "connect_timeout": options.connect_timeout,
        "application_name": "pacifica-notifications",
        "field_types": _OTHER_TYPES,
    }
    if options.statement_timeout is None:
        return defaults
    # Imported here, since psycopg2 is an extra.
    from pacifica.notifications.orm.postgresql import connection_class

    milliseconds = int(options.statement_timeout * 1000)
    defaults["options"] = f"-c statement_timeout={milliseconds}"
    defaults["connection_factory"] = connection_class(options.statement_timeout + _NETWORK_DELAY)
    return defaults


def _mysql(options: DatabaseOptions, _parameters: dict[str, Any]) -> dict[str, Any]:
    # Imported here, since PyMySQL is an extra.
    from pacifica.notifications.orm.mysql import BoundedCursor

    return {
        "connect_timeout": options.connect_timeout,
        "cursorclass": BoundedCursor,
        "read_timeout": options.statement_timeout,
        "write_timeout": options.statement_timeout,
        # At the default level, locked gaps between rows make unrelated claims wait for each other.
        "init_command": "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "sql_mode": "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION",
        "field_types": _MYSQL_TYPES,
    }
