"""Recording what targets answered, beside the stages and many at a time."""

import logging
import queue
import threading
from collections.abc import Sequence

from pacifica.notifications.clock import utcnow
from pacifica.notifications.errors import StoreUnavailable
from pacifica.notifications.flow import Outcome
from pacifica.notifications.store.deliveries import record_outcomes

_LOG = logging.getLogger(__name__)
_BULK = 100
_CLOSING = 5.0
_PAUSE = 0.5


class Recorder:
    """Records outcomes in a thread of its own, as many at a time as have come in.

    During an outage of the database it tries again for as long as nobody else may make the
    deliveries. Its queue is bounded by what may be under way.
    """

    def __init__(self) -> None:
        self._ending = threading.Event()
        self._queue: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def put(self, outcome: Outcome) -> None:
        """Have an outcome recorded; does not wait for it."""
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
                self._thread.start()
        self._queue.put(outcome)

    def close(self) -> None:
        """Record what is left, once and within a bound, and end the thread."""
        self._ending.set()
        with self._starting:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            thread.join(_CLOSING)

    def _run(self) -> None:
        going_on = True
        while going_on:
            waiting = [self._queue.get()]
            while len(waiting) < _BULK and not self._queue.empty():
                waiting.append(self._queue.get())
            going_on = None not in waiting
            self._record([outcome for outcome in waiting if outcome is not None])

    def _record(self, outcomes: Sequence[Outcome]) -> None:
        going_on = True
        while going_on:
            try:
                _record_some(outcomes)
            except StoreUnavailable:
                outcomes = [outcome for outcome in outcomes if _is_ours(outcome)]
                going_on = bool(outcomes) and not self._ending.wait(_PAUSE)
            else:
                return
        _LOG.warning("outcomes are not recorded, their deliveries are made again")


def _is_ours(outcome: Outcome) -> bool:
    """Tell whether nobody else makes the delivery yet."""
    leased = outcome.delivery.leased
    return leased is not None and utcnow() < leased


def _record_some(outcomes: Sequence[Outcome]) -> None:
    """Record outcomes; raises StoreUnavailable, and then may have recorded any of them."""
    try:
        record_outcomes(outcomes)
    except StoreUnavailable:
        raise
    except Exception:  # noqa: BLE001 the edge of the recorder's thread, which must outlive one bad row
        if len(outcomes) == 1:
            _LOG.exception("an outcome is not recorded, its delivery is made again")
            return
        for outcome in outcomes:  # one that cannot be recorded is no reason to send others twice
            _record_some([outcome])
