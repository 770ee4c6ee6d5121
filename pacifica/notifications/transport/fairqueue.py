"""Decides which request starts next, so that hanging ones do not delay others.

A hanging request occupies a connection until its time-out, and which requests will hang is not
known in advance. So the last connections are reserved for the requests that harm others least: the
more connections are in use, the better a candidate's priority must be. This is decided twice in the
same way: the hosts share the connections of the process, and the flows of a host share those of the
host. Candidates of the same priority take turns: the hosts, then the users of a host, then the
flows of a user. At both levels a user never has more than a share, whatever the priority.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator, Sequence
from math import ceil
from typing import TypeVar

from pacifica.notifications.transport.candidates import Candidates, Priority
from pacifica.notifications.transport.messages import (
    FlowKey,
    Limits,
    PendingRequest,
    Response,
    SendFailure,
    SendResult,
    is_cancelled,
    is_within_share,
)

_QUEUE_FULL = "too many requests wait for this host"
# Seconds: a hanging server may have recovered after this time.
_MAX_RETRY_IN = 30.0
# By priority: a candidate may start while less than this part of the connections is in use.
_PARTS = (1.0, 15 / 16, 7 / 8, 3 / 4, 1 / 2)


class _Flow:
    """The requests of one flow key at one host, with a window for those in flight.

    As in TCP's slow start, the window is one at first and after each failure, and doubles after
    each response.
    """

    def __init__(self, limit: int) -> None:
        self.share: _Share
        self.waiting: deque[PendingRequest] = deque()
        self.running = 0
        self._limit = limit
        self._window = 1
        self._pace = Priority.NEW
        self._seconds = 0.0  # how long the last request took
        self._started_at = 0.0

    @property
    def priority(self) -> Priority | None:
        """Its priority among its user's flows; None if it cannot start a request."""
        if not self.waiting or self.running >= self._window:
            return None
        return Priority.SERVED if self.running else self._pace

    def start(self) -> None:
        """Record that a request starts."""
        self._started_at = time.monotonic()

    def learn(self, result: SendResult, pace: Priority) -> None:
        """Record how a request ended, and adapt the window."""
        self._pace = pace
        self._seconds = result.seconds
        self._window = min(2 * self._window, self._limit) if isinstance(result, Response) else 1

    def max_wait(self) -> float:
        """Return how many seconds one more request would wait, up to a limit."""
        under_way = time.monotonic() - self._started_at if self.running else 0.0
        seconds = max(self._seconds, under_way)
        return min(len(self.waiting) * seconds / self._window, _MAX_RETRY_IN)

    def drop_cancelled(self) -> int:
        """Forget the waiting requests that were cancelled, and return how many there were."""
        kept = [each for each in self.waiting if not is_cancelled(each)]
        dropped = len(self.waiting) - len(kept)
        self.waiting = deque(kept)
        return dropped


class _User:
    """The requests of one user to all hosts; those without a flow key have no user."""

    def __init__(self, name: str) -> None:
        self.is_nobody = not name
        self.waiting = 0
        self.running = 0
        self.shares: set[_Share] = set()
        self.held_back: OrderedDict[_Share, None] = OrderedDict()


class _Share:
    """The flows of one user at one host that have requests waiting or in flight."""

    def __init__(self, host: "_Host", user: _User) -> None:
        self.host = host
        self.user = user
        self.running = 0
        self.flows: dict[Hashable, _Flow] = {}
        self.candidates: Candidates[_Flow] = Candidates()

    @property
    def priority(self) -> Priority | None:
        """Its priority among its host's users, which is that of its best flow."""
        best = self.candidates.best
        return Priority.FIRST if best is Priority.NEW and not self.running else best


class _Host:
    """The requests to one scheme, name and port."""

    def __init__(self, name: str, bounds: Sequence[int]) -> None:
        self.name = name
        self.waiting = 0
        self.running = 0
        self.shares: dict[str, _Share] = {}
        self.candidates: Candidates[_Share] = Candidates()
        self.pace = Priority.NEW
        self._bounds = bounds

    @property
    def free(self) -> int:
        """How many more requests to this host may be in flight."""
        return self._bounds[Priority.PROMPT] - self.running

    @property
    def best(self) -> Priority | None:
        """The best priority of a user here; None if none may start a request."""
        best = self.candidates.best
        return None if best is None or self.running >= self._bounds[best] else best

    @property
    def priority(self) -> Priority | None:
        """Its priority among the hosts of the process."""
        best = self.best
        if best is None:
            return None
        if self.running:
            # A prompt flow must not wait for the flows that hang on its host.
            return Priority.SLOW if best is Priority.PROMPT else Priority.SERVED
        if best not in (Priority.FIRST, Priority.NEW):
            return best
        if self.pace is Priority.NEW and best is Priority.FIRST:
            return Priority.NEW if self.candidates.next.user.running else best
        return self.pace


class FairQueue:
    """The requests that have an address, and the order in which they start."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._bounds = _bounds(limits.connections)
        self._hosts: dict[str, _Host] = {}
        self._users: dict[str, _User] = {}
        self._held_back: OrderedDict[_User, None] = OrderedDict()
        self._candidates: Candidates[_Host] = Candidates()
        self._idle_hosts: OrderedDict[str, _Host] = OrderedDict()
        self._idle_flows: OrderedDict[tuple[str, FlowKey], _Flow] = OrderedDict()
        self.waiting = 0
        self.running: set[PendingRequest] = set()

    def add(self, pending: PendingRequest) -> None:
        """Queue a request, or fail it if its flow has used up its share of the queue."""
        flow = self._flow(pending)
        while flow.waiting and is_cancelled(flow.waiting[0]):
            flow.waiting.popleft()
            self._count_waiting(flow, -1)
        if pending.request.timeout is not None:
            # It ends soon, so it goes first. A retried delivery has little time left: behind
            # hanging ones, it would not start before its lease ends.
            flow.waiting.appendleft(pending)
            self._count_waiting(flow, 1)
        elif self._may_wait(flow):
            flow.waiting.append(pending)
            self._count_waiting(flow, 1)
        else:
            pending.fail(SendFailure(_QUEUE_FULL, 0.0, ours=True, retry_in=flow.max_wait()))
        self._update(flow, pending)

    def start(self) -> PendingRequest | None:
        """Return the next request that may start now, and count it as running."""
        while True:
            priority = self._candidates.best
            if priority is None or len(self.running) >= self._bounds[priority]:
                return None
            host = self._candidates.pop()
            if host.priority is not priority:  # its next user has a request in flight by now
                self._candidates.put(host, host.priority)
                continue
            share = host.candidates.pop()
            if not self._is_within_share(share):
                self._candidates.put(host, host.priority)
                share.user.held_back[share] = None
                self._held_back[share.user] = None
                continue
            flow = share.candidates.pop()
            pending = flow.waiting.popleft()
            self._count_waiting(flow, -1)
            starts = pending.future.set_running_or_notify_cancel()
            if starts:
                self.running.add(pending)
                self._count_running(flow, 1)
                flow.start()
            self._update(flow, pending)
            if starts:
                return pending

    def end(self, pending: PendingRequest, result: SendResult) -> None:
        """Record the result of a running request."""
        self.running.remove(pending)
        flow = self._flow(pending)
        self._count_running(flow, -1)
        # Only the time counts, because a refused connection does not delay others.
        pace = Priority.PROMPT if result.seconds <= self._limits.prompt else Priority.SLOW
        flow.learn(result, pace)
        flow.share.host.pace = pace
        user = flow.share.user
        self._update(flow, pending)
        for share in () if user.running else user.shares:
            self._list(share)  # without requests in flight, it may have priority FIRST again
        self._take_back()

    def drop_cancelled(self) -> None:
        """Forget all requests that were cancelled while they waited."""
        for flow in self._active_flows():
            some = flow.waiting[0] if flow.waiting else None
            dropped = flow.drop_cancelled()
            if some is not None and dropped:
                self._count_waiting(flow, -dropped)
                self._update(flow, some)

    def pending(self) -> Iterator[PendingRequest]:
        """Yield all requests that have not started."""
        for flow in self._active_flows():
            yield from flow.waiting

    def _may_wait(self, flow: _Flow) -> bool:
        """Return whether a flow may have one more request in the queue.

        The first half of the queue is shared by dynamic thresholds: a host may have as many
        requests there as there are free places, and so may a user. So one that hangs gets at most a
        quarter of the queue. Beyond that, the free places are divided among the users of the host,
        and each user's part among the user's flows. The second half is for flows without a waiting
        request; there, a user may also have as many requests as there are free places.
        """
        share, user, host = flow.share, flow.share.user, flow.share.host
        if not flow.waiting:
            return user.is_nobody or user.waiting <= self._limits.queue - self.waiting
        free = self._limits.queue / 2 - self.waiting
        waiting = host.waiting if user.is_nobody else max(host.waiting, user.waiting)
        return waiting <= free or (len(flow.waiting) < free / (len(host.shares) * len(share.flows)))

    def _is_within_share(self, share: _Share) -> bool:
        """Return whether a user may have one more request in flight, here and in total."""
        user = share.user
        if user.is_nobody:
            return True
        free = self._limits.connections - len(self.running)
        return is_within_share(share.running, share.host.free) and is_within_share(
            user.running, free
        )

    def _take_back(self) -> None:
        """List one host of each user that was held back, because a request has ended."""
        for user in list(self._held_back):
            share, _ = user.held_back.popitem(last=False)
            if not user.held_back:
                del self._held_back[user]
            self._list(share)

    def _list(self, share: _Share) -> None:
        share.host.candidates.put(share, share.priority)
        self._candidates.put(share.host, share.host.priority)

    def _active_flows(self) -> list[_Flow]:
        return [
            flow
            for host in self._hosts.values()
            for share in host.shares.values()
            for flow in share.flows.values()
        ]

    def _count_waiting(self, flow: _Flow, count: int) -> None:
        self.waiting += count
        flow.share.user.waiting += count
        flow.share.host.waiting += count

    def _count_running(self, flow: _Flow, count: int) -> None:
        flow.running += count
        flow.share.running += count
        flow.share.user.running += count
        flow.share.host.running += count

    def _flow(self, pending: PendingRequest) -> _Flow:
        """Return the flow of a request; it is active until `_update` finds it idle."""
        name, key = pending.address.host, pending.flow_key
        host = self._hosts.get(name)
        if host is None:
            host = self._idle_hosts.pop(name, None) or _Host(name, self._host_bounds(pending))
            self._hosts[name] = host
        share = host.shares.get(key.user)
        if share is None:
            user = self._users.setdefault(key.user, _User(key.user))
            share = host.shares[key.user] = _Share(host, user)
            user.shares.add(share)
        flow = share.flows.get(key.flow)
        if flow is None:
            flow = self._idle_flows.pop((name, key), None) or _Flow(self._flow_limit(pending))
            flow.share = share
            share.flows[key.flow] = flow
        return flow

    def _flow_limit(self, pending: PendingRequest) -> int:
        limits = self._limits
        is_keyed = pending.request.flow_key is not None
        limit = limits.connections_per_flow if is_keyed else limits.connections_per_host
        return min(limit, limits.connections_per_host)

    def _host_bounds(self, pending: PendingRequest) -> Sequence[int]:
        """Return the bounds of a host by priority; a host with one flow reserves nothing."""
        bound = min(self._limits.connections_per_host, self._limits.connections)
        if pending.request.flow_key is None:
            return (bound,) * len(_PARTS)
        *others, slow, served = _bounds(bound)
        # Even if the bound is low, one flow alone may use most of it.
        return (*others, slow, min(slow, max(served, self._flow_limit(pending))))

    def _update(self, flow: _Flow, pending: PendingRequest) -> None:
        """List a flow, its user and its host by their current priorities, or as idle."""
        share, key = flow.share, pending.flow_key
        user, host = share.user, share.host
        share.candidates.put(flow, flow.priority)
        self._list(share)
        if flow.waiting or flow.running:
            return
        del share.flows[key.flow]
        _remember(self._idle_flows, (host.name, key), flow, self._limits.remembered)
        if not share.flows:
            del host.shares[key.user]
            user.shares.discard(share)
        if not user.shares:
            del self._users[key.user]
        if not host.shares:
            del self._hosts[host.name]
            _remember(self._idle_hosts, host.name, host, self._limits.remembered)


K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


def _remember(idle: OrderedDict[K, V], key: K, value: V, limit: int) -> None:
    """Remember an idle item, and forget the one that has been idle the longest."""
    idle[key] = value
    if len(idle) > limit:
        idle.popitem(last=False)


def _bounds(connections: int) -> tuple[int, ...]:
    return tuple(ceil(connections * part) for part in _PARTS)
