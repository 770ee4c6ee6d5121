"""Fetching deliveries: a few requests wait for them, and one thread looks for all that wait."""

import logging
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from pacifica.notifications.errors import EventUnsendable, StoreUnavailable
from pacifica.notifications.events import STRUCTURED
from pacifica.notifications.flow import Cause
from pacifica.notifications.metrics import PULLS, Tallies
from pacifica.notifications.orm import BaseModel
from pacifica.notifications.settings import PullSettings
from pacifica.notifications.store import pulling
from pacifica.notifications.store.events import events_by_uuid
from pacifica.notifications.store.pulling import Fetched, PullLock
from pacifica.notifications.subscriptions import Subscription

_LOG = logging.getLogger(__name__)
# A process remembers so many subscriptions that were fetched from in vain, for so many seconds.
_MAX_REMEMBERED = 50_000
_REMEMBERED = 60.0


@dataclass(frozen=True)
class PulledDelivery:
    """A delivery as its owner gets it: `event` is JSON, as it would have been sent."""

    lock: PullLock
    attempt: int
    cause: Cause
    event: bytes


@dataclass(frozen=True)
class Pulled:
    """What was fetched, and after how many seconds to fetch again."""

    deliveries: Sequence[PulledDelivery]
    retry_after: float


class Puller:
    """Fetches deliveries for one web server process, in which `max_waiting` requests may wait."""

    def __init__(self, settings: PullSettings, max_waiting: int, tallies: Tallies) -> None:
        self._settings = settings
        self._tallies = tallies
        self._waiting = Waiting(max_waiting, settings.look_interval)
        self._pace = Pace(settings)

    def fetch(
        self,
        subscription: Subscription,
        limit: int,
        lock: float,
        wait: float,
        is_gone: Callable[[], bool],
    ) -> Pulled:
        """Fetch up to `limit` deliveries; where there are none, wait for some if there is room.

        `is_gone` tells whether nobody waits for the answer any more, who would only lock what
        comes. Raises StoreUnavailable.
        """
        found, result = self._fetch(subscription, limit, lock), "none"
        has_waited = False
        if not found and wait:
            with self._waiting.place(subscription) as has_waited:
                until = partial(self._waiting.until, subscription.uuid, time.monotonic() + wait)
                while has_waited and not found and until(is_gone):
                    found = self._fetch(subscription, limit, lock)
            result = "none" if has_waited else "busy"
        self._tallies.add(PULLS, 1, "some" if found else result)
        is_at_once = found or has_waited
        return Pulled(found, 0.0 if is_at_once else self._pace.retry_after(subscription.uuid))

    def stop(self) -> None:
        """Have all that wait answered at once."""
        self._waiting.stop()

    def _fetch(self, subscription: Subscription, limit: int, lock: float) -> list[PulledDelivery]:
        while fetched := pulling.fetch(subscription.uuid, limit, lock, self._settings):
            if pulled := list(_pulled(fetched, subscription)):
                return pulled
        return []


class Waiting:
    """A few requests wait, each user with a share of them, and one query looks for all of them."""

    def __init__(self, max_waiting: int, interval: float) -> None:
        self._max_waiting = max_waiting
        self._interval = interval
        self._changed = threading.Condition()
        self._waiting: Counter[UUID] = Counter()
        self._users: Counter[str] = Counter()
        self._available: set[UUID] = set()
        self._is_looking = self._is_stopped = False

    @contextmanager
    def place(self, subscription: Subscription) -> Iterator[bool]:
        """Give a request a place to wait during the block; False where there is none."""
        uuid, user = subscription.uuid, subscription.user
        with self._changed:
            share = max(self._max_waiting // 2, 1)
            is_full = self._waiting.total() >= self._max_waiting or self._users[user] >= share
            has_place = not (is_full or self._is_stopped)
            if has_place:
                self._waiting[uuid] += 1
                self._users[user] += 1
        try:
            yield has_place
        finally:
            if has_place:
                with self._changed:
                    self._waiting[uuid] -= 1
                    self._users[user] -= 1
                    self._waiting, self._users = +self._waiting, +self._users
                    self._changed.notify_all()

    def until(
        self, subscription: UUID, deadline: float, is_gone: Callable[[], bool] = lambda: False
    ) -> bool:
        """Wait for something to fetch; False if nothing came before a time (monotonic).

        Also if whoever waits `is_gone`.
        """
        with self._changed:
            self._available.discard(subscription)
            if not self._is_looking:
                self._is_looking = True
                threading.Thread(target=self._look, name="pull", daemon=True).start()
            self._changed.wait_for(
                lambda: self._is_stopped or subscription in self._available or is_gone(),
                max(deadline - time.monotonic(), 0.0),
            )
            return subscription in self._available and not (self._is_stopped or is_gone())

    def stop(self) -> None:
        """End all waiting, and let no request wait from now on."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def _look(self) -> None:
        """Look for what can be fetched as long as somebody waits."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_stopped, self._interval)
                wanted = set(self._waiting) - self._available
                self._available &= set(self._waiting)
                if self._is_stopped or not self._waiting:
                    self._is_looking = False
                    break
            found = _available(wanted)
            with self._changed:
                self._available |= found
                self._changed.notify_all()
        BaseModel.database_close()


class Pace:
    """Says when to come back to those who fetched in vain, so that only so many come a second.

    Several threads may use it. It counts the subscriptions that came lately.
    """

    def __init__(self, settings: PullSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._seen: set[UUID] = set()
        self._seen_before: set[UUID] = set()
        self._turned = time.monotonic()

    def retry_after(self, subscription: UUID) -> float:
        """Return the seconds after which to fetch again, a little different each time."""
        with self._lock:
            if time.monotonic() - self._turned > _REMEMBERED:
                self._seen_before, self._seen = self._seen, set()
                self._turned = time.monotonic()
            if len(self._seen) < _MAX_REMEMBERED:
                self._seen.add(subscription)
            pullers = max(len(self._seen), len(self._seen_before))
        fair = pullers / self._settings.empty_rate
        seconds = min(max(fair, self._settings.retry_after), self._settings.max_retry_after)
        spread = random.uniform(0.8, 1.2)  # noqa: S311 no secret
        return math.ceil(10 * seconds * spread) / 10


def _pulled(fetched: Sequence[Fetched], subscription: Subscription) -> Iterator[PulledDelivery]:
    """Give the deliveries with their events; those that cannot be given are given up."""
    events = events_by_uuid({each.event for each in fetched})
    for each in fetched:
        event = events.get(each.event)
        if event is None:  # purged by hand
            continue
        try:
            message = event.message(subscription.specversion, STRUCTURED, subscription.extensions)
        except (EventUnsendable, ValueError, RecursionError) as error:
            _LOG.warning("delivery %s is given up: %s", each.lock.delivery, error)
            pulling.give_up(each, str(error))
            continue
        yield PulledDelivery(each.lock, each.attempt, each.cause, message.body)


def _available(subscriptions: Collection[UUID]) -> set[UUID]:
    if not subscriptions:
        return set()
    try:
        return pulling.with_available(subscriptions)
    except StoreUnavailable:
        return set()
    except Exception:  # noqa: BLE001 the edge of a thread: those who wait are answered anyway
        _LOG.exception("nothing is found for those who wait for events")
        return set()
