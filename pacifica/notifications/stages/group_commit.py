"""Stores events as they come in; those that come at the same time share a transaction."""

import threading
from collections import deque
from collections.abc import Callable, Sequence

from pacifica.notifications.errors import StoreUnavailable
from pacifica.notifications.events import Event

# Seconds that switching from one thread of the process to the next may take.
_THREAD_SWITCH = 0.4


class GroupCommit:
    """Stores events by `record`, which stores all that it is given or raises.

    An event that comes alone is stored at once. Those that come meanwhile are stored together
    afterwards, by the thread that brought the first of them: up to `max_events`, and up to
    `max_bytes` of text; one event alone may have more.

    A thread whose event is not being stored after `max_wait` seconds stores it itself, beside the
    others, whose connection may hang. A thread whose event another one is storing waits for another
    `timeout` seconds, and is then told that the database does not answer.
    """

    def __init__(
        self,
        record: Callable[[Sequence[Event]], None],
        *,
        max_events: int,
        max_bytes: int,
        max_wait: float,
        timeout: float,
    ) -> None:
        self._record = record
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._max_wait = max_wait
        self._timeout = timeout + _THREAD_SWITCH
        self._lock = threading.Lock()
        self._waiting: deque[_PendingEvent] = deque()
        self._leaders = 0

    def store(self, event: Event) -> None:
        """Store an event, which is on disk when this returns.

        Raises StoreUnavailable, and the event may then be stored nevertheless; also raises what
        `record` raises for this event alone.
        """
        pending = _PendingEvent(event)
        with self._lock:
            pending.leads = not self._leaders
            if pending.leads:
                self._leaders += 1
            else:
                self._waiting.append(pending)
        if pending.leads or self._wait_to_lead(pending):
            self._store_with_others(pending)
        if not pending.is_done:
            raise StoreUnavailable("the database did not answer")
        if pending.error is not None:
            raise pending.error

    def _wait_to_lead(self, pending: "_PendingEvent") -> bool:
        """Wait while others store an event; True when this thread is to store it."""
        was_woken = pending.wakeup.acquire(timeout=self._max_wait)
        with self._lock:
            if not pending.leads and pending in self._waiting:
                self._waiting.remove(pending)
                self._leaders += 1
                pending.leads = True
        if not was_woken and not pending.leads:
            pending.wakeup.acquire(timeout=self._timeout)
        return pending.leads

    def _store_with_others(self, pending: "_PendingEvent") -> None:
        group = [pending]
        try:
            self._fill(group)
            self._store_group(group)
        finally:
            self._pass_lead()
            for each in group[1:]:
                each.wakeup.release()

    def _fill(self, group: list["_PendingEvent"]) -> None:
        """Add the events that have waited longest, up to the limits."""
        size = len(group[0].event.text)
        with self._lock:
            while self._waiting and len(group) < self._max_events:
                size += len(self._waiting[0].event.text)
                if size > self._max_bytes:
                    return
                group.append(self._waiting.popleft())

    def _pass_lead(self) -> None:
        """Have the thread that has waited longest store next, unless another one is storing."""
        with self._lock:
            if self._waiting and self._leaders == 1:
                following = self._waiting.popleft()
                following.leads = True
                following.wakeup.release()
            else:
                self._leaders -= 1

    def _store_group(self, group: Sequence["_PendingEvent"]) -> None:
        """Store a group; if one of its events cannot be stored, store each for itself."""
        try:
            self._record([pending.event for pending in group])
        except StoreUnavailable as error:
            for pending in group:
                # Each gets its own: one exception raised in several threads mixes their tracebacks.
                pending.finish(StoreUnavailable(*error.args))
        except Exception as error:  # noqa: BLE001 raised again where the event came in
            if len(group) == 1:
                group[0].finish(error)
                return
            for pending in group:
                self._store_group([pending])
                if isinstance(pending.error, StoreUnavailable):
                    return  # each of the others would wait for the same database in turn
        else:
            for pending in group:
                pending.finish(None)


class _PendingEvent:
    """An event that is to be stored, and what the thread that brought it is told."""

    __slots__ = ("error", "event", "is_done", "leads", "wakeup")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.leads = False
        self.is_done = False
        self.error: Exception | None = None
        # A lock that is released for each thing to tell costs less than a threading.Event.
        self.wakeup = threading.Lock()
        self.wakeup.acquire()

    def finish(self, error: Exception | None) -> None:
        self.error = error
        self.is_done = True
