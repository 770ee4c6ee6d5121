"""Looks up the addresses of hosts in threads, and caches them.

Libcurl's own lookups share a few threads, each of which a silent name server blocks for ten
seconds.
"""

import heapq
import itertools
import socket
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import inf

from pacifica.notifications.subscriptions.networks import Rules
from pacifica.notifications.transport.messages import (
    Address,
    Limits,
    PendingRequest,
    SendFailure,
    is_cancelled,
    is_within_share,
)

_MAX_NAMES = 10_000
_TOO_MANY = "too many requests wait for lookups"
# Seconds after which the system usually gives up on name servers that do not answer.
_RETRY_IN = 30.0


@dataclass(frozen=True, slots=True)
class Resolution:
    """The result of looking up a name: `addresses` are those that the rules permit.

    `addresses` is empty when the lookup failed, or when no address is permitted. In the latter
    case, `refusal` is a rule that an address broke.
    """

    name: str
    addresses: tuple[str, ...]
    refusal: str | None = None


class Resolver:
    """Looks up names for threads that wait for the result, at most `limit` at once."""

    def __init__(self, limit: int, rules: Rules) -> None:
        self._rules = rules
        self._running = threading.BoundedSemaphore(limit)

    def resolve(self, name: str, timeout: float) -> Resolution | None:
        """Look up a name; None if it takes too long, or too many lookups are running."""
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
    """Addresses by name: one thread at a time looks each name up; results are cached.

    An old result is used while it is looked up again (RFC 8767), so hanging lookups delay no host
    that was found before. A lookup cannot be interrupted, so a name whose servers do not answer
    occupies a thread. Therefore each user has a share of the lookups, and of the requests that wait
    for them.
    """

    def __init__(self, limits: Limits, rules: Rules, report: Callable[[Resolution], None]) -> None:
        self._limits = limits
        self._rules = rules
        self._report = report
        self.waiting = 0
        self._waiting_by_user: Counter[str] = Counter()
        self._known: dict[str, tuple[float, tuple[str, ...]]] = {}  # with the time of the lookup
        self._waiting_for: dict[str, dict[PendingRequest, None]] = {}
        self._unasked: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()  # names by user
        self._running: dict[str, str] = {}  # the user for whom each name is looked up
        self._running_by_user: Counter[str] = Counter()
        self._deadlines: list[tuple[float, int, PendingRequest]] = []  # a heap
        self._sequence = itertools.count()

    @property
    def next_deadline(self) -> float | None:
        """When the next lookup times out for a request; None if no request waits."""
        return self._deadlines[0][0] if self._deadlines else None

    def timeout(self, pending: PendingRequest) -> float:
        """Return how many seconds the lookup of a request's host may take."""
        return min(self._limits.connect_timeout, pending.request.timeout or inf)

    def is_known(self, pending: PendingRequest) -> bool:
        """Return whether a request needs no lookup; refresh an old result in background."""
        name = pending.address.name
        if not name or pending.address.literal:
            return True
        if name not in self._known:
            return False
        age = time.monotonic() - self._known[name][0]
        if age > self._limits.dns_fresh:
            self._look(name, pending.flow_key.user)
        return age <= self._limits.dns_kept

    def addresses(self, address: Address) -> tuple[str, ...]:
        """Return the known addresses, even if they expired while a request was queued."""
        if address.literal:
            return (address.literal,)
        return self._known[address.name][1] if address.name in self._known else ()

    def add(self, pending: PendingRequest) -> None:
        """Let a request wait for the addresses of its host, or fail it if too many wait."""
        name, user = pending.address.name, pending.flow_key.user
        # As in the queue for connections: as many of a user as there are free places.
        if self._waiting_by_user[user] > self._limits.queue / 2 - self.waiting:
            pending.fail(SendFailure(_TOO_MANY, 0.0, ours=True, retry_in=_RETRY_IN))
            return
        self._count_waiting(pending, 1)
        self._waiting_for.setdefault(name, {})[pending] = None
        if name in self._running:
            self._set_deadline(pending)
        else:
            self._look(name, user)

    def learn(self, resolution: Resolution) -> Iterable[PendingRequest]:
        """Store a result and return the requests that waited for it."""
        _count(self._running_by_user, self._running.pop(resolution.name), -1)
        if resolution.addresses:
            if len(self._known) >= _MAX_NAMES:
                self._known.clear()
            self._known[resolution.name] = (time.monotonic(), resolution.addresses)
        elif resolution.refusal is not None:
            self._known.pop(resolution.name, None)
        requests = self._waiting_for.pop(resolution.name, {})
        for pending in requests:
            self._count_waiting(pending, -1)
        self._start()
        return requests

    def pop_expired(self, now: float) -> Iterator[PendingRequest]:
        """Yield each request for which a lookup has taken too long, once."""
        while self._deadlines and self._deadlines[0][0] <= now:
            _, _, pending = heapq.heappop(self._deadlines)
            if self._forget(pending):
                yield pending

    def drop_cancelled(self) -> None:
        """Forget all requests that were cancelled while they waited."""
        for pending in list(self.pending()):
            if is_cancelled(pending):
                self._forget(pending)

    def pending(self) -> Iterator[PendingRequest]:
        """Yield all requests that wait for a name."""
        for requests in self._waiting_for.values():
            yield from requests

    def _count_waiting(self, pending: PendingRequest, count: int) -> None:
        self.waiting += count
        _count(self._waiting_by_user, pending.flow_key.user, count)

    def _forget(self, pending: PendingRequest) -> bool:
        """Forget a request, and return whether it was waiting."""
        requests = self._waiting_for.get(pending.address.name, {})
        if pending not in requests:
            return False
        del requests[pending]
        if not requests:
            del self._waiting_for[pending.address.name]
        self._count_waiting(pending, -1)
        return True

    def _set_deadline(self, pending: PendingRequest) -> None:
        deadline = time.monotonic() + self.timeout(pending)
        heapq.heappush(self._deadlines, (deadline, next(self._sequence), pending))

    def _look(self, name: str, user: str) -> None:
        """Schedule the lookup of a name, for when the user's share permits it."""
        if name not in self._running:
            self._unasked.setdefault(user, OrderedDict())[name] = None
            self._start()

    def _start(self) -> None:
        """Start lookups, first for the users with the fewest running."""
        while self._unasked:
            user = min(self._unasked, key=self._running_by_user.__getitem__)
            free = self._limits.lookups - len(self._running)
            if not is_within_share(self._running_by_user[user], free):
                return
            names = self._unasked[user]
            name, _ = names.popitem(last=False)
            if not names:
                del self._unasked[user]
            if name not in self._running and (name in self._waiting_for or name in self._known):
                self._start_lookup(name, user)

    def _start_lookup(self, name: str, user: str) -> None:
        self._running[name] = user
        _count(self._running_by_user, user, 1)
        for pending in self._waiting_for.get(name, ()):
            self._set_deadline(pending)
        threading.Thread(
            target=lambda: self._report(_look_up(name, self._rules)), name="lookup", daemon=True
        ).start()


def _count(counter: Counter[str], user: str, count: int) -> None:
    """Add to a user's count, and forget users whose count is 0."""
    counter[user] += count
    if not counter[user]:
        del counter[user]


def _look_up(name: str, rules: Rules) -> Resolution:
    """Look up a name with the system; this may be slow and cannot be interrupted."""
    try:
        infos = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # UnicodeError: a label that no name can have
        return Resolution(name, ())
    refusals = {address: rules.refusal(address) for address in (str(info[4][0]) for info in infos)}
    # Libcurl cannot parse an address with a zone index.
    permitted = [each for each, rule in refusals.items() if rule is None and "%" not in each]
    broken = [rule for rule in refusals.values() if rule is not None]
    return Resolution(name, tuple(permitted), broken[0] if broken and not permitted else None)
