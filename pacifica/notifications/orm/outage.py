"""Sparing a database that hangs: once somebody waited in vain, few ask until one is answered."""

import time

from pacifica.notifications.errors import StoreUnavailable

# Seconds between two tries while the database hangs.
_PAUSE = 1.0
# Seconds that a failure must have taken: a few shorter ones in turn keep nobody waiting for long.
_LONG = 2.0


class Outage:
    """What this process knows of a database that does not answer.

    Each thread that waits for it is missing for other requests. Those would come to wait in their
    turn, and so for longer than the one bounded wait: they are refused at once instead. Two threads
    may change it at once: then there is a try more, or one less.
    """

    def __init__(self) -> None:
        self._next_try: float | None = None

    def require_try(self) -> None:
        """Raise StoreUnavailable unless the database answers, or this is to be the next try."""
        next_try, now = self._next_try, time.monotonic()
        if next_try is None:
            return
        if now < next_try:
            raise StoreUnavailable("the database did not answer a moment ago")
        self._next_try = now + _PAUSE

    def answered(self) -> None:
        """Let everybody through."""
        self._next_try = None

    def failed(self, took: float) -> None:
        """Spare the database for a while if a failure took long (seconds)."""
        if took > _LONG:
            self._next_try = time.monotonic() + _PAUSE
