"""Deletes what is too old, a little with each sweep: finished events, and what is kept of them."""

import time
from datetime import datetime, timedelta

from pacifica.notifications.clock import utcnow
from pacifica.notifications.settings import RetentionSettings
from pacifica.notifications.store.attempts import forget_details
from pacifica.notifications.store.audit import forget_entries
from pacifica.notifications.store.position import Position
from pacifica.notifications.store.purging import purge_batch
from pacifica.notifications.store.revisionlog import forget_revisions

# Seconds before the oldest are looked at again, after all that are too old were.
_PAUSE = 60.0


class Retention:
    """Walks through what is too old; unfinished events are kept, and passed by."""

    def __init__(self, settings: RetentionSettings) -> None:
        self._settings = settings
        self._position: Position | None = None
        self._details: datetime | None = None
        self._resumes = {"events": 0.0, "history": 0.0, "details": 0.0}

    def purge_some(self) -> int:
        """Delete some of each, if any is due; return how many events. Raises StoreUnavailable."""
        deleted = 0
        if self._settings.max_age and self._is_due("events"):
            batch = purge_batch(_before(self._settings.max_age), self._position)
            self._position, deleted = batch.last, batch.deleted
            if batch.last is None:
                self._pause("events")
        if self._settings.max_age and self._is_due("history"):
            before = _before(self._settings.max_age)
            if not forget_entries(before) + forget_revisions(before):
                self._pause("history")
        if self._settings.attempts and self._is_due("details"):
            done = forget_details(_before(self._settings.attempts), self._details)
            if done is None:
                self._pause("details")
            self._details = done or self._details
        return deleted

    def _is_due(self, what: str) -> bool:
        return time.monotonic() >= self._resumes[what]

    def _pause(self, what: str) -> None:
        self._resumes[what] = time.monotonic() + _PAUSE


def _before(max_age: float) -> datetime:
    return utcnow() - timedelta(seconds=max_age)
