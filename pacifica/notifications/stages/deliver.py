"""Delivering: a claimed batch is sent at once, and nobody waits for its slowest target."""

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Collection, Iterable
from concurrent.futures import Future, wait
from functools import partial
from typing import Any
from uuid import UUID

from pacifica.notifications.clock import utcnow
from pacifica.notifications.delivery import delivery_request, outcome, unusable
from pacifica.notifications.errors import StoreUnavailable
from pacifica.notifications.flow import Delivery, Outcome
from pacifica.notifications.settings import Settings
from pacifica.notifications.store.deliveries import claim_allowed, event_texts, record_outcomes
from pacifica.notifications.transport import (
    Answer,
    NoAnswer,
    Transport,
    TransportBusy,
    TransportClosed,
)

_LOG = logging.getLogger(__name__)
_BULK = 100
_CLOSING = 5.0
_NO_TURN = NoAnswer("waited too long for its turn", 0.0, ours=True)


class Deliverer:
    """Sends batches; what has not answered by the batch's budget is recorded when it does."""

    def __init__(self, settings: Settings, transport: Transport) -> None:
        self._settings = settings
        self._transport = transport
        self._recorder = _Recorder()
        limit = settings.delivery_connect_timeout + settings.delivery_timeout
        self._waiting = _Waiting(max(settings.lease - limit, 0.0))

    def deliver(self, uuids: Collection[UUID]) -> None:
        """Send those of the deliveries that wait for it.

        Raises StoreUnavailable; what was not recorded is due again when its lease ends.
        """
        self._waiting.give_up()
        deliveries = claim_allowed(uuids, self._settings.lease)
        texts = event_texts({delivery.event for delivery in deliveries})
        outcomes: list[Outcome] = []
        sent: dict[Future[Answer | NoAnswer], Delivery] = {}
        for delivery in deliveries:
            if delivery.event not in texts:  # purged a moment ago, and its deliveries with it
                continue
            try:
                request = delivery_request(delivery, texts[delivery.event])
                sent[self._transport.submit(request)] = delivery
            except (ValueError, RecursionError) as error:
                outcomes.append(unusable(delivery, str(error), utcnow()))
            except (TransportBusy, TransportClosed) as error:
                unsent = NoAnswer(str(error), 0.0, ours=True)
                outcomes.append(outcome(delivery, unsent, utcnow(), self._settings))
        done, late = wait(sent, timeout=self._settings.delivery_batch_budget)
        for future in late:
            future.add_done_callback(partial(self._record_later, sent[future]))
        self._waiting.add(late)
        record_outcomes([*outcomes, *(self._outcome(sent[future], future) for future in done)])

    def close(self) -> None:
        """Let late answers be recorded, within a bound; the transport is closed before."""
        self._recorder.close()

    def _outcome(self, delivery: Delivery, future: Future[Answer | NoAnswer]) -> Outcome:
        result = _NO_TURN if future.cancelled() else future.result()
        ruled = outcome(delivery, result, utcnow(), self._settings)
        level = logging.INFO if ruled.delivered else logging.WARNING
        _LOG.log(
            level,
            "event %s to subscription %s, attempt %d: %s",
            delivery.event,
            delivery.subscription.uuid,
            delivery.attempts,
            ruled.status or ruled.body,
        )
        return ruled

    def _record_later(self, delivery: Delivery, future: Future[Answer | NoAnswer]) -> None:
        self._recorder.put(self._outcome(delivery, future))


class _Waiting:
    """Requests that may still wait for their turn at a slow target, for so many seconds at most.

    Sent after their lease, they would be sent by whoever took them then as well.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._batches: deque[tuple[float, Collection[Future[Any]]]] = deque()

    def add(self, batch: Collection[Future[Any]]) -> None:
        if batch:
            with self._lock:
                self._batches.append((time.monotonic() + self._seconds, batch))

    def give_up(self) -> None:
        """Cancel what has waited too long and not begun."""
        now = time.monotonic()
        with self._lock:
            too_long = []
            while self._batches and self._batches[0][0] <= now:
                too_long.append(self._batches.popleft()[1])
        for batch in too_long:
            for future in batch:
                future.cancel()


class _Recorder:
    """Records outcomes in a thread of its own, as many at a time as have come in.

    Its queue is bounded by what the transport has in flight.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def put(self, late: Outcome) -> None:
        self._queue.put(late)
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
                self._thread.start()

    def close(self) -> None:
        with self._lock:
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
            _record(late for late in waiting if late is not None)


def _record(outcomes: Iterable[Outcome]) -> None:
    try:
        record_outcomes(list(outcomes))
    except StoreUnavailable as error:
        _LOG.warning("outcomes not recorded, their deliveries are tried again: %s", error)
    except Exception:  # noqa: BLE001 the edge of the recorder's thread, which must outlive one bad row
        _LOG.exception("outcomes not recorded, their deliveries are tried again")
