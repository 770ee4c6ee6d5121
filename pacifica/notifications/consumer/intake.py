"""Takes in a notification: it is stored durably, and then waits in the ledger for its run."""

import sqlite3
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

from pacifica.notifications.consumer.workfolder import WorkFolder
from pacifica.notifications.errors import ConsumerError

# Where CloudEvents 1.0 and 0.3, and 0.1, have what names an event; how much of it is kept.
_EVENT_NAMES = {"id": ("id", "eventID"), "type": ("type", "eventType"), "source": ("source",)}
_MAX_NAME = 500


class NotTaken(ConsumerError):
    """A notification was not taken in; its sender has to keep it."""


class Intake:
    """Takes notifications in as long as no more than `max_waiting` wait for their runs."""

    def __init__(self, work: WorkFolder, max_waiting: int, nudge: Callable[[UUID], object]) -> None:
        self._work = work
        self._max_waiting = max_waiting
        self._nudge = nudge

    def room(self) -> int:
        """Return how many notifications more may wait."""
        return self._max_waiting - self._work.ledger.counts()["waiting"]

    def take(self, notification: bytes, event: dict[str, Any]) -> UUID:
        """Store a notification, which is an event as JSON, and schedule its run; return its id.

        It is on disk when this returns. Raises NotTaken.
        """
        uuid = uuid4()
        folder = self._work.run(uuid)
        try:
            folder.create(notification)
            is_taken = self._work.ledger.add(uuid, self._max_waiting, _named(event))
        except (OSError, sqlite3.Error) as error:
            folder.remove()
            raise NotTaken("the notification could not be stored") from error
        if not is_taken:
            folder.remove()
            raise NotTaken("too many notifications are waiting")
        self._nudge(uuid)
        return uuid


def _named(event: dict[str, Any]) -> dict[str, str | None]:
    """Return the id, type and source of an event of any version, each shortened."""
    found = {}
    for name, names in _EVENT_NAMES.items():
        values = (event.get(each) for each in names)
        texts = (value for value in values if isinstance(value, str))
        found[name] = next(texts, None)
    return {name: text and text[:_MAX_NAME] for name, text in found.items()}
