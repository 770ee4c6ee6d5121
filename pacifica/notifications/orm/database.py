"""The database: one lazy handle for whichever engine `peewee_url` names.

Nothing is opened on import. `DB` is bound to the configured engine on first use; what each engine
needs to be safe among threads, processes and outages (time-outs, write-ahead log, isolation) is
set here and nowhere else.
"""

import logging
import os
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any
from urllib.parse import urlsplit

import peewee
from playhouse import db_url

from pacifica.notifications.config import load_settings
from pacifica.notifications.orm.pool import Pool
from pacifica.notifications.orm.sqlite import FairSqlite
from pacifica.notifications.settings import Settings

# What a TEXT column holds on MySQL and MariaDB (64 KiB) is less than an event may have, and their
# DATETIME drops fractions of a second.
_MYSQL_TYPES = {"LONGTEXT": "LONGTEXT", "DATETIME": "DATETIME(6)"}
_OTHER_TYPES = {"LONGTEXT": "TEXT"}
# Seconds that a thread waits for a connection of a pool; it then may wait for a statement as well.
_POOL_WAIT = 0.7
# Seconds that a server's own time-out may need to get here.
_NETWORK = 0.2


class LazyDatabase(peewee.DatabaseProxy):
    """A peewee proxy that binds itself to the configured database on first use."""

    __slots__ = ("_bind", "_guard")

    def __init__(self, bind: Callable[[], peewee.Database]) -> None:
        object.__setattr__(self, "_bind", bind)
        object.__setattr__(self, "_guard", threading.Lock())
        super().__init__()

    def __setattr__(self, name: str, value: Any) -> None:
        """Allow the proxy's own slots only, as the base class does."""
        if name not in peewee.DatabaseProxy.__slots__:
            raise AttributeError(name)
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        """Pass on to the bound database; introspection alone does not bind one."""
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.bound(), name)

    def __enter__(self) -> peewee.Database:
        """Open a connection and a transaction, as a peewee database does."""
        return self.bound().__enter__()

    def __exit__(self, *exception: Any) -> None:
        """End the transaction and close the connection."""
        self.bound().__exit__(*exception)

    def bound(self) -> peewee.Database:
        """Return the database behind the proxy, binding it if this is the first use."""
        with self._guard:
            if self.obj is None:
                self.initialize(self._bind())
            return self.obj

    def unbind(self) -> None:
        """Close this thread's connection, or a pool's; the next use binds the database anew."""
        with self._guard:
            if self.obj is not None:
                if isinstance(self.obj, Pool):
                    self.obj.close_all()
                else:
                    self.obj.close()
                self.initialize(None)


def open_database(settings: Settings, *, statement_timeout: float | None) -> peewee.Database:
    """Return a database that is set up for its engine and not yet connected.

    `statement_timeout` (seconds) bounds each SQL statement; None leaves migrations unbounded.
    """
    logging.getLogger("peewee").addFilter(_without_parameters)
    url = settings.database.peewee_url
    scheme = urlsplit(url).scheme
    engine = scheme.removesuffix("+pool").replace("sqliteext", "sqlite")
    plain = url.replace("sqliteext", "sqlite", 1) if scheme.startswith("sqliteext") else url
    options = db_url.parse(plain)
    if "passwd" in options:  # peewee's name for it, which PyMySQL is giving up
        options["password"] = options.pop("passwd")
    if scheme.endswith("+pool"):
        options.setdefault("timeout", _POOL_WAIT)
    defaults = {"sqlite": _sqlite, "mysql": _mysql}.get(engine, _postgresql)
    options = {**defaults(settings, statement_timeout, options), **options}
    kind = _kind(engine)
    if scheme.endswith("+pool"):
        kind = type(f"Pooled{kind.__name__}", (Pool, kind), {})
    database = kind(**options)
    # Each thread has a connection of its own. By peewee's lock, all of them would wait while one
    # connects to a server that hangs, or closes what it had.
    database._lock = nullcontext()
    return database


def _without_parameters(record: logging.LogRecord) -> bool:
    """Have peewee log statements without what they store, some of which is secret."""
    if isinstance(record.msg, tuple):
        record.msg = record.msg[0]
    return True


def _kind(engine: str) -> Any:
    """Return the peewee class for an engine."""
    if engine == "sqlite":
        return FairSqlite
    if engine == "mysql":
        # Imported here, since PyMySQL is an extra.
        from pacifica.notifications.orm.mysql import QuickMySql

        return QuickMySql
    return db_url.schemes[engine]


def _sqlite(
    settings: Settings, _statement_timeout: float | None, given: dict[str, Any]
) -> dict[str, Any]:
    """Set up SQLite for a web server and workers that write at the same time."""
    options: dict[str, Any] = {
        "pragmas": {
            "busy_timeout": int(
                settings.database.busy_timeout * 1000
            ),  # what begins no transaction
            "journal_mode": "wal",
            "synchronous": "full",  # an answered event must outlive a power cut
            "foreign_keys": 1,
        },
        # A transaction that starts by reading could not become a writer while another one writes.
        "lock_type": "IMMEDIATE",
        "field_types": _OTHER_TYPES,
        "busy_timeout": settings.database.busy_timeout,
        "check_same_thread": False,
    }
    if "timeout" not in given:
        options["timeout"] = settings.database.busy_timeout
    return options


def _postgresql(
    settings: Settings, statement_timeout: float | None, _given: dict[str, Any]
) -> dict[str, Any]:
    options: dict[str, Any] = {
        "connect_timeout": settings.database.connect_timeout,
        "application_name": "pacifica-notifications",
        "field_types": _OTHER_TYPES,
    }
    if statement_timeout is None:
        return options
    # Imported here, since psycopg2 is an extra.
    from pacifica.notifications.orm.postgresql import connection_class

    options["options"] = f"-c statement_timeout={int(statement_timeout * 1000)}"
    options["connection_factory"] = connection_class(statement_timeout + _NETWORK)
    return options


def _mysql(
    settings: Settings, statement_timeout: float | None, _given: dict[str, Any]
) -> dict[str, Any]:
    # Imported here, since PyMySQL is an extra.
    from pacifica.notifications.orm.mysql import BoundedCursor

    return {
        "connect_timeout": settings.database.connect_timeout,
        "cursorclass": BoundedCursor,
        "read_timeout": statement_timeout,
        "write_timeout": statement_timeout,
        # A lock on a gap between rows would make unrelated claims wait for each other.
        "init_command": "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "sql_mode": "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION",
        "field_types": _MYSQL_TYPES,
    }


def _configured() -> peewee.Database:
    settings = load_settings()
    return open_database(settings, statement_timeout=settings.database.statement_timeout)


DB = LazyDatabase(_configured)

_inherited: list[peewee.Database] = []


def _start_afresh_in_child() -> None:
    """Leave a parent's connections alone in a forked child.

    They are kept, not dropped: closing one would end the parent's session on the server, or
    checkpoint its SQLite file. The guard is replaced because another thread may have held it.
    """
    object.__setattr__(DB, "_guard", threading.Lock())
    if DB.obj is not None:
        _inherited.append(DB.obj)
        DB.initialize(None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh_in_child)
