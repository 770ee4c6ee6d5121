"""Retry-After: nothing more is sent to a target before the time that it asked for."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Any

from pacifica.notifications.clock import utcnow
from pacifica.notifications.subscriptions import Subscription


class RetryAfterGate:
    """Knows until when the targets of subscriptions want no request, and which are under way.

    Each process has its own. `max_subscriptions` are remembered, each for `max_seconds` at most:
    past that the subscription is disabled, so that nothing comes, and if its owner enables it
    nevertheless, that counts. A subscription with another target has no gate yet.
    """

    def __init__(self, max_subscriptions: int, max_seconds: float) -> None:
        self._max_subscriptions = max_subscriptions
        self._max_wait = timedelta(seconds=max_seconds)
        self._lock = threading.Lock()
        self._until: OrderedDict[Hashable, datetime] = OrderedDict()
        self._under_way: dict[Hashable, set[Future[Any]]] = {}

    def closed_until(self, subscription: Subscription) -> datetime | None:
        """Return until when nothing may be sent; None where it may be sent now."""
        if not self._until:
            return None
        key, now = _key(subscription), utcnow()
        with self._lock:
            until = self._until.get(key)
            # One that is too far ahead is of before the clock was put back.
            if until is not None and not now < until <= now + self._max_wait:
                self._until.pop(key)
                return None
            return until

    def close_until(self, subscription: Subscription, until: datetime) -> None:
        """Close the gate, and cancel the requests that have not started."""
        key, until = _key(subscription), min(until, utcnow() + self._max_wait)
        with self._lock:
            self._until[key] = max(until, self._until.pop(key, until))
            if len(self._until) > self._max_subscriptions:
                self._until.popitem(last=False)
            waiting = list(self._under_way.get(key, ()))
        for future in waiting:
            future.cancel()

    def enter(self, subscription: Subscription, future: Future[Any]) -> None:
        """Take note of a request that may have to wait before it starts."""
        with self._lock:
            self._under_way.setdefault(_key(subscription), set()).add(future)
        if self.closed_until(subscription) is not None:  # since the caller looked
            future.cancel()

    def exit(self, subscription: Subscription, future: Future[Any]) -> None:
        """Forget a request that ended."""
        key = _key(subscription)
        with self._lock:
            under_way = self._under_way.get(key, set())
            under_way.discard(future)
            if not under_way:
                self._under_way.pop(key, None)


def _key(subscription: Subscription) -> Hashable:
    return subscription.uuid, subscription.target_url
