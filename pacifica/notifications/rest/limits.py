"""A rate limit for each user: a bucket of requests that fills up at a steady rate."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class _Bucket:
    """How many requests were left at a moment; more come back with time."""

    left: float
    moment: float


class RateLimiter:
    """Counts the requests of the users that were seen last; several threads may use it.

    `rate` is in requests a second. `burst` is how many a user may send at once after a quiet while.
    A user who is forgotten, because `max_users` others came, has a full bucket again.
    """

    def __init__(
        self,
        rate: float,
        burst: int,
        max_users: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._max_users = max_users
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def retry_after(self, user: str) -> float:
        """Count a request of a user; return 0, or the seconds after which it may be repeated.

        A request that has to be repeated does not count. Without a rate, none has to be.
        """
        if not self._rate:
            return 0.0
        with self._lock:
            now = self._clock()
            left = self._left(user, now)
            is_allowed = left >= 1
            self._buckets[user] = _Bucket(left - 1 if is_allowed else left, now)
            self._buckets.move_to_end(user)
            if len(self._buckets) > self._max_users:
                self._buckets.popitem(last=False)
            return 0.0 if is_allowed else (1 - left) / self._rate

    def _left(self, user: str, now: float) -> float:
        bucket = self._buckets.get(user)
        if bucket is None:
            return float(self._burst)
        return min(self._burst, bucket.left + (now - bucket.moment) * self._rate)
