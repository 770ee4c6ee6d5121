"""Delivering: claimed deliveries are sent at once, and no task waits for a slow target."""

import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import chain
from uuid import UUID

from pacifica.notifications.clock import utcnow
from pacifica.notifications.delivery import (
    NO_LINKS,
    Links,
    attempt,
    delivery_request,
    given_up,
    outcome,
    postponed,
    unsendable,
    without_wait,
)
from pacifica.notifications.errors import EventUnsendable, StoreUnavailable
from pacifica.notifications.events import Event
from pacifica.notifications.flow import Delivery, Outcome
from pacifica.notifications.metrics import RECEIVE_TO_TARGET, Tallies
from pacifica.notifications.settings import DeliverySettings, RecoverySettings
from pacifica.notifications.stages.inflight import InFlightLimit, UnderWay
from pacifica.notifications.stages.record import Recorder
from pacifica.notifications.stages.retryafter import RetryAfterGate
from pacifica.notifications.store.deliveries import claim_allowed, events_of
from pacifica.notifications.subscriptions import Channel
from pacifica.notifications.transport import (
    Request,
    SendFailure,
    SendResult,
    Transport,
    TransportBusy,
    TransportClosed,
    address_of,
)

_LOG = logging.getLogger(__name__)
_WAITED_TOO_LONG = SendFailure("waited too long for its turn", 0.0, ours=True)
_TOO_MUCH = SendFailure("too much is under way already", 0.0, ours=True)
# Seconds: a target that hung may have recovered after this time.
_MAX_RETRY_IN = 30.0


class Deliverer:
    """Sends batches without waiting for responses; each is recorded when it comes.

    A delivery that it claims belongs to it for `lease` seconds.
    """

    def __init__(
        self,
        settings: DeliverySettings,
        recovery: RecoverySettings,
        lease: float,
        transport: Transport,
        tallies: Tallies,
        links: Links = NO_LINKS,
        collect: Callable[[Sequence[Delivery]], None] | None = None,
    ) -> None:
        self._settings = settings
        self._recovery = recovery
        self._lease = lease
        self._transport = transport
        self._tallies = tallies
        self._links = links
        self._collect = collect
        self._recorder = Recorder()
        self._in_flight = InFlightLimit(settings.unfinished, settings.unfinished_bytes)
        self._max_seconds = settings.connect_timeout + settings.timeout
        self._deadlines = _StartDeadlines()
        self._gate = RetryAfterGate(settings.max_pauses, settings.max_retry_after)

    def capacity(self) -> int:
        """Return how many deliveries more may be under way; wait a little for the first."""
        self._deadlines.cancel_expired()
        return self._in_flight.wait_free(self._settings.batch_wait)

    def deliver(self, uuids: Sequence[UUID]) -> None:
        """Send those of the deliveries that are due and that nobody else has taken.

        Where too much is under way already, it waits a little and then leaves them for later.
        Raises StoreUnavailable; what was not recorded is due again when its lease ends.
        """
        capacity = self.capacity()
        if not capacity:
            _LOG.warning("%d deliveries wait: too much is under way already", len(uuids))
            return
        deliveries = claim_allowed(uuids, self._lease, capacity)
        self.send(deliveries, events_of(deliveries))

    def send(self, deliveries: Sequence[Delivery], events: Mapping[UUID, Event]) -> None:
        """Send deliveries that this worker has taken; events may have been purged since."""
        sent = []
        self._collect_mails(
            [each for each in deliveries if each.subscription.channel is Channel.MAIL]
        )
        for delivery in _users_in_turn(deliveries):
            if delivery.subscription.channel is Channel.MAIL:
                continue
            if delivery.event not in events:
                continue
            if (until := self._gate.closed_until(delivery.subscription)) is not None:
                self._recorder.put(postponed(delivery, until))
                continue
            try:
                sent += self._send(delivery, events[delivery.event])
            except EventUnsendable as error:
                _LOG.warning("delivery %s is given up: %s", delivery.uuid, error)
                self._recorder.put(given_up(delivery, str(error)))
            except (ValueError, RecursionError) as error:
                self._recorder.put(unsendable(delivery, str(error), utcnow()))
            except (TransportBusy, TransportClosed) as error:
                self._settle(delivery, SendFailure(str(error), 0.0, ours=True))
        if sent:
            self._deadlines.add(sent, self._max_wait(deliveries[0]))

    def _collect_mails(self, deliveries: Sequence[Delivery]) -> None:
        """Leave to others what is mailed; where that fails, it is due when its lease ends."""
        if not deliveries or self._collect is None:
            return
        try:
            self._collect(deliveries)
        except StoreUnavailable as error:
            _LOG.warning("%d deliveries are mailed later: %s", len(deliveries), error)

    def close(self) -> None:
        """Let late results be recorded, within a bound; the transport is closed before."""
        self._recorder.close()

    def _max_wait(self, delivery: Delivery) -> float:
        """Return for how long a request may wait to start, so that it ends before its lease."""
        leased = delivery.leased or utcnow()
        return (leased - utcnow()).total_seconds() - self._max_seconds

    def _send(self, delivery: Delivery, event: Event) -> list[Future[SendResult]]:
        """Send a delivery, unless too much is under way; to build its request is work already."""
        subscription = delivery.subscription
        address = address_of(subscription.target_url)
        host = address.host if address is not None else ""
        under_way = self._in_flight.acquire(subscription.user, host, len(event.text))
        if under_way is None:
            retry_in = min(2 * self._in_flight.seconds(subscription.user), _MAX_RETRY_IN)
            self._settle(delivery, replace(_TOO_MUCH, retry_in=retry_in))
            return []
        try:
            request = delivery_request(delivery, event, utcnow(), self._settings, self._links)
            future = self._transport.submit(request)
        except Exception:
            self._in_flight.release(under_way)
            raise
        self._gate.enter(subscription, future)
        future.add_done_callback(partial(self._ended, delivery, under_way, event.received, request))
        return [future]

    def _ended(
        self,
        delivery: Delivery,
        under_way: UnderWay,
        received: datetime | None,
        request: Request,
        future: Future[SendResult],
    ) -> None:
        """Have a result recorded; runs in the transport's thread, before it starts others."""
        try:
            self._deadlines.cancel_expired()
            self._gate.exit(delivery.subscription, future)
            result = _WAITED_TOO_LONG if future.cancelled() else future.result()
            until = self._gate.closed_until(delivery.subscription) if future.cancelled() else None
            if until is not None:
                self._recorder.put(postponed(delivery, until))
            else:
                waited = under_way.seconds - result.seconds
                ruled = self._settle(without_wait(delivery, waited), result, request)
                if ruled.delivered and received is not None:
                    seconds = (utcnow() - received).total_seconds()
                    self._tallies.observe(RECEIVE_TO_TARGET, seconds)
        finally:
            self._in_flight.release(under_way)

    def _settle(
        self, delivery: Delivery, result: SendResult, request: Request | None = None
    ) -> Outcome:
        now = utcnow()
        ruled = outcome(delivery, result, now, self._settings, self._recovery)
        if request is not None and ruled.tried:
            made = attempt(request, result, delivery.subscription, ruled.body, now)
            ruled = replace(ruled, attempt=made)
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
        return ruled


def _users_in_turn(deliveries: Sequence[Delivery]) -> Iterator[Delivery]:
    """Give the first delivery of each user, then the second of each, and so on."""
    turns: defaultdict[str, int] = defaultdict(int)
    by_turn: defaultdict[int, list[Delivery]] = defaultdict(list)
    for delivery in deliveries:
        user = delivery.subscription.user
        by_turn[turns[user]].append(delivery)
        turns[user] += 1
    return chain.from_iterable(by_turn.values())


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
