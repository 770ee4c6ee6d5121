"""Pauses that targets ask for: until when nothing more is sent to them."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Any

from pacifica.notifications.clock import utcnow
from pacifica.notifications.subscriptions import Subscription


class Pauses:
    """Knows until when the targets of subscriptions want no request, and what is on its way there.

    It is of this process alone. `most` pauses are remembered, each for `longest` seconds at the
    most: past that the subscription is disabled, so that nothing comes, and if its owner enables it
    nevertheless, that counts. A subscription with another target has no pause.
    """

    def __init__(self, most: int, longest: float) -> None:
        self._most = most
        self._longest = timedelta(seconds=longest)
        self._lock = threading.Lock()
        self._until: OrderedDict[Hashable, datetime] = OrderedDict()
        self._under_way: dict[Hashable, set[Future[Any]]] = {}

    def until(self, subscription: Subscription) -> datetime | None:
        """Return when a subscription's pause ends; None where there is none."""
        if not self._until:
            return None
        key, now = _key(subscription), utcnow()
        with self._lock:
            until = self._until.get(key)
            if until is not None and until <= now:
                self._until.pop(key)
                return None
            return until

    def begin(self, subscription: Subscription, until: datetime) -> None:
        """Let a pause begin, and call back what has not been sent yet."""
        key, until = _key(subscription), min(until, utcnow() + self._longest)
        with self._lock:
            self._until[key] = max(until, self._until.pop(key, until))
            if len(self._until) > self._most:
                self._until.popitem(last=False)
            waiting = list(self._under_way.get(key, ()))
        for future in waiting:
            future.cancel()

    def entered(self, subscription: Subscription, future: Future[Any]) -> None:
        """Take note of a request that may have to wait for its turn."""
        with self._lock:
            self._under_way.setdefault(_key(subscription), set()).add(future)
        if self.until(subscription) is not None:  # it has begun since somebody looked
            future.cancel()

    def left(self, subscription: Subscription, future: Future[Any]) -> None:
        """Forget a request that is over."""
        key = _key(subscription)
        with self._lock:
            under_way = self._under_way.get(key, set())
            under_way.discard(future)
            if not under_way:
                self._under_way.pop(key, None)


def _key(subscription: Subscription) -> Hashable:
    return subscription.uuid, subscription.target_url
