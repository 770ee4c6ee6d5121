"""Handing ids to the broker beside the requests, as many in one message as have come in."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from uuid import UUID

_LOG = logging.getLogger(__name__)


class Nudger:
    """Hands ids to `publish` in a thread of its own, so that who has one waits for no broker.

    An id that comes alone goes at once; those of the next `gather` seconds go together, as soon as
    they are `batch`. While a message takes long, `most` ids are kept; others are dropped, since the
    sweep finds what they name. The thread starts with the first id, and so after any fork.
    """

    def __init__(
        self, publish: Callable[[Sequence[UUID]], None], *, batch: int, gather: float, most: int
    ) -> None:
        self._publish = publish
        self._batch = batch
        self._gather = gather
        self._most = most
        self._waiting: deque[UUID] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_idle = False
        self._is_full = False
        self._ending = False

    def nudge(self, uuid: UUID) -> None:
        """Have an id handed over soon; does not wait, and never raises."""
        with self._changed:
            if self._ending or not self._has_room():
                return
            self._waiting.append(uuid)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="nudger", daemon=True)
                self._thread.start()
            elif self._is_idle or len(self._waiting) >= self._batch:
                self._changed.notify()

    def close(self, timeout: float) -> None:
        """Hand over what is left and end the thread, for at most so many seconds."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout)

    def _has_room(self) -> bool:
        was_full, self._is_full = self._is_full, len(self._waiting) >= self._most
        if self._is_full and not was_full:
            _LOG.warning("%d ids wait for the broker; others are left to the sweep", self._most)
        return not self._is_full

    def _run(self) -> None:
        while ids := self._next():
            try:
                self._publish(ids)
            except Exception:  # noqa: BLE001 the edge of a thread that must outlive one failure
                _LOG.exception("%d ids were not handed to the broker", len(ids))
            self._let_gather()

    def _next(self) -> list[UUID]:
        """Wait for ids and return them, a batch at most; none where there will be no more."""
        with self._changed:
            self._is_idle = True
            self._changed.wait_for(lambda: self._waiting or self._ending)
            self._is_idle = False
            return [self._waiting.popleft() for _ in range(min(self._batch, len(self._waiting)))]

    def _let_gather(self) -> None:
        """Let ids come in for a while: a message costs as much with one as with many."""
        with self._changed:
            self._changed.wait_for(
                lambda: len(self._waiting) >= self._batch or self._ending, self._gather
            )
