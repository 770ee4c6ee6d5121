"""How many requests each user may send: a bucket of them that fills up again at a steady rate."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class _Bucket:
    """What was left at a moment, in requests; more than nothing comes back with the time."""

    left: float
    moment: float


class Rates:
    """Counts requests, for so many users as were seen last; may be used by several threads.

    `rate` is in requests a second, `burst` how many may be sent at once after a quiet while. A user
    who is forgotten, because `most_users` others came, has a full bucket again.
    """

    def __init__(
        self,
        rate: float,
        burst: int,
        most_users: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._most_users = most_users
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def wait_of(self, user: str) -> float:
        """Count a request of a user and return 0, or after how many seconds it is let through.

        What has to wait is not counted.
        """
        with self._lock:
            now = self._clock()
            left = self._left(user, now)
            is_through = left >= 1
            self._buckets[user] = _Bucket(left - 1 if is_through else left, now)
            self._buckets.move_to_end(user)
            if len(self._buckets) > self._most_users:
                self._buckets.popitem(last=False)
            return 0.0 if is_through else (1 - left) / self._rate

    def _left(self, user: str, now: float) -> float:
        bucket = self._buckets.get(user)
        if bucket is None:
            return float(self._burst)
        return min(self._burst, bucket.left + (now - bucket.moment) * self._rate)
