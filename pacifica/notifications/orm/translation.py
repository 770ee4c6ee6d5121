"""What a database driver raises, as this package's own errors."""

from collections.abc import Iterator
from contextlib import contextmanager

import peewee

from pacifica.notifications.errors import SchemaMismatch, StoreUnavailable


@contextmanager
def translated(what_failed: str) -> Iterator[None]:
    """Raise StoreUnavailable for an outage in the block, SchemaMismatch for all else of peewee's.

    The message is one line: what failed, and the driver's reason.
    """
    try:
        yield
    except (peewee.OperationalError, peewee.InterfaceError) as error:
        raise StoreUnavailable(f"{what_failed}: {reason(error)}") from error
    except peewee.PeeweeException as error:
        raise SchemaMismatch(f"{what_failed}: {reason(error)}") from error


def reason(error: peewee.PeeweeException) -> str:
    """Return the first line of a driver's message."""
    original = error.args[0] if error.args and isinstance(error.args[0], Exception) else error
    message = original.args[-1] if original.args else ""
    return str(message).strip().partition("\n")[0] or type(original).__name__
