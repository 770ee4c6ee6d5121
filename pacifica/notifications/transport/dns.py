"""The addresses of hosts: looked up here in threads, and cached.

Libcurl's own lookups share a few threads, each of which a silent name server holds for ten seconds.
"""

import heapq
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import inf

from pacifica.notifications.subscriptions.networks import Rules
from pacifica.notifications.transport.messages import Limits, PendingRequest

_MAX_NAMES = 10_000


@dataclass(frozen=True, slots=True)
class Resolution:
    """The result of looking up a name: `addresses` are those that the rules permit.

    There are none when the lookup failed, and when none is permitted; then `refusal` is a rule that
    was broken.
    """

    name: str
    addresses: tuple[str, ...]
    refusal: str | None = None


class Resolver:
    """Looks up names for threads that wait for the result, `limit` of them at once."""

    def __init__(self, limit: int, rules: Rules) -> None:
        self._rules = rules
        self._running = threading.BoundedSemaphore(limit)

    def resolve(self, name: str, timeout: float) -> Resolution | None:
        """Look up a name; None where that takes too long, or too many other lookups hang."""
        if not self._running.acquire(blocking=False):
            return None
        resolutions: list[Resolution] = []

        def look() -> None:
            try:
                resolutions.append(_look_up(name, self._rules))
            finally:
                self._running.release()

        thread = threading.Thread(target=look, name="lookup", daemon=True)
        thread.start()
        thread.join(timeout)
        return resolutions[0] if resolutions else None


class DnsCache:
    """Addresses by name: one thread at a time looks each up, and the result is kept for a while.

    An old result is used while it is looked up again (RFC 8767): lookups that hang delay no host
    that was found before.
    """

    def __init__(self, limits: Limits, rules: Rules, report: Callable[[Resolution], None]) -> None:
        self._limits = limits
        self._rules = rules
        self._report = report
        self.waiting = 0
        self._known: dict[str, tuple[float, tuple[str, ...]]] = {}  # with the time of the lookup
        self._waiting_for: dict[str, dict[PendingRequest, None]] = {}
        self._looking: set[str] = set()
        self._deadlines: list[tuple[float, int, PendingRequest]] = []  # a heap
        self._sequence = itertools.count()

    @property
    def next_deadline(self) -> float | None:
        """When the next request has waited too long for a name; None while none waits."""
        return self._deadlines[0][0] if self.waiting else None

    def timeout(self, pending: PendingRequest) -> float:
        """Return for how many seconds a request may wait for the addresses of its host."""
        return min(self._limits.connect_timeout, pending.request.timeout or inf)

    def is_known(self, name: str) -> bool:
        """Tell whether a name needs no lookup first; refresh one in the background that is old."""
        if not name:
            return True
        if name not in self._known:
            return False
        age = time.monotonic() - self._known[name][0]
        if age > self._limits.dns_fresh:
            self._look(name)
        return age <= self._limits.dns_kept

    def addresses(self, name: str) -> tuple[str, ...]:
        """Return what is known, even if it became old while a request was in the queue."""
        return self._known[name][1] if name in self._known else ()

    def add(self, pending: PendingRequest) -> None:
        """Have a request wait for the addresses of its host."""
        self.waiting += 1
        self._waiting_for.setdefault(pending.address.name, {})[pending] = None
        deadline = time.monotonic() + self.timeout(pending)
        heapq.heappush(self._deadlines, (deadline, next(self._sequence), pending))
        self._look(pending.address.name)

    def learn(self, resolution: Resolution) -> Iterable[PendingRequest]:
        """Store a result and return the requests that waited for it."""
        self._looking.discard(resolution.name)
        if resolution.addresses:
            if len(self._known) >= _MAX_NAMES:
                self._known.clear()
            self._known[resolution.name] = (time.monotonic(), resolution.addresses)
        elif resolution.refusal is not None:
            self._known.pop(resolution.name, None)
        requests = self._waiting_for.pop(resolution.name, {})
        self.waiting -= len(requests)
        for name in self._waiting_for:
            if name not in self._looking:
                self._look(name)
                break
        return requests

    def pop_expired(self, now: float) -> Iterator[PendingRequest]:
        """Yield each request that has waited too long, once."""
        while self._deadlines and self._deadlines[0][0] <= now:
            _, _, pending = heapq.heappop(self._deadlines)
            name = pending.address.name
            if pending in self._waiting_for.get(name, ()):
                del self._waiting_for[name][pending]
                if not self._waiting_for[name]:
                    del self._waiting_for[name]
                self.waiting -= 1
                yield pending

    def pending(self) -> Iterator[PendingRequest]:
        """Yield all requests that wait for a name."""
        for requests in self._waiting_for.values():
            yield from requests

    def _look(self, name: str) -> None:
        # A lookup cannot be interrupted: its thread lives on after all that waited have given up.
        if name not in self._looking and len(self._looking) < self._limits.lookups:
            self._looking.add(name)
            threading.Thread(
                target=lambda: self._report(_look_up(name, self._rules)),
                name="lookup",
                daemon=True,
            ).start()


def _look_up(name: str, rules: Rules) -> Resolution:
    """Ask the system for the addresses of a name; that may take long, and cannot be interrupted."""
    try:
        infos = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # the latter for labels that no name can have
        return Resolution(name, ())
    refusals = {address: rules.refusal(address) for address in (str(info[4][0]) for info in infos)}
    # Libcurl cannot parse an address with a zone.
    permitted = [each for each, rule in refusals.items() if rule is None and "%" not in each]
    broken = [rule for rule in refusals.values() if rule is not None]
    return Resolution(name, tuple(permitted), broken[0] if broken and not permitted else None)
