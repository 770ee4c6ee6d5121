"""The addresses of hosts, looked up here and remembered for a while.

Libcurl's own lookups share a few threads, each of which a silent name server holds for ten seconds.
"""

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from math import inf

from pacifica.notifications.subscriptions.networks import Rules
from pacifica.notifications.transport.exchange import Limits
from pacifica.notifications.transport.lookup import Found, look_up
from pacifica.notifications.transport.parcels import Parcel

# So many names are remembered.
_NAMES = 10_000


class Names:
    """Addresses by name: one thread at a time asks for each, and the answer holds for a while.

    An old answer is used while it is asked for again (RFC 8767): lookups that hang keep no host
    waiting that was found before.
    """

    def __init__(self, limits: Limits, rules: Rules, report: Callable[[Found], None]) -> None:
        self._limits = limits
        self._rules = rules
        self.waiting = 0
        self._report = report
        self._known: dict[str, tuple[float, tuple[str, ...]]] = {}  # with since when
        self._asking: dict[str, dict[Parcel, None]] = {}
        self._looking: set[str] = set()
        self._deadlines: list[tuple[float, int, Parcel]] = []  # a heap
        self._turn = itertools.count()

    @property
    def alarm(self) -> float | None:
        """When the next one that waits for a name is too late; None while nobody does."""
        return self._deadlines[0][0] if self.waiting else None

    def timeout(self, parcel: Parcel) -> float:
        """Return for how many seconds a parcel may wait for the addresses of its host."""
        return min(self._limits.connect_timeout, parcel.request.timeout or inf)

    def knows(self, name: str) -> bool:
        """Tell whether nobody need wait for a name; have one looked up again that gets old."""
        if not name:
            return True
        if name not in self._known:
            return False
        age = time.monotonic() - self._known[name][0]
        if age > self._limits.names_fresh:
            self._look(name)
        return age <= self._limits.names_kept

    def addresses(self, name: str) -> tuple[str, ...]:
        """Give what is known, even if it got old while a request waited for its turn."""
        return self._known[name][1] if name in self._known else ()

    def ask(self, parcel: Parcel) -> None:
        """Have a parcel wait for the addresses of its host."""
        self.waiting += 1
        self._asking.setdefault(parcel.address.name, {})[parcel] = None
        deadline = time.monotonic() + self.timeout(parcel)
        heapq.heappush(self._deadlines, (deadline, next(self._turn), parcel))
        self._look(parcel.address.name)

    def learn(self, found: Found) -> Iterable[Parcel]:
        """Take note of an answer and give the parcels that asked for it."""
        self._looking.discard(found.name)
        if found.addresses:
            if len(self._known) >= _NAMES:
                self._known.clear()
            self._known[found.name] = (time.monotonic(), found.addresses)
        elif found.refusal is not None:
            self._known.pop(found.name, None)
        parcels = self._asking.pop(found.name, {})
        self.waiting -= len(parcels)
        for name in self._asking:
            if name not in self._looking:
                self._look(name)
                break
        return parcels

    def late(self, now: float) -> Iterator[Parcel]:
        """Give each parcel that has waited too long, once."""
        while self._deadlines and self._deadlines[0][0] <= now:
            _, _, parcel = heapq.heappop(self._deadlines)
            name = parcel.address.name
            if parcel in self._asking.get(name, ()):
                del self._asking[name][parcel]
                if not self._asking[name]:
                    del self._asking[name]
                self.waiting -= 1
                yield parcel

    def left(self) -> Iterator[Parcel]:
        """Give all that wait for a name."""
        for parcels in self._asking.values():
            yield from parcels

    def _look(self, name: str) -> None:
        # A lookup cannot be interrupted: its thread lives on after all who asked have given up.
        if name not in self._looking and len(self._looking) < self._limits.lookups:
            self._looking.add(name)
            threading.Thread(
                target=lambda: self._report(look_up(name, self._rules)), name="lookup", daemon=True
            ).start()
