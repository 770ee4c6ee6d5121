"""`DB`, the database that all tables are bound to, and the handle behind it.

Nothing is opened on import. `DB.bind(open_database(...))` binds a database explicitly. If `DB` is
used before that, it binds the configured database.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import peewee

from pacifica.notifications.config import load_settings
from pacifica.notifications.errors import StoreUnavailable
from pacifica.notifications.metrics import Tallies
from pacifica.notifications.orm.engines import close_connections, is_absent, peewee_database
from pacifica.notifications.orm.secrets import Keyring
from pacifica.notifications.outages import Outage
from pacifica.notifications.settings import DatabaseSettings, SecuritySettings

_LOG = logging.getLogger(__name__)
# Seconds between two attempts while the circuit is open.
_RETRY_INTERVAL = 1.0
# Seconds that a failure must take to open the circuit: shorter ones do not delay other requests.
_SLOW_FAILURE = 2.0


class CircuitBreaker:
    """Refuses calls at once while the database hangs, except one attempt a second.

    A thread that waits for a hanging database cannot serve other requests. These would queue behind
    it, and wait longer than its time-out. If two threads change the state at the same time, there
    is one attempt more or less, which does no harm.
    """

    def __init__(self) -> None:
        self._next_try: float | None = None  # None: the circuit is closed

    def require_closed(self) -> None:
        """Raise StoreUnavailable while the circuit is open, unless an attempt is due."""
        next_try, now = self._next_try, time.monotonic()
        if next_try is None:
            return
        if now < next_try:
            raise StoreUnavailable("the database did not answer a moment ago")
        self._next_try = now + _RETRY_INTERVAL

    def succeeded(self) -> None:
        """Close the circuit."""
        self._next_try = None

    def failed(self, seconds: float) -> None:
        """Open the circuit if a failure took long."""
        if seconds > _SLOW_FAILURE:
            self._next_try = time.monotonic() + _RETRY_INTERVAL


class Database:
    """One database as this process uses it: peewee's handle, the keys, and what its outages are.

    `engine` is peewee's handle, which connects each thread on first use. `write_breaker` is for a
    locked SQLite file, which does not block readers; `breaker` is for all other failures.
    `tallies` counts what the functions of the store do.
    """

    def __init__(self, settings: DatabaseSettings, keyring: Keyring, tallies: Tallies) -> None:
        self.settings = settings
        self.engine: Any = peewee_database(settings, statement_timeout=settings.statement_timeout)
        self.keyring = keyring
        self.tallies = tallies
        self.breaker = CircuitBreaker()
        self.write_breaker = CircuitBreaker()
        self.outage = Outage(_LOG, "the database")


def open_database(
    settings: DatabaseSettings, security: SecuritySettings, tallies: Tallies | None = None
) -> Database:
    """Return the configured database, not yet connected; raises ConfigError.

    Without `tallies`, what the store counts is lost.
    """
    return Database(settings, Keyring(security.key), tallies or Tallies())


def _configured() -> Database:
    settings = load_settings()
    return open_database(settings.database, settings.security)


class LazyDatabase(peewee.DatabaseProxy):
    """A peewee proxy that opens a database on first use unless one was bound before."""

    __slots__ = (
        *peewee.DatabaseProxy.__slots__,  # the base class allows only the attributes listed here
        "_configured",
        "_guard",
        "_handle",
        "_inherited",
        "_open",
    )

    def __init__(self, configured: Callable[[], Database]) -> None:
        self._configured = self._open = configured
        self._guard = threading.Lock()
        self._handle: Database | None = None
        self._inherited: list[Any] = []
        super().__init__()

    def __getattr__(self, name: str) -> Any:
        """Delegate to the bound database; introspection alone does not bind one."""
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.bound(), name)

    def __enter__(self) -> peewee.Database:
        """Open a connection and a transaction, as a peewee database does."""
        return self.bound().__enter__()

    def __exit__(self, *exception: Any) -> None:
        """End the transaction and close the connection."""
        self.bound().__exit__(*exception)

    def bind(self, database: Database) -> None:
        """Use a database from now on, also in forked children.

        Closes this thread's connection to the previous database, and a pool's idle connections.
        """
        with self._guard:
            self._replace(database)

    def unbind(self) -> None:
        """Close the connections as in `bind`, and unbind the database.

        The next use reads the configuration again, and binds the configured database.
        """
        with self._guard:
            self._replace(None)
            self._open = self._configured

    def handle(self) -> Database:
        """Return the bound handle; bind the configured database if there is none."""
        handle = self._handle
        if handle is None:
            with self._guard:
                handle = self._handle or self._replace(self._open())
        return handle

    def bound(self) -> peewee.Database:
        """Return peewee's database; bind the configured one if there is none."""
        if self.obj is None:
            self.handle()
        return self.obj

    def is_absent(self) -> bool:
        """Return whether the database is an SQLite file that does not exist; create none."""
        return is_absent(self.bound())

    def start_afresh(self) -> None:
        """Make a forked child open the same database on its own connections.

        The child keeps the parent's connections but does not use them: to close one would end the
        parent's session on the server, or checkpoint its SQLite file. The guard is new, because
        another thread of the parent may have held the old one.
        """
        self._guard = threading.Lock()
        if self._handle is not None:
            self._inherited.append((self._handle, self.obj))
            old = self._handle
            self._open = partial(Database, old.settings, old.keyring, old.tallies)
            self._handle = None
            self.initialize(None)

    def _replace(self, database: Any) -> Any:
        if self._handle is not None:
            close_connections(self._handle.engine)
        self.initialize(None if database is None else database.engine)
        self._handle = database
        return database


DB = LazyDatabase(_configured)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=DB.start_afresh)
