"""The session that a migration runs in: alone, and with no limit on the time of a statement."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import peewee

from pacifica.notifications.config import load_settings
from pacifica.notifications.errors import StoreUnavailable
from pacifica.notifications.orm.database import DB, open_database
from pacifica.notifications.orm.pool import Pool

# Seconds that a migration waits for another one, or for a program that still uses the tables.
LOCK_WAIT = 600
# Any number will do, as long as no other program on the same database takes it for its own lock.
_POSTGRESQL_LOCK = 0x70616369666963


def migration_session() -> AbstractContextManager[None]:
    """Return a context in which this program alone migrates the database behind `DB`.

    What the block does is one transaction where the engine has transactions for tables.
    """
    database = DB.bound()
    if isinstance(database, peewee.SqliteDatabase):
        return _sqlite(database)
    if isinstance(database, peewee.PostgresqlDatabase):
        return _postgresql(database)
    return _mysql(database)


def step_transaction() -> AbstractContextManager[Any, Any]:
    """Return a transaction for one step; nothing on MySQL, which commits at each ALTER TABLE."""
    return nullcontext() if isinstance(DB.bound(), peewee.MySQLDatabase) else DB.atomic()


@contextmanager
def _sqlite(database: peewee.SqliteDatabase) -> Iterator[None]:
    usual = database.execute_sql("PRAGMA busy_timeout").fetchone()[0]
    database.execute_sql(f"PRAGMA busy_timeout = {LOCK_WAIT * 1000}")
    try:
        with database.atomic("IMMEDIATE"):
            yield
    finally:
        if not database.is_closed():
            database.execute_sql(f"PRAGMA busy_timeout = {usual}")


@contextmanager
def _postgresql(usual: peewee.PostgresqlDatabase) -> Iterator[None]:
    with _patient(usual) as database, database.atomic():
        database.execute_sql(f"SET LOCAL lock_timeout = '{LOCK_WAIT}s'")
        database.execute_sql("SELECT pg_advisory_xact_lock(%s)", (_POSTGRESQL_LOCK,))
        yield


@contextmanager
def _mysql(usual: peewee.Database) -> Iterator[None]:
    with _patient(usual) as database:
        database.execute_sql("SET SESSION lock_wait_timeout = %s", (LOCK_WAIT,))
        taken = database.execute_sql(
            # The lock is the whole server's, and its name may have 64 characters.
            "SELECT GET_LOCK(CONCAT('pacifica-notifications-', MD5(DATABASE())), %s)",
            (LOCK_WAIT,),
        ).fetchone()[0]
        if taken != 1:
            raise StoreUnavailable(f"another migration did not end within {LOCK_WAIT} seconds")
        yield


@contextmanager
def _patient(usual: peewee.Database) -> Iterator[peewee.Database]:
    """Bind `DB` to a handle whose connections wait for a statement as long as it takes.

    The limit is kept on this side and lasts as long as a connection. The handle's is closed at the
    end, which a pool would not do, and gives back what locks it has.
    """
    patient = open_database(load_settings(), statement_timeout=None)
    DB.initialize(patient)
    try:
        yield patient
    finally:
        DB.initialize(usual)
        if isinstance(patient, Pool):
            patient.close_all()
        else:
            patient.close()
