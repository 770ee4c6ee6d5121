"""Decorators that run store functions in transactions and translate errors.

A function is retried once if its idle connection is dead. It is retried for a limited time if the
engine aborted its transaction because of a conflict with another one. After a commit was requested,
nothing is retried, because it is unknown whether the commit succeeded.
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

import peewee

from pacifica.notifications.errors import SchemaMismatch, StoreUnavailable
from pacifica.notifications.orm.causes import outage_cause, reason
from pacifica.notifications.orm.database import DB, Database
from pacifica.notifications.orm.engines import close_connections
from pacifica.notifications.orm.pool import Pool

P = ParamSpec("P")
R = TypeVar("R")

# Seconds after which no further attempt begins; the engine's own time-outs limit each attempt.
# PostgreSQL detects deadlocks after one second.
_MAX_RETRY_TIME = 1.5
_MAX_RETRY_PAUSE = 0.1
_LOCKED = "database is locked"
_CONFLICTS = frozenset({"40001", "40P01", 1205, 1213, _LOCKED})
_ABSENT_TABLE = frozenset({"42P01", 1146})
# Errors of a server that still responds: a statement took too long, or rows are locked.
_SERVER_ANSWERED = frozenset({"57014", *_CONFLICTS})


def reading(function: Callable[P, R]) -> Callable[P, R]:
    """Connect and run a function that only reads; raise StoreUnavailable.

    Within a `writing` function it is part of that transaction.
    """
    return _connected(function, nullcontext, writes=False)


def checking(function: Callable[P, R]) -> Callable[P, R]:
    """Do as `reading` does, for a check whose failure ends the program with a line of its own."""
    return _connected(function, nullcontext, writes=False, tells_outages=False)


def writing(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function in one transaction, and commit it; raise StoreUnavailable.

    Within another `writing` function it is part of that transaction.
    """
    return _connected(function, DB.atomic, repeats_commit=False)


def single_statement(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function of one idempotent statement; raise StoreUnavailable.

    Autocommit takes a third of the messages of an explicit transaction. Within a `writing` function
    it is part of that transaction.
    """
    return _connected(function, _transaction_on_sqlite)


@contextmanager
def translated(what_failed: str) -> Iterator[None]:
    """Translate peewee errors in the block to StoreUnavailable or SchemaMismatch.

    StoreUnavailable is for an outage, SchemaMismatch for other errors. The message is one line:
    what failed, and the driver's reason.
    """
    try:
        yield
    except (peewee.OperationalError, peewee.InterfaceError) as error:
        raise StoreUnavailable(f"{what_failed}: {reason(error)}") from error
    except peewee.PeeweeException as error:
        raise SchemaMismatch(f"{what_failed}: {reason(error)}") from error


def _transaction_on_sqlite() -> AbstractContextManager[Any, Any]:
    """Return a transaction on SQLite, where only `begin` waits for other writers."""
    return nullcontext() if DB.for_update else DB.atomic()


def _connected(
    function: Callable[P, R],
    transaction: Callable[[], AbstractContextManager[Any, Any]],
    *,
    writes: bool = True,
    repeats_commit: bool = True,
    tells_outages: bool = True,
) -> Callable[P, R]:
    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if DB.in_transaction():
            return function(*args, **kwargs)
        database = DB.handle()
        breakers = (database.breaker, database.write_breaker) if writes else (database.breaker,)
        call = partial(function, *args, **kwargs)
        try:
            for breaker in breakers:
                breaker.require_closed()
            result = _run(call, transaction, repeats_commit, database)
        except StoreUnavailable as error:
            if tells_outages:
                database.outage.failed(outage_cause(error))
            raise
        for breaker in breakers:
            breaker.succeeded()
        database.outage.worked()
        return result

    return run


def _run(
    call: Callable[[], R],
    transaction: Callable[[], AbstractContextManager[Any, Any]],
    repeats_commit: bool,
    database: Database,
) -> R:
    began = time.monotonic()
    may_have_died = True
    while True:
        committing = False
        try:
            with database.tallies.transaction(), transaction():
                result = call()
                committing = not repeats_commit
            return result
        except (peewee.OperationalError, peewee.InterfaceError, peewee.ProgrammingError) as error:
            code = _code(error)
            if code not in _CONFLICTS:
                _drop_connection()
            _raise_unless_outage(error, code)
            seconds = time.monotonic() - began
            may_help = code in _CONFLICTS or may_have_died
            if committing or not may_help or seconds > _MAX_RETRY_TIME:
                if code == _LOCKED:
                    database.write_breaker.failed(seconds)
                elif code not in _SERVER_ANSWERED:
                    database.breaker.failed(seconds)
                raise StoreUnavailable("the database did not answer") from error
            if code in _CONFLICTS:
                time.sleep(random.uniform(0, _MAX_RETRY_PAUSE))  # noqa: S311
            else:
                may_have_died = False
        finally:
            if isinstance(DB.obj, Pool) and not DB.is_closed():
                DB.close()


def _raise_unless_outage(error: peewee.PeeweeException, code: object) -> None:
    """Raise an error for missing tables or a wrong statement; ignore outages."""
    if code in _ABSENT_TABLE or "no such table" in str(error):
        raise StoreUnavailable("the database has no tables; run dbsync") from error
    if isinstance(error, peewee.ProgrammingError):
        raise error


def _code(error: peewee.PeeweeException) -> object:
    """Return the driver's code: an SQLSTATE, a MySQL number, or SQLite's message."""
    original = getattr(error, "orig", None) or error
    return getattr(original, "pgcode", None) or (original.args[0] if original.args else None)


def _drop_connection() -> None:
    """Close this thread's connection, so that a broken one is never used again."""
    database: Any = DB.bound()
    with suppress(peewee.PeeweeException):
        close_connections(database)
    database._state.reset()
