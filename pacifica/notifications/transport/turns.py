"""Whose turn it is to start: hosts that hang must not keep the others waiting.

A place that a hanging host takes is gone for the whole time-out, and which hosts hang is not known
before. So the last places are kept for those that harm least: the more are taken, the less a host
may have in flight already and the better must be what is known of it.
"""

from collections import OrderedDict
from collections.abc import Iterator
from math import ceil

from pacifica.notifications.transport.exchange import Limits, SendFailure, SendResult
from pacifica.notifications.transport.hosts import Host, Hosts, Standing
from pacifica.notifications.transport.parcels import Parcel

_QUEUE_FULL = SendFailure("too many requests wait for this host", 0.0, ours=True)


class Turns:
    """Who may start next: hosts of one standing take turns, and none exceeds its share."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._hosts = Hosts(limits.hosts)
        # How many may be in flight, in all, for a host of each standing to start one more.
        parts = {
            Standing.PROMPT: 1.0,
            Standing.NEW: limits.part_for_new,
            Standing.SLOW: limits.part_for_slow,
            Standing.SERVED: limits.part_for_served,
        }
        self._lines = [
            (ceil(limits.connections * parts[standing]), OrderedDict[Host, None]())
            for standing in Standing
        ]
        self.waiting = 0
        self.running: set[Parcel] = set()

    def join(self, parcel: Parcel) -> None:
        """Have a parcel wait for the turn of its host, or refuse it.

        A host may have as many waiting as the first half of the queue has room for others, since
        what waits for ten that hang must leave them some. The second half is for one of each host.
        """
        host = self._hosts[parcel.address.host]
        while host.waiting and host.waiting[0].future.cancelled():
            host.waiting.popleft().future.set_running_or_notify_cancel()
            self.waiting -= 1
        if host.waiting and len(host.waiting) > self._limits.queue / 2 - self.waiting:
            parcel.refuse(_QUEUE_FULL)
        else:
            host.waiting.append(parcel)
            self.waiting += 1
        self._line_up(host)

    def take(self) -> Parcel | None:
        """Give the next parcel that may start now, and count it as running."""
        for places, line in self._lines:
            while line and len(self.running) < places:
                host, _ = line.popitem(last=False)
                host.listed = None
                parcel = host.waiting.popleft()
                self.waiting -= 1
                starts = parcel.future.set_running_or_notify_cancel()
                if starts:
                    self.running.add(parcel)
                    host.running += 1
                self._line_up(host)
                if starts:
                    return parcel
        return None

    def leave(self, parcel: Parcel, outcome: SendResult) -> None:
        """Note how a parcel's transfer has ended."""
        self.running.remove(parcel)
        host = self._hosts[parcel.address.host]
        host.running -= 1
        host.learn(outcome, self._limits)
        self._line_up(host)

    def forget_cancelled(self) -> None:
        """Free the places of those that were cancelled while they waited."""
        for host in self._hosts.busy:
            parcels = [*host.waiting]
            host.waiting.clear()
            for parcel in parcels:
                if parcel.future.cancelled():
                    parcel.future.set_running_or_notify_cancel()
                    self.waiting -= 1
                else:
                    host.waiting.append(parcel)
            self._line_up(host)

    def left(self) -> Iterator[Parcel]:
        """Give all that wait for their turn."""
        for host in self._hosts.busy:
            yield from host.waiting

    def _line_up(self, host: Host) -> None:
        standing = host.standing
        if standing is not host.listed:
            if host.listed is not None:
                del self._lines[host.listed][1][host]
            if standing is not None:
                self._lines[standing][1][host] = None
            host.listed = standing
        if host.idle:
            self._hosts.rest(host)
