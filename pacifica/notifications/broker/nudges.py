"""Collects ids of new events and sends nudges about them in a background thread."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from uuid import UUID

_LOG = logging.getLogger(__name__)


class Nudger:
    """Passes ids to `publish` in a background thread.

    So no request waits for the broker. An id that comes alone is passed on at once. The ids of the
    next `gather` seconds are passed on together, or as soon as there are `batch` of them. While the
    broker is slow, up to `max_waiting` ids are kept. Further ids are dropped, because the sweep
    finds their events. The thread starts with the first id, and therefore after any fork.
    """

    def __init__(
        self,
        publish: Callable[[Sequence[UUID]], None],
        *,
        batch: int,
        gather: float,
        max_waiting: int,
    ) -> None:
        self._publish = publish
        self._batch = batch
        self._gather = gather
        self._max_waiting = max_waiting
        self._waiting: deque[UUID] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_idle = False
        self._is_full = False
        self._ending = False

    def nudge(self, uuid: UUID) -> None:
        """Queue an id to be passed on; do not wait, and never raise."""
        with self._changed:
            if self._ending or not self._has_place():
                return
            self._waiting.append(uuid)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="nudger", daemon=True)
                self._thread.start()
            elif self._is_idle or len(self._waiting) >= self._batch:
                self._changed.notify()

    def close(self, timeout: float) -> None:
        """Pass on what is left and end the thread, within `timeout` seconds."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout)

    def _has_place(self) -> bool:
        was_full, self._is_full = self._is_full, len(self._waiting) >= self._max_waiting
        if self._is_full and not was_full:
            _LOG.warning("%d ids wait for the broker; the sweep finds others", self._max_waiting)
        return not self._is_full

    def _run(self) -> None:
        while ids := self._next():
            try:
                self._publish(ids)
            except Exception:  # noqa: BLE001 the edge of a thread that must outlive one failure
                _LOG.exception("no nudge was sent about %d ids", len(ids))
            self._wait_for_more()

    def _next(self) -> list[UUID]:
        """Wait for ids and return a batch of them; it is empty after `close`."""
        with self._changed:
            self._is_idle = True
            self._changed.wait_for(lambda: self._waiting or self._ending)
            self._is_idle = False
            return [self._waiting.popleft() for _ in range(min(self._batch, len(self._waiting)))]

    def _wait_for_more(self) -> None:
        """Wait for more ids: one message costs the same for one id as for many."""
        with self._changed:
            self._changed.wait_for(
                lambda: len(self._waiting) >= self._batch or self._ending, self._gather
            )
