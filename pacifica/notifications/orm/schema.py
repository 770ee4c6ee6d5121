"""The version of the database's schema, and its migration to this code's version."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from itertools import pairwise
from typing import Any

import peewee

from pacifica.notifications.errors import SchemaMismatch, StoreUnavailable
from pacifica.notifications.orm import migrations
from pacifica.notifications.orm.causes import reason
from pacifica.notifications.orm.database import DB
from pacifica.notifications.orm.engines import close_connections, peewee_database
from pacifica.notifications.orm.models import BaseModel
from pacifica.notifications.orm.reencryption import (
    Report,
    encrypt_plain,
    ignored,
    require_keys,
)
from pacifica.notifications.orm.tables import Tables
from pacifica.notifications.orm.transaction import checking, translated, writing
from pacifica.notifications.settings.keys import without_credentials

SCHEMA_MAJOR = 4
SCHEMA_MINOR = 0
# Seconds that a migration waits for another one, or for a program that still uses the tables.
LOCK_WAIT = 600
# Any number that no other program uses for a lock on the same database.
_POSTGRESQL_LOCK = 0x70616369666963
_RETRY_PAUSE = 0.02
_LOG = logging.getLogger(__name__)

Version = tuple[int, int]


class NotificationSystem(BaseModel):
    """The recorded version, in two rows: `major` and `minor`."""

    part = peewee.CharField(primary_key=True)
    value = peewee.IntegerField()

    @classmethod
    def get_version(cls) -> Version:
        """Return the recorded version; (0, 0) without the table. Raises StoreUnavailable."""
        with translated("the schema's version was not read"):
            return checking(_recorded_version)()

    @classmethod
    def get_or_create_version(cls) -> Version:
        """Return the recorded version; an empty table is first given this code's version.

        Returns (0, 0) without the table, and does not create it. Raises StoreUnavailable.
        """
        with translated("the schema's version was not recorded"):
            return writing(_recorded_version_or_ours)()

    @classmethod
    def is_equal(cls) -> bool:
        """Return whether the database has exactly this code's version."""
        return cls.get_version() == (SCHEMA_MAJOR, SCHEMA_MINOR)

    @classmethod
    def is_safe(cls) -> bool:
        """Return whether this code can use the database: its major version is the same."""
        return cls.get_version()[0] == SCHEMA_MAJOR


def check_version() -> None:
    """Raise SchemaMismatch, with a remedy, unless this code can use the schema."""
    found = NotificationSystem.get_version()
    if found[0] != SCHEMA_MAJOR:
        is_newer = found > (SCHEMA_MAJOR, SCHEMA_MINOR)
        remedy = "upgrade the program" if is_newer else "run `pacifica-notifications-cmd dbsync`"
        raise SchemaMismatch(_mismatch(found, remedy))


def check_safe() -> None:
    """Raise SchemaMismatch, with a remedy, unless this code can use the database.

    Raises StoreUnavailable if the database has secrets whose key is not configured.
    """
    check_version()
    require_keys()


def require_database() -> None:
    """Raise StoreUnavailable if the database is an SQLite file that does not exist.

    To connect to it would create it, empty.
    """
    if DB.is_absent():
        raise StoreUnavailable("there is no database yet; run dbsync")


class OrmSync:
    """The versions of the schema, and the step from each to the next."""

    versions = [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0)]  # noqa: RUF012 (a public name, a list)

    @staticmethod
    def dbconn_blocking() -> None:
        """Wait until the database can be reached; leave this thread's connection open.

        Tries `connect_attempts` times, `connect_wait` seconds apart, then raises StoreUnavailable.
        """
        settings = DB.handle().settings
        url = without_credentials(settings.peewee_url)
        for attempt in range(1, settings.connect_attempts + 1):
            try:
                _connect(settings.statement_timeout)
                return
            except peewee.PeeweeException as error:
                _LOG.warning(
                    "%s is not reached (try %d of %d): %s",
                    url,
                    attempt,
                    settings.connect_attempts,
                    reason(error),
                )
                if attempt == settings.connect_attempts:
                    raise StoreUnavailable(
                        f"{url} was not reached in {attempt} tries: {reason(error)}"
                    ) from error
            time.sleep(settings.connect_wait)

    @classmethod
    def update_tables(cls, report: Report = ignored) -> bool:
        """Create the tables or migrate them to this code's version; return True.

        If several callers in any processes do this at once, one migrates and the others wait. If
        there is a key, secrets that are stored in plain text are encrypted. Raises SchemaMismatch
        if the database is newer than this code, and StoreUnavailable. `report` is told how far it
        is.
        """
        with translated("the database was not migrated"):
            if cls._steps_from(NotificationSystem.get_version()):
                cls._migrate(report)
        with translated("not all auth was encrypted"):
            encrypt_plain(report)
        return True

    @classmethod
    def update_0_0_to_1_0(cls) -> None:
        """Create the table of subscriptions if an unversioned database lacks it."""
        _take_step(migrations.add_subscriptions)

    @classmethod
    def update_1_0_to_2_0(cls) -> None:
        """Add the credentials of subscriptions."""
        _take_step(migrations.add_authentication)

    @classmethod
    def update_2_0_to_3_0(cls) -> None:
        """Create the log of events and matches."""
        _take_step(migrations.add_event_log)

    @classmethod
    def update_3_0_to_4_0(cls) -> None:
        """Add due times, and the tables that coordinate the workers."""
        _take_step(migrations.add_work_to_do)

    @classmethod
    def _migrate(cls, report: Report) -> None:
        with migration_session():
            steps = cls._steps_from(_recorded_version())
            for number, (found, wanted) in enumerate(steps):
                report(number, len(steps), "migrating from {}.{} to {}.{}".format(*found, *wanted))
                _LOG.info("migrating the database from %d.%d to %d.%d", *found, *wanted)
                getattr(cls, "update_{}_{}_to_{}_{}".format(*found, *wanted))()
                record_version(wanted)

    @classmethod
    def _steps_from(cls, found: Version) -> list[tuple[Version, Version]]:
        """Return the remaining steps of a database at a version, as pairs."""
        if found not in cls.versions:
            raise SchemaMismatch(_mismatch(found, "upgrade the program"))
        return list(pairwise(cls.versions[cls.versions.index(found) :]))


def record_version(version: Version) -> None:
    """Record a version in one transaction, so that no reader sees half of it."""
    major, minor = version
    rows = [{"part": "major", "value": major}, {"part": "minor", "value": minor}]
    with NotificationSystem.atomic():
        NotificationSystem.delete().execute()
        NotificationSystem.insert_many(rows).execute()


def migration_session() -> AbstractContextManager[None]:
    """Return a context in which only this program migrates the database behind `DB`.

    Statements have no time-out. The block is one transaction if the engine supports transactions
    for changes of tables.
    """
    database = DB.bound()
    if isinstance(database, peewee.SqliteDatabase):
        return _sqlite_session(database)
    if isinstance(database, peewee.PostgresqlDatabase):
        return _postgresql_session()
    return _mysql_session()


def _recorded_version() -> Version:
    """Return the recorded version, in the caller's transaction; (0, 0) if there is none."""
    if not NotificationSystem.table_exists():
        return (0, 0)
    parts = {row.part: row.value for row in NotificationSystem.select()}
    return (parts.get("major", 0), parts.get("minor", 0))


def _recorded_version_or_ours() -> Version:
    if NotificationSystem.table_exists() and not NotificationSystem.select().exists():
        record_version((SCHEMA_MAJOR, SCHEMA_MINOR))
    return _recorded_version()


def _mismatch(found: Version, remedy: str) -> str:
    """Return one line with the version found, the version needed, and a remedy."""
    return (
        f"the database has schema version {found[0]}.{found[1]} and this program needs "
        f"{SCHEMA_MAJOR}.{SCHEMA_MINOR}: {remedy}"
    )


def _connect(lock_timeout: float) -> None:
    """Open this thread's connection, or check that the open one works."""
    deadline = time.monotonic() + lock_timeout
    while True:
        was_open = not DB.is_closed()
        try:
            DB.connect(reuse_if_open=True)
            DB.execute_sql("SELECT 1")
            return
        except peewee.PeeweeException as error:
            with suppress(peewee.PeeweeException):
                DB.close()
            if was_open and DB.is_closed():  # it may have died long ago: try a new one
                continue
            # SQLite does not wait by itself while another program switches the journal mode.
            if reason(error) != "database is locked" or time.monotonic() > deadline:
                raise
        time.sleep(_RETRY_PAUSE)


def _take_step(step: Callable[[Tables], None]) -> None:
    """Take one step in a transaction, unless MySQL commits each ALTER TABLE anyway."""
    tables = Tables(DB.bound())
    transaction: Any = nullcontext() if tables.engine == "mysql" else DB.atomic()
    with transaction:
        step(tables)


@contextmanager
def _sqlite_session(database: peewee.SqliteDatabase) -> Iterator[None]:
    usual = database.execute_sql("PRAGMA busy_timeout").fetchone()[0]
    database.execute_sql(f"PRAGMA busy_timeout = {LOCK_WAIT * 1000}")
    try:
        with database.atomic("IMMEDIATE"):
            yield
    finally:
        if not database.is_closed():
            database.execute_sql(f"PRAGMA busy_timeout = {usual}")


@contextmanager
def _postgresql_session() -> Iterator[None]:
    with _unlimited_statements() as database, database.atomic():
        database.execute_sql(f"SET LOCAL lock_timeout = '{LOCK_WAIT}s'")
        database.execute_sql("SELECT pg_advisory_xact_lock(%s)", (_POSTGRESQL_LOCK,))
        yield


@contextmanager
def _mysql_session() -> Iterator[None]:
    with _unlimited_statements() as database:
        database.execute_sql("SET SESSION lock_wait_timeout = %s", (LOCK_WAIT,))
        acquired = database.execute_sql(
            # The lock belongs to the whole server, and its name may have at most 64 characters.
            "SELECT GET_LOCK(CONCAT('pacifica-notifications-', MD5(DATABASE())), %s)",
            (LOCK_WAIT,),
        ).fetchone()[0]
        if acquired != 1:
            raise StoreUnavailable(f"another migration did not end within {LOCK_WAIT} seconds")
        yield


@contextmanager
def _unlimited_statements() -> Iterator[peewee.Database]:
    """Switch `DB` to connections without a time-out for statements.

    The client sets the time-out when it connects, so new connections are needed. They are closed at
    the end, also those of a pool, which releases their locks.
    """
    handle = DB.handle()
    unlimited = peewee_database(handle.settings, statement_timeout=None)
    DB.initialize(unlimited)
    try:
        yield unlimited
    finally:
        DB.initialize(handle.engine)
        close_connections(unlimited)
