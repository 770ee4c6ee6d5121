"""Names the causes of a database's outage."""

import re
from collections.abc import Iterator

import peewee

from pacifica.notifications.errors import StoreUnavailable

# Of what the drivers of all engines say. The first that fits counts.
_CAUSES = (
    ("disk full", "no space left|disk is full|disk full|errcode: 28"),
    ("no such database", "database .* does not exist|unknown database"),
    ("no such role", "role .* does not exist"),
    (
        "user or password refused",
        "password authentication failed|access denied|no password supplied|no pg_hba.conf entry",
    ),
    (
        "host not found",
        "translate host name|name or service not known|getaddrinfo|name resolution|nodename nor",
    ),
    ("connection refused", "connection refused|actively refused"),
    ("too many connections", "too many (clients|connections)|connection slots"),
    ("the server starts or stops", "starting up|shutting down|shutdown|recovery mode"),
    ("time-out", "time-?out|timed out"),
    (
        "connection lost",
        "server closed|lost connection|gone away|terminating connection|reset by peer|"
        "broken pipe|closed unexpectedly|connection already closed",
    ),
    ("locked", "database is locked|lock wait|deadlock|could not serialize"),
    ("not writable", "unable to open database file|permission denied|readonly database"),
    ("disk failure", "disk i/o error"),
    ("file damaged", "malformed|not a database"),
)


def reason(error: BaseException) -> str:
    """Return the first line of a driver's message."""
    original = error.args[0] if error.args and isinstance(error.args[0], Exception) else error
    message = original.args[-1] if original.args else ""
    return str(message).strip().partition("\n")[0] or type(original).__name__


def outage_cause(error: StoreUnavailable) -> str:
    """Return the cause of an outage in one line: in plain words, and in those of the driver."""
    if not isinstance(error.__cause__, peewee.PeeweeException):
        return str(error)
    # When a disk is full, SQLite ends the transaction, so that peewee then fails to do so.
    for each in _chain(error.__cause__):
        said = reason(each)
        for cause, pattern in _CAUSES:
            if re.search(pattern, said, re.IGNORECASE):
                return f"{cause} ({said})"
    return reason(error.__cause__)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
