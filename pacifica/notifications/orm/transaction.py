"""How store functions run: connected, in one transaction, with outages and conflicts translated.

A connection that died while it was idle is replaced and the function runs once more; so it does
when the engine gave up one of two transactions that were in each other's way. Nothing is run again
once its commit was asked for, since nobody can tell whether it took place.
"""

import random
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import peewee

from pacifica.notifications.errors import StoreUnavailable
from pacifica.notifications.orm.database import DB
from pacifica.notifications.orm.outage import Outage
from pacifica.notifications.orm.pool import Pool

P = ParamSpec("P")
R = TypeVar("R")

# Seconds after which no further try begins; each try is bounded by the engine's own time-outs.
# PostgreSQL looks for deadlocks after one second.
_PATIENCE = 1.5
_LONGEST_PAUSE = 0.1
_LOCKED = "database is locked"
_CONFLICTS = frozenset({"40001", "40P01", 1205, 1213, _LOCKED})
_ABSENT_TABLE = frozenset({"42P01", 1146})
# PostgreSQL says of itself that a statement took too long, or that rows are locked.
_NO_SILENCE = frozenset({"57014", *_CONFLICTS})

_OUTAGE = Outage()
# SQLite's file while somebody else writes: those who only read need not wait for it.
_WRITING_OUTAGE = Outage()


def reading(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function that only reads, connected; raises StoreUnavailable.

    Within a `writing` function it is part of that one's transaction.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if DB.in_transaction():
            return function(*args, **kwargs)
        return _run(lambda _committing: function(*args, **kwargs), _OUTAGE)

    return run


def writing(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function in one transaction, committed when it returns; raises StoreUnavailable.

    Within another `writing` function it is part of that one's transaction.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if DB.in_transaction():
            return function(*args, **kwargs)

        def attempt(committing: threading.Event) -> R:
            with DB.atomic():
                result = function(*args, **kwargs)
                committing.set()
            return result

        return _run(attempt, _OUTAGE, _WRITING_OUTAGE)

    return run


def stating(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function of one statement that does the same once or twice; raises StoreUnavailable.

    A server makes a transaction of it by itself, for a third of the messages of one that begins and
    is committed. Within a `writing` function it is part of that one's transaction.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if DB.in_transaction():
            return function(*args, **kwargs)

        def attempt(_committing: threading.Event) -> R:
            # SQLite waits for its turn where a transaction begins.
            with nullcontext() if DB.for_update else DB.atomic():
                return function(*args, **kwargs)

        return _run(attempt, _OUTAGE, _WRITING_OUTAGE)

    return run


def _run(attempt: Callable[[threading.Event], R], *outages: Outage) -> R:
    for outage in outages:
        outage.require_try()
    began = time.monotonic()
    may_have_died = True
    while True:
        committing = threading.Event()
        try:
            result = attempt(committing)
        except (peewee.OperationalError, peewee.InterfaceError, peewee.ProgrammingError) as error:
            code = _code(error)
            if code not in _CONFLICTS:
                _drop_connection()
            if code in _ABSENT_TABLE or "no such table" in str(error):
                raise StoreUnavailable("the database has no tables; run dbsync") from error
            if isinstance(error, peewee.ProgrammingError):
                raise
            took = time.monotonic() - began
            may_help = code in _CONFLICTS or may_have_died
            if committing.is_set() or not may_help or took > _PATIENCE:
                if code == _LOCKED:
                    _WRITING_OUTAGE.failed(took)
                elif code not in _NO_SILENCE:
                    _OUTAGE.failed(took)
                raise StoreUnavailable("the database did not answer") from error
            if code in _CONFLICTS:
                time.sleep(random.uniform(0, _LONGEST_PAUSE))  # noqa: S311
            else:
                may_have_died = False
        else:
            for outage in outages:
                outage.answered()
            return result
        finally:
            if isinstance(DB.obj, Pool) and not DB.is_closed():
                DB.close()


def _code(error: peewee.PeeweeException) -> object:
    """Return what the driver calls the error: an SQLSTATE, a MySQL number, or SQLite's words."""
    original = getattr(error, "orig", None) or error
    return getattr(original, "pgcode", None) or (original.args[0] if original.args else None)


def _drop_connection() -> None:
    """Close this thread's connection for good; a broken one must not be used, or pooled, again."""
    database: Any = DB.bound()
    with suppress(peewee.PeeweeException):
        if isinstance(database, Pool):
            database.close_all()
        else:
            database.close()
    database._state.reset()
