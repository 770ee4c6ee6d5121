"""Which request starts next: requests that hang must not keep others waiting.

A connection that a hanging request takes is gone until its time-out, and which requests hang is not
known before. So the last connections are kept for those that harm others least: the more are taken,
the better must be what is known of a candidate. This is decided twice in the same way: the hosts
share the connections of the process, and the flows of a host share those of the host. Candidates of
the same priority take turns: the hosts, then the users of a host, then the flows of a user.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator, Sequence
from enum import IntEnum
from math import ceil
from typing import Generic, TypeVar

from pacifica.notifications.transport.messages import (
    FlowKey,
    Limits,
    PendingRequest,
    Response,
    SendFailure,
    SendResult,
    is_cancelled,
)

_QUEUE_FULL = "too many requests wait for this host"
# Seconds: a server that hung may have recovered after this time.
_MAX_RETRY_IN = 30.0


class Priority(IntEnum):
    """What is known of a candidate that could start a request, the least harmful first."""

    PROMPT = 0  # has nothing in flight, and its last request ended soon
    FIRST = 1  # nothing is known of it, and its user has nothing in flight at this host
    NEW = 2  # nothing is known of it
    SLOW = 3  # has nothing in flight, and its last request took long
    SERVED = 4  # has something in flight already


# A candidate may start while less than this part of the connections is taken.
_PARTS = (1.0, 15 / 16, 7 / 8, 3 / 4, 1 / 2)
_PRIORITIES = tuple(Priority)

Member = TypeVar("Member", bound=Hashable)


class _Candidates(Generic[Member]):
    """Members by their priority; those of the same priority take turns."""

    def __init__(self) -> None:
        self._lines: tuple[OrderedDict[Member, None], ...] = tuple(OrderedDict() for _ in _PARTS)
        self._listed: dict[Member, Priority] = {}

    @property
    def best(self) -> Priority | None:
        """The best priority that any member has; None where there are no members."""
        for priority in _PRIORITIES:
            if self._lines[priority]:
                return priority
        return None

    def pop(self) -> Member:
        """Take out the member of the best priority whose turn it is; there must be one."""
        line = next(line for line in self._lines if line)
        member, _ = line.popitem(last=False)
        del self._listed[member]
        return member

    def put(self, member: Member, priority: Priority | None) -> None:
        """List a member by its priority, last unless it had that before; None takes it out."""
        listed = self._listed.get(member)
        if listed is priority:
            return
        if listed is not None:
            del self._lines[listed][member]
        if priority is None:
            del self._listed[member]
        else:
            self._lines[priority][member] = None
            self._listed[member] = priority


class _Flow:
    """The requests of one flow key at one host, and how many of them may be in flight.

    As in TCP's slow start: one at first and after each failure, twice as many after each response.
    """

    def __init__(self, limit: int) -> None:
        self.user: _User
        self.waiting: deque[PendingRequest] = deque()
        self.running = 0
        self._limit = limit
        self._window = 1
        self._pace = Priority.NEW
        self._seconds = 0.0  # that the last request took
        self._started_at = 0.0

    @property
    def priority(self) -> Priority | None:
        """Its priority at its user; None if it has nothing to send or may not send more."""
        if not self.waiting or self.running >= self._window:
            return None
        return Priority.SERVED if self.running else self._pace

    def start(self) -> None:
        """Take note of a request that starts."""
        self._started_at = time.monotonic()

    def learn(self, result: SendResult, pace: Priority) -> None:
        """Take note of how a request ended."""
        self._pace = pace
        self._seconds = result.seconds
        self._window = min(2 * self._window, self._limit) if isinstance(result, Response) else 1

    def max_wait(self) -> float:
        """Return for how many seconds one more request would wait, up to a bound."""
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
    """The flows of one user at one host that have something to send or in flight."""

    def __init__(self, host: "_Host") -> None:
        self.host = host
        self.waiting = 0
        self.running = 0
        self.flows: dict[Hashable, _Flow] = {}
        self.candidates: _Candidates[_Flow] = _Candidates()

    @property
    def priority(self) -> Priority | None:
        """Its priority at its host, which is that of its best flow."""
        best = self.candidates.best
        return Priority.FIRST if best is Priority.NEW and not self.running else best


class _Host:
    """The requests to one scheme, name and port."""

    def __init__(self, name: str, bounds: Sequence[int]) -> None:
        self.name = name
        self.waiting = 0
        self.running = 0
        self.users: dict[str, _User] = {}
        self.candidates: _Candidates[_User] = _Candidates()
        self.pace = Priority.NEW
        self._bounds = bounds

    @property
    def best(self) -> Priority | None:
        """The best priority that a user has here; None where none may start a request."""
        best = self.candidates.best
        return None if best is None or self.running >= self._bounds[best] else best

    @property
    def priority(self) -> Priority | None:
        """Its priority among the hosts of the process."""
        best = self.best
        if best is None:
            return None
        if self.running:
            # A prompt flow shall not wait for the flows that hang on its host.
            return Priority.SLOW if best is Priority.PROMPT else Priority.SERVED
        return self.pace if best in (Priority.FIRST, Priority.NEW) else best


class FairQueue:
    """The requests that have an address, and the order in which they start."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._bounds = _bounds(limits.connections)
        self._hosts: dict[str, _Host] = {}
        self._candidates: _Candidates[_Host] = _Candidates()
        self._idle_hosts: OrderedDict[str, _Host] = OrderedDict()
        self._idle_flows: OrderedDict[tuple[str, FlowKey], _Flow] = OrderedDict()
        self.waiting = 0
        self.running: set[PendingRequest] = set()

    def add(self, pending: PendingRequest) -> None:
        """Put a request into the queue, or fail it where its flow has its share of the queue."""
        flow = self._flow(pending)
        while flow.waiting and is_cancelled(flow.waiting[0]):
            flow.waiting.popleft()
            self._count_waiting(flow, -1)
        if pending.request.timeout is not None:
            # It ends soon, so it goes first. A delivery that is tried again has little time left,
            # and behind others that hang it would not be tried before its lease is over.
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
            flow = self._candidates.pop().candidates.pop().candidates.pop()
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
        """Take note of the result of a running request."""
        self.running.remove(pending)
        flow = self._flow(pending)
        self._count_running(flow, -1)
        # Only the time counts: a refused connection costs nobody else anything.
        pace = Priority.PROMPT if result.seconds <= self._limits.prompt else Priority.SLOW
        flow.learn(result, pace)
        flow.user.host.pace = pace
        self._update(flow, pending)

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
        """Tell whether a flow may have one more request in the queue.

        The first half of the queue is shared by dynamic thresholds: a host may have as many there
        as there is still room for, so that one host that hangs gets a quarter of the queue. Where
        a host has more, that room is divided among its users, and a user's part among the flows.
        The second half is for flows of which nothing waits, of which one user of a host may have
        as many as others then may.
        """
        user, host = flow.user, flow.user.host
        if not flow.waiting:
            return user.waiting <= self._limits.queue - self.waiting
        free = self._limits.queue / 2 - self.waiting
        return host.waiting <= free or (
            len(flow.waiting) < free / (len(host.users) * len(user.flows))
        )

    def _active_flows(self) -> list[_Flow]:
        return [
            flow
            for host in self._hosts.values()
            for user in host.users.values()
            for flow in user.flows.values()
        ]

    def _count_waiting(self, flow: _Flow, count: int) -> None:
        self.waiting += count
        flow.user.waiting += count
        flow.user.host.waiting += count

    def _count_running(self, flow: _Flow, count: int) -> None:
        flow.running += count
        flow.user.running += count
        flow.user.host.running += count

    def _flow(self, pending: PendingRequest) -> _Flow:
        """Return the flow of a request, which is active until `_update` finds it idle."""
        name, key = pending.address.host, pending.flow_key
        host = self._hosts.get(name)
        if host is None:
            host = self._idle_hosts.pop(name, None) or _Host(name, self._host_bounds(pending))
            self._hosts[name] = host
        user = host.users.get(key.user)
        if user is None:
            user = host.users[key.user] = _User(host)
        flow = user.flows.get(key.flow)
        if flow is None:
            flow = self._idle_flows.pop((name, key), None) or _Flow(self._flow_limit(pending))
            flow.user = user
            user.flows[key.flow] = flow
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
        # Where the bound is low, one flow alone may still use most of it.
        return (*others, slow, min(slow, max(served, self._flow_limit(pending))))

    def _update(self, flow: _Flow, pending: PendingRequest) -> None:
        """List a flow, its user and its host by their present priorities, or as idle."""
        user, host, key = flow.user, flow.user.host, pending.flow_key
        user.candidates.put(flow, flow.priority)
        host.candidates.put(user, user.priority)
        self._candidates.put(host, host.priority)
        if flow.waiting or flow.running:
            return
        del user.flows[key.flow]
        _remember(self._idle_flows, (host.name, key), flow, self._limits.remembered)
        if not user.flows:
            del host.users[key.user]
        if not host.users:
            del self._hosts[host.name]
            _remember(self._idle_hosts, host.name, host, self._limits.remembered)


K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


def _remember(idle: OrderedDict[K, V], key: K, value: V, limit: int) -> None:
    """Remember what became idle, and forget what has been idle for the longest time."""
    idle[key] = value
    if len(idle) > limit:
        idle.popitem(last=False)


def _bounds(connections: int) -> tuple[int, ...]:
    return tuple(ceil(connections * part) for part in _PARTS)
