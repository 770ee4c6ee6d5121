"""Delivering: claimed deliveries are sent at once, and no task waits for a slow target."""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from uuid import UUID

from pacifica.notifications.clock import utcnow
from pacifica.notifications.delivery import (
    delivery_request,
    given_up,
    outcome,
    postponed,
    unsendable,
)
from pacifica.notifications.errors import EventUnsendable
from pacifica.notifications.events import Event
from pacifica.notifications.flow import Delivery
from pacifica.notifications.settings import Settings
from pacifica.notifications.stages.record import Recorder
from pacifica.notifications.stages.retryafter import RetryAfterGate
from pacifica.notifications.store.deliveries import claim_allowed, events_of
from pacifica.notifications.transport import (
    Request,
    SendFailure,
    SendResult,
    Transport,
    TransportBusy,
    TransportClosed,
)

_LOG = logging.getLogger(__name__)
_WAITED_TOO_LONG = SendFailure("waited too long for its turn", 0.0, ours=True)
_TOO_MUCH = SendFailure("too much is under way already", 0.0, ours=True)
# One user's deliveries may take so many times the bytes that are still free.
_USER_SHARE = 4


class Deliverer:
    """Sends batches without waiting for responses; each is recorded when it comes."""

    def __init__(self, settings: Settings, transport: Transport) -> None:
        self._settings = settings
        self._transport = transport
        self._recorder = Recorder()
        self._in_flight = InFlightLimit(
            settings.delivery.unfinished, settings.delivery.unfinished_bytes
        )
        self._max_seconds = settings.delivery.connect_timeout + settings.delivery.timeout
        self._deadlines = _StartDeadlines()
        self._gate = RetryAfterGate(settings.delivery.max_pauses, settings.delivery.max_retry_after)

    def capacity(self) -> int:
        """Return how many deliveries more may be under way; wait a little for the first."""
        self._deadlines.cancel_expired()
        return self._in_flight.wait_free(self._settings.delivery.batch_wait)

    def deliver(self, uuids: Sequence[UUID]) -> None:
        """Send those of the deliveries that are due and that nobody else has taken.

        Where too much is under way already, it waits a little and then leaves them for later.
        Raises StoreUnavailable; what was not recorded is due again when its lease ends.
        """
        capacity = self.capacity()
        if not capacity:
            _LOG.warning("%d deliveries wait: too much is under way already", len(uuids))
            return
        deliveries = claim_allowed(uuids, self._settings.celery.lease, capacity)
        self.send(deliveries, events_of(deliveries))

    def send(self, deliveries: Sequence[Delivery], events: Mapping[UUID, Event]) -> None:
        """Send deliveries that this worker has taken; events may have been purged since."""
        sent = []
        for delivery in deliveries:
            if delivery.event not in events:
                continue
            if (until := self._gate.closed_until(delivery.subscription)) is not None:
                self._recorder.put(postponed(delivery, until))
                continue
            try:
                request = delivery_request(
                    delivery, events[delivery.event], utcnow(), self._settings
                )
                sent.append(self._send(delivery, request))
            except EventUnsendable as error:
                _LOG.warning("delivery %s is given up: %s", delivery.uuid, error)
                self._recorder.put(given_up(delivery, str(error)))
            except (ValueError, RecursionError) as error:
                self._recorder.put(unsendable(delivery, str(error), utcnow()))
            except (TransportBusy, TransportClosed) as error:
                self._settle(delivery, SendFailure(str(error), 0.0, ours=True))
        if sent:
            self._deadlines.add(sent, self._max_wait(deliveries[0]))

    def settle(self, timeout: float) -> bool:
        """Wait until everything that was sent has its result on record; tell whether it has."""
        deadline = time.monotonic() + timeout
        return self._in_flight.wait_empty(timeout) and self._recorder.idle(
            deadline - time.monotonic()
        )

    def close(self) -> None:
        """Let late results be recorded, within a bound; the transport is closed before."""
        self._recorder.close()

    def _max_wait(self, delivery: Delivery) -> float:
        """Return for how long a request may wait to start, so that it ends before its lease."""
        leased = delivery.leased or utcnow()
        return (leased - utcnow()).total_seconds() - self._max_seconds

    def _send(self, delivery: Delivery, request: Request) -> Future[SendResult]:
        user, size = delivery.subscription.user, len(request.body)
        if not self._in_flight.acquire(user, size):
            raise TransportBusy(_TOO_MUCH.reason)
        try:
            future = self._transport.submit(request)
        except (TransportBusy, TransportClosed):
            self._in_flight.release(user, size)
            raise
        self._gate.enter(delivery.subscription, future)
        future.add_done_callback(partial(self._ended, delivery, size))
        return future

    def _ended(self, delivery: Delivery, size: int, future: Future[SendResult]) -> None:
        """Have a result recorded; runs in the transport's thread, before it starts others."""
        try:
            self._deadlines.cancel_expired()
            self._gate.exit(delivery.subscription, future)
            if not future.cancelled():
                self._settle(delivery, future.result())
            elif (until := self._gate.closed_until(delivery.subscription)) is not None:
                self._recorder.put(postponed(delivery, until))
            else:
                self._settle(delivery, _WAITED_TOO_LONG)
        finally:
            self._in_flight.release(delivery.subscription.user, size)

    def _settle(self, delivery: Delivery, result: SendResult) -> None:
        ruled = outcome(delivery, result, utcnow(), self._settings)
        if ruled.not_before is not None:
            self._gate.close_until(delivery.subscription, ruled.not_before)
        # What arrived, or was not tried, is on record; a line for each would cost as much as
        # matching it.
        level = logging.DEBUG if ruled.delivered or not ruled.tried else logging.WARNING
        _LOG.log(
            level,
            "event %s to subscription %s, attempt %d: %s",
            delivery.event,
            delivery.subscription.uuid,
            delivery.attempts,
            ruled.status or ruled.body,
        )
        self._recorder.put(ruled)


class InFlightLimit:
    """Bounds how many deliveries, of how many bytes in all, are under way at once.

    The deliveries of one user leave a fifth of the bytes to others. How many may wait for a hanging
    target is up to the transport's queue.
    """

    def __init__(self, max_count: int, max_bytes: int) -> None:
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._count = 0
        self._bytes = 0
        self._bytes_by_user: Counter[str] = Counter()
        self._changed = threading.Condition()

    def acquire(self, user: str, size: int) -> bool:
        """Count one more, unless that is too much; one that is alone may be of any size."""
        with self._changed:
            if self._count and not (self._fits(size) and self._fits_share(user, size)):
                return False
            self._count += 1
            self._bytes += size
            self._bytes_by_user[user] += size
            return True

    def release(self, user: str, size: int) -> None:
        """Count one less."""
        with self._changed:
            self._count -= 1
            self._bytes -= size
            self._bytes_by_user[user] -= size
            if not self._bytes_by_user[user]:
                del self._bytes_by_user[user]
            self._changed.notify_all()

    def wait_free(self, timeout: float) -> int:
        """Return how many more may be under way; 0 when none might in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._fits(0), timeout):
                return 0
            return self._max_count - self._count

    def wait_empty(self, timeout: float) -> bool:
        """Wait until nothing is under way; False when something was all the time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._count, timeout)

    def _fits(self, size: int) -> bool:
        return self._count < self._max_count and self._bytes + size <= self._max_bytes

    def _fits_share(self, user: str, size: int) -> bool:
        taken = self._bytes_by_user.get(user, 0)
        return not taken or taken + size <= _USER_SHARE * (self._max_bytes - self._bytes)


class _StartDeadlines:
    """Cancels requests that have not started in time.

    Those sent after their lease would be sent by whoever takes the delivery then as well.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._batches: deque[tuple[float, Collection[Future[SendResult]]]] = deque()

    def add(self, batch: Collection[Future[SendResult]], seconds: float) -> None:
        """Have requests cancelled that have not started after so many seconds."""
        with self._lock:
            self._batches.append((time.monotonic() + seconds, batch))
            while self._batches and all(future.done() for future in self._batches[0][1]):
                self._batches.popleft()

    def cancel_expired(self) -> None:
        """Cancel the requests whose time is over."""
        now = time.monotonic()
        with self._lock:
            expired = []
            while self._batches and self._batches[0][0] <= now:
                expired.append(self._batches.popleft()[1])
        for batch in expired:
            for future in batch:
                future.cancel()
