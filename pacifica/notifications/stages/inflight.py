"""How many deliveries, of how many bytes, a worker process has under way."""

import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from pacifica.notifications.transport import is_within_share


@dataclass(frozen=True, eq=False)
class UnderWay:
    """A delivery that is under way, told apart from an equal one."""

    user: str
    host: str
    size: int
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """For how long it is under way."""
        return time.monotonic() - self.began


class InFlightLimit:
    """Bounds how many deliveries, of how many bytes in all, are under way at once.

    Of the bytes, each user has a share, and so have all deliveries to one host. How many may wait
    for a hanging target is up to the transport's queue.
    """

    def __init__(self, max_count: int, max_bytes: int) -> None:
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._count = 0
        self._bytes = 0
        self._bytes_by_user: Counter[str] = Counter()
        self._bytes_by_host: Counter[str] = Counter()
        self._by_user: dict[str, dict[UnderWay, None]] = defaultdict(dict)  # oldest first
        self._seconds: dict[str, float] = {}  # that the last delivery of a user took
        self._changed = threading.Condition()

    def acquire(self, user: str, host: str, size: int) -> UnderWay | None:
        """Count one more, unless that is too much; one that is alone may be of any size."""
        with self._changed:
            if self._count and not (self._fits(size) and self._fits_shares(user, host, size)):
                return None
            delivery = UnderWay(user, host, size)
            self._by_user[user][delivery] = None
            self._add(delivery, 1)
            return delivery

    def release(self, delivery: UnderWay) -> None:
        """Count one less."""
        user, host = delivery.user, delivery.host
        with self._changed:
            self._add(delivery, -1)
            self._seconds[user] = delivery.seconds
            del self._by_user[user][delivery]
            if not self._by_user[user]:
                del self._by_user[user], self._bytes_by_user[user], self._seconds[user]
            if not self._bytes_by_host[host]:
                del self._bytes_by_host[host]
            self._changed.notify_all()

    def seconds(self, user: str) -> float:
        """Return how long the deliveries of a user take at present."""
        with self._changed:
            oldest = next(iter(self._by_user.get(user, ())), None)
            under_way = 0.0 if oldest is None else oldest.seconds
            return max(under_way, self._seconds.get(user, 0.0))

    def wait_free(self, timeout: float) -> int:
        """Return how many more may be under way; 0 when none might in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._fits(0), timeout):
                return 0
            return self._max_count - self._count

    def _add(self, delivery: UnderWay, count: int) -> None:
        size = count * delivery.size
        self._count += count
        self._bytes += size
        self._bytes_by_user[delivery.user] += size
        self._bytes_by_host[delivery.host] += size

    def _fits(self, size: int) -> bool:
        return self._count < self._max_count and self._bytes + size <= self._max_bytes

    def _fits_shares(self, user: str, host: str, size: int) -> bool:
        """Tell whether a user may have more bytes; the first delivery needs no share."""
        free = self._max_bytes - self._bytes
        return user not in self._by_user or (
            is_within_share(self._bytes_by_user[user] + size, free)
            and is_within_share(self._bytes_by_host[host] + size, free)
        )
