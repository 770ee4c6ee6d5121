"""Deletes finished events that are too old, a few with each sweep."""

import time
from datetime import timedelta

from pacifica.notifications.clock import utcnow
from pacifica.notifications.settings import RetentionSettings
from pacifica.notifications.store.position import Position
from pacifica.notifications.store.purging import purge_batch

# Seconds before the oldest events are looked at again, after all that are too old were.
_PAUSE = 60.0


class Retention:
    """Walks through the events that are too old; unfinished ones are kept, and passed by."""

    def __init__(self, settings: RetentionSettings) -> None:
        self._max_age = settings.max_age
        self._position: Position | None = None
        self._resumes = 0.0

    def purge_some(self) -> int:
        """Delete some events, if any is due; return how many. Raises StoreUnavailable."""
        if not self._max_age or time.monotonic() < self._resumes:
            return 0
        batch = purge_batch(utcnow() - timedelta(seconds=self._max_age), self._position)
        self._position = batch.last
        if batch.last is None:
            self._resumes = time.monotonic() + _PAUSE
        return batch.deleted
