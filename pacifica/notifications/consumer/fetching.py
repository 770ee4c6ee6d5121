"""Fetches notifications from the producer, so that a consumer needs no port.

A notification is acknowledged once it is stored durably. What is fetched and not acknowledged, as
when the consumer is killed, is handed out again.
"""

import json
import logging
import threading
from collections.abc import Callable, Sequence
from uuid import UUID

from pacifica.notifications.consumer.intake import Intake
from pacifica.notifications.consumer.producer import FetchedItem, Producer
from pacifica.notifications.errors import ConsumerError

_LOG = logging.getLogger(__name__)
_BATCH = 100
# Seconds: for how long a batch is locked, and for how long the producer may wait for one.
_LOCK = 30
_WAIT = 5
# Seconds to wait after a failure; it doubles each time.
_FIRST_PAUSE, _MAX_PAUSE = 1.0, 60.0
# Seconds for a fetch that is under way to end.
_CLOSING = _WAIT + 2.0


class Fetching:
    """A thread that fetches from a subscription, and says in one line when that fails or works."""

    def __init__(
        self, producer: Producer, subscription: UUID, intake: Intake, say: Callable[[str], None]
    ) -> None:
        self._producer = producer
        self._subscription = subscription
        self._intake = intake
        self._say = say
        self._is_failing = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fetching", daemon=True)

    def start(self) -> None:
        """Begin to fetch."""
        self._thread.start()

    def close(self) -> None:
        """Fetch nothing more, and let what is under way end, within a bound."""
        self._closed.set()
        self._thread.join(_CLOSING)

    def _run(self) -> None:
        pause = next_pause = 0.0
        while not self._closed.wait(pause):
            try:
                pause, next_pause = self._fetch(), 0.0
            except ConsumerError as error:
                self._note(str(error))
                pause = max(next_pause, _FIRST_PAUSE)
                next_pause = min(2 * pause, _MAX_PAUSE)
            except Exception:  # noqa: BLE001 the edge of a thread, which must go on
                _LOG.exception("notifications are not fetched")
                pause = _MAX_PAUSE
            else:
                self._note(None)

    def _note(self, failure: str | None) -> None:
        """Say that fetching fails, or works again."""
        if (failure is not None) != self._is_failing and not self._closed.is_set():
            self._is_failing = failure is not None
            self._say(f"nothing is fetched: {failure}" if failure else "fetching works again")

    def _fetch(self) -> float:
        """Take in one batch; return the seconds after which to fetch the next.

        Raises ConsumerError; what was taken in by then is acknowledged.
        """
        room = min(self._intake.room(), _BATCH)
        if room <= 0:
            return _FIRST_PAUSE
        fetched = self._producer.fetch(self._subscription, room, _LOCK, _WAIT)
        taken: list[str] = []
        try:
            for each in fetched.items:
                if self._closed.is_set():
                    break
                self._intake.take(json.dumps(each.event).encode(), each.event)
                taken.append(each.lock)
        finally:
            self._answer(taken, fetched.items)
        return fetched.retry_after

    def _answer(self, taken: Sequence[str], items: Sequence[FetchedItem]) -> None:
        """Acknowledge what was taken, and have the others handed out again."""
        if taken:
            self._producer.acknowledge(self._subscription, taken)
        if left := [each.lock for each in items if each.lock not in taken]:
            self._producer.release(self._subscription, left)
