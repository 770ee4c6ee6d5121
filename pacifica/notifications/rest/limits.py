"""Limits of one process: each user's request rate, and one large body at a time."""

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pacifica.notifications.rest.errors import ApiError

_RETRY_AFTER = 2


@dataclass(frozen=True)
class _Bucket:
    """A token bucket: the requests left at a moment, which refill with time."""

    left: float
    moment: float


class RateLimiter:
    """Limits each user's requests by a token bucket; several threads may use it.

    `rate` is in requests a second. `burst` is how many requests a user may send at once after a
    pause. The `max_users` most recent users are remembered. A forgotten user has a full bucket.
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
        """Count a user's request; return 0, or the seconds to wait before a retry.

        A refused request does not count. Without a rate, no request is refused.
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


class BoundedLock:
    """A lock for which only a few threads wait, each for a bounded time.

    Others are refused at once (503), so that threads are always free for other requests. `what`
    tells them what many others are doing.
    """

    def __init__(self, what: str, max_waiting: int, max_wait: float) -> None:
        self._what = what
        self._max_wait = max_wait
        self._lock = threading.Lock()
        self._waiting = threading.BoundedSemaphore(max_waiting)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock during the block; raise ApiError (503) if it is not free in time."""
        if not self._lock.acquire(blocking=False):
            self._wait()
        try:
            yield
        finally:
            self._lock.release()

    def _wait(self) -> None:
        if not self._waiting.acquire(blocking=False):
            raise self._busy()
        try:
            if not self._lock.acquire(timeout=self._max_wait):
                raise self._busy()
        finally:
            self._waiting.release()

    def _busy(self) -> ApiError:
        return ApiError(
            503,
            f"many {self._what}; try again later",
            headers={"Retry-After": str(_RETRY_AFTER)},
        )


class UsersUnderWay:
    """Lets only a few requests of each user through at a time."""

    def __init__(self, max_at_once: int) -> None:
        self._max_at_once = max_at_once
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    @contextmanager
    def admitted(self, user: str) -> Iterator[None]:
        """Count a request during the block; refuse it (429) where too many are under way."""
        with self._lock:
            if self._counts[user] >= self._max_at_once:
                raise ApiError(
                    429,
                    f"more than {self._max_at_once} requests of this user search events",
                    headers={"Retry-After": str(_RETRY_AFTER)},
                )
            self._counts[user] += 1
        try:
            yield
        finally:
            with self._lock:
                self._counts[user] -= 1
                self._counts += Counter()  # forgets whoever has none
