"""Whose turn it is to start: a hanging host must not keep the others waiting."""

from collections import deque
from collections.abc import Iterator

from pacifica.notifications.transport.exchange import Limits
from pacifica.notifications.transport.parcels import Parcel


class Host:
    """The turns of one scheme, name and port."""

    def __init__(self) -> None:
        self.waiting: deque[Parcel] = deque()
        self.running = 0
        self.listed = False


class Turns:
    """Who may start next: hosts take turns, and none has more in flight than its share."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._hosts: dict[str, Host] = {}
        self._listed: deque[str] = deque()  # hosts that may start one
        self.waiting = 0
        self.running: set[Parcel] = set()

    def join(self, parcel: Parcel) -> None:
        """Have a parcel wait for the turn of its host."""
        self._hosts.setdefault(parcel.address.host, Host()).waiting.append(parcel)
        self.waiting += 1
        self._list(parcel.address.host)

    def take(self) -> Parcel | None:
        """Give the next parcel that may start now, and count it as running."""
        while self._listed and len(self.running) < self._limits.connections:
            name = self._listed.popleft()
            host = self._hosts[name]
            host.listed = False
            parcel = host.waiting.popleft()
            self.waiting -= 1
            starts = parcel.future.set_running_or_notify_cancel()
            if starts:
                self.running.add(parcel)
                host.running += 1
            self._list(name)
            if starts:
                return parcel
        return None

    def leave(self, parcel: Parcel) -> None:
        """Note that a parcel's transfer has ended."""
        self.running.remove(parcel)
        self._hosts[parcel.address.host].running -= 1
        self._list(parcel.address.host)

    def forget_cancelled(self) -> None:
        """Free the places of those that were cancelled while they waited."""
        parcels = [*self.left()]
        self._hosts = {name: host for name, host in self._hosts.items() if host.running}
        self._listed.clear()
        self.waiting = 0
        for host in self._hosts.values():
            host.waiting.clear()
            host.listed = False
        for parcel in parcels:
            if parcel.future.cancelled():
                parcel.future.set_running_or_notify_cancel()
            else:
                self.join(parcel)

    def left(self) -> Iterator[Parcel]:
        """Give all that wait for their turn."""
        for host in self._hosts.values():
            yield from host.waiting

    def _list(self, name: str) -> None:
        host = self._hosts[name]
        if not host.waiting and not host.running:
            del self._hosts[name]
        elif host.waiting and host.running < self._limits.connections_per_host and not host.listed:
            host.listed = True
            self._listed.append(name)
