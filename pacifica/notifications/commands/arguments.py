"""What the commands read from their arguments."""

import os
from collections.abc import Sequence
from getpass import getuser
from uuid import UUID

from pacifica.notifications.errors import NotificationsError

# No user of the API has a slash in the name.
_COMMAND_LINE = "command line/"
_MAX_NAME = 255


class UsageError(NotificationsError):
    """The arguments of a command cannot be used; the message is one line."""


def uuids_of(texts: Sequence[str], what: str = "an event") -> list[UUID]:
    """Return the UUIDs that were given; raises UsageError."""
    try:
        return [UUID(text) for text in texts]
    except ValueError as error:
        raise UsageError(f"{what} must be given by its UUID") from error


def operator() -> str:
    """Return who runs the command, for the audit log: a login name of the operating system."""
    return f"{_COMMAND_LINE}{_login()}"[:_MAX_NAME]


def _login() -> str:
    if not hasattr(os, "getuid"):  # Windows
        return getuser()
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # such as in a container
        return str(os.getuid())
