"""What the transport has learned of each host, and what that lets it have in flight."""

from collections import OrderedDict, deque
from enum import IntEnum

from pacifica.notifications.transport.exchange import Limits, Response, SendResult
from pacifica.notifications.transport.parcels import Parcel


class Standing(IntEnum):
    """What a host that waits for a place is to the others, the one that harms them least first."""

    PROMPT = 0  # has nothing in flight, and its last request was over soon
    NEW = 1  # has nothing in flight, and nothing is known of it
    SLOW = 2  # has nothing in flight, and its last request held its place for long
    SERVED = 3  # has something in flight already


class Host:
    """The requests of one scheme, name and port, and how many it may have in flight.

    As in TCP's slow start: one at first and after each failure, twice as many after each answer.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting: deque[Parcel] = deque()
        self.running = 0
        self.listed: Standing | None = None  # where it stands in line
        self._share = 1
        self._pace = Standing.NEW

    @property
    def standing(self) -> Standing | None:
        """Where it stands in line; None if it has nothing to send or may not send more."""
        if not self.waiting or self.running >= self._share:
            return None
        return Standing.SERVED if self.running else self._pace

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is in flight."""
        return not self.waiting and not self.running

    def learn(self, outcome: SendResult, limits: Limits) -> None:
        """Take note of how one of its requests ended."""
        # Only the time counts: a refused connection costs nobody else anything.
        self._pace = Standing.PROMPT if outcome.seconds <= limits.prompt else Standing.SLOW
        answered = isinstance(outcome, Response)
        self._share = min(2 * self._share, limits.connections_per_host) if answered else 1


class Hosts:
    """All hosts with something to send, and as many others as are remembered."""

    def __init__(self, remembered: int) -> None:
        self._remembered = remembered
        self._busy: dict[str, Host] = {}
        self._idle: OrderedDict[str, Host] = OrderedDict()

    def __getitem__(self, name: str) -> Host:
        """Give a host, which is busy until `rest`."""
        if name not in self._busy:
            self._busy[name] = self._idle.pop(name) if name in self._idle else Host(name)
        return self._busy[name]

    def rest(self, host: Host) -> None:
        """Remember a host that has nothing to do, and forget the one that rested longest."""
        del self._busy[host.name]
        self._idle[host.name] = host
        if len(self._idle) > self._remembered:
            self._idle.popitem(last=False)

    @property
    def busy(self) -> list[Host]:
        """The hosts that have something to send or in flight."""
        return list(self._busy.values())
