"""Delivering: claimed deliveries are sent at once, and nobody waits for a slow target."""

import logging
import threading
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from uuid import UUID

from pacifica.notifications.clock import utcnow
from pacifica.notifications.delivery import delivery_request, outcome, postponed, unsendable
from pacifica.notifications.events import Event
from pacifica.notifications.flow import Delivery
from pacifica.notifications.settings import Settings
from pacifica.notifications.stages.pauses import Pauses
from pacifica.notifications.stages.record import Recorder
from pacifica.notifications.store.deliveries import claim_allowed, events_of
from pacifica.notifications.transport import (
    Request,
    Response,
    SendFailure,
    Transport,
    TransportBusy,
    TransportClosed,
)

_LOG = logging.getLogger(__name__)
_NO_TURN = SendFailure("waited too long for its turn", 0.0, ours=True)
_NO_ROOM = SendFailure("too much is under way already", 0.0, ours=True)


class Deliverer:
    """Sends batches without waiting for answers; each is recorded when it comes."""

    def __init__(self, settings: Settings, transport: Transport) -> None:
        self._settings = settings
        self._transport = transport
        self._recorder = Recorder()
        self._room = _Room(settings.delivery.unfinished, settings.delivery.unfinished_bytes)
        self._longest = settings.delivery.connect_timeout + settings.delivery.timeout
        self._waiting = _Waiting()
        self._pauses = Pauses(settings.delivery.max_pauses, settings.delivery.max_retry_after)

    def room(self) -> int:
        """Return how many deliveries more may be under way, waiting a little for the first."""
        self._waiting.give_up()
        return self._room.left(self._settings.delivery.batch_wait)

    def deliver(self, uuids: Sequence[UUID]) -> None:
        """Send those of the deliveries that wait for it.

        Where too much is under way already, it waits a little for room and then leaves them for
        later. Raises StoreUnavailable; what was not recorded is due again when its lease ends.
        """
        most = self.room()
        if not most:
            _LOG.warning("%d deliveries wait: too much is under way already", len(uuids))
            return
        deliveries = claim_allowed(uuids, self._settings.celery.lease, most)
        self.send(deliveries, events_of(deliveries))

    def send(self, deliveries: Sequence[Delivery], events: Mapping[UUID, Event]) -> None:
        """Send deliveries that this worker has taken; events may have been purged since."""
        sent = []
        for delivery in deliveries:
            if delivery.event not in events:
                continue
            if (until := self._pauses.until(delivery.subscription)) is not None:
                self._recorder.put(postponed(delivery, until))
                continue
            try:
                request = delivery_request(
                    delivery, events[delivery.event], utcnow(), self._settings
                )
                sent.append(self._send(delivery, request))
            except (ValueError, RecursionError) as error:
                self._recorder.put(unsendable(delivery, str(error), utcnow()))
            except (TransportBusy, TransportClosed) as error:
                self._settle(delivery, SendFailure(str(error), 0.0, ours=True))
        if sent:
            self._waiting.add(sent, self._patience(deliveries[0]))

    def settle(self, timeout: float) -> bool:
        """Wait until everything that was sent has its answer on record; tell whether it has."""
        deadline = time.monotonic() + timeout
        return self._room.empty(timeout) and self._recorder.idle(deadline - time.monotonic())

    def close(self) -> None:
        """Let late answers be recorded, within a bound; the transport is closed before."""
        self._recorder.close()

    def _patience(self, delivery: Delivery) -> float:
        """Return for how long a request may wait for its turn, to end before its lease does."""
        leased = delivery.leased or utcnow()
        return (leased - utcnow()).total_seconds() - self._longest

    def _send(self, delivery: Delivery, request: Request) -> Future[Response | SendFailure]:
        size = len(request.body)
        if not self._room.enter(size):
            raise TransportBusy(_NO_ROOM.reason)
        try:
            future = self._transport.submit(request)
        except (TransportBusy, TransportClosed):
            self._room.leave(size)
            raise
        self._pauses.entered(delivery.subscription, future)
        future.add_done_callback(partial(self._answered, delivery, size))
        return future

    def _answered(
        self, delivery: Delivery, size: int, future: Future[Response | SendFailure]
    ) -> None:
        """Have an answer recorded; runs in the transport's thread, before others get their turn."""
        try:
            self._waiting.give_up()
            self._pauses.left(delivery.subscription, future)
            if not future.cancelled():
                self._settle(delivery, future.result())
            elif (until := self._pauses.until(delivery.subscription)) is not None:
                self._recorder.put(postponed(delivery, until))
            else:
                self._settle(delivery, _NO_TURN)
        finally:
            self._room.leave(size)

    def _settle(self, delivery: Delivery, result: Response | SendFailure) -> None:
        ruled = outcome(delivery, result, utcnow(), self._settings)
        if ruled.not_before is not None:
            self._pauses.begin(delivery.subscription, ruled.not_before)
        # What arrived is on record, and a line for each would cost as much as matching it.
        level = logging.DEBUG if ruled.delivered else logging.WARNING
        _LOG.log(
            level,
            "event %s to subscription %s, attempt %d: %s",
            delivery.event,
            delivery.subscription.uuid,
            delivery.attempts,
            ruled.status or ruled.body,
        )
        self._recorder.put(ruled)


class _Room:
    """How many deliveries, of how many bytes in all, may be under way at once."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._count = 0
        self._bytes = 0
        self._changed = threading.Condition()

    def enter(self, size: int) -> bool:
        """Count one more; False where there is no room. One that is alone always has room."""
        with self._changed:
            if self._count and not self._has_room(size):
                return False
            self._count += 1
            self._bytes += size
            return True

    def leave(self, size: int) -> None:
        with self._changed:
            self._count -= 1
            self._bytes -= size
            self._changed.notify_all()

    def left(self, timeout: float) -> int:
        """Return for how many there is room; 0 when there was none in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._has_room(0), timeout):
                return 0
            return self._most - self._count

    def empty(self, timeout: float) -> bool:
        """Wait until nothing is under way; False when something was all the time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._count, timeout)

    def _has_room(self, size: int) -> bool:
        return self._count < self._most and self._bytes + size <= self._most_bytes


class _Waiting:
    """Requests that may still wait for their turn at a slow target, for so many seconds at most.

    Sent after their lease, they would be sent by whoever took them then as well.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._batches: deque[tuple[float, Collection[Future[Response | SendFailure]]]] = deque()

    def add(self, batch: Collection[Future[Response | SendFailure]], seconds: float) -> None:
        with self._lock:
            self._batches.append((time.monotonic() + seconds, batch))
            while self._batches and all(future.done() for future in self._batches[0][1]):
                self._batches.popleft()

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
