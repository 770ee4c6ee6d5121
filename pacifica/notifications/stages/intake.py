"""Storing events as they come in: those that come at the same time share a transaction."""

import threading
from collections import deque
from collections.abc import Callable, Sequence

from pacifica.notifications.errors import StoreUnavailable
from pacifica.notifications.events import Event

# Seconds that the threads of a process may need to get from one to the next.
_HANDING_ON = 0.4


class Intake:
    """Stores events by `record`, which stores all that it is given or raises.

    An event that comes alone is stored at once. Those that come while others are being stored are
    stored together after them, by the thread that brought the first of them: up to `most`, and up
    to `most_bytes` of text, one alone whatever its size.

    Who waited `patience` seconds counts on the others no more, since their connection may hang, and
    stores beside them. Who is being stored by another thread, and is not within `longest` seconds,
    is told that the database does not answer.
    """

    def __init__(
        self,
        record: Callable[[Sequence[Event]], None],
        *,
        most: int,
        most_bytes: int,
        patience: float,
        longest: float,
    ) -> None:
        self._record = record
        self._most = most
        self._most_bytes = most_bytes
        self._patience = patience
        self._longest = longest + _HANDING_ON
        self._lock = threading.Lock()
        self._waiting: deque[_Arrival] = deque()
        self._storing = 0

    def take(self, event: Event) -> None:
        """Store an event, which is on disk when this returns.

        Raises StoreUnavailable, and then it may be stored nevertheless, and whatever `record`
        raises for this event alone.
        """
        arrival = _Arrival(event)
        with self._lock:
            arrival.leads = not self._storing
            if arrival.leads:
                self._storing += 1
            else:
                self._waiting.append(arrival)
        if arrival.leads or self._gets_the_lead(arrival):
            self._store_with_others(arrival)
        if not arrival.is_done:
            raise StoreUnavailable("the database did not answer")
        if arrival.error is not None:
            raise arrival.error

    def _gets_the_lead(self, arrival: "_Arrival") -> bool:
        """Wait while others store an event; True when this thread is to do it."""
        told = arrival.told.acquire(timeout=self._patience)
        with self._lock:
            if not arrival.leads and arrival in self._waiting:
                self._waiting.remove(arrival)
                self._storing += 1
                arrival.leads = True
        if not told and not arrival.leads:
            arrival.told.acquire(timeout=self._longest)
        return arrival.leads

    def _store_with_others(self, arrival: "_Arrival") -> None:
        group = [arrival]
        try:
            self._fill(group)
            self._store(group)
        finally:
            self._hand_on_the_lead()
            for each in group[1:]:
                each.told.release()

    def _fill(self, group: list["_Arrival"]) -> None:
        """Add those who have waited longest, up to the bounds."""
        size = len(group[0].event.text)
        with self._lock:
            while self._waiting and len(group) < self._most:
                size += len(self._waiting[0].event.text)
                if size > self._most_bytes:
                    return
                group.append(self._waiting.popleft())

    def _hand_on_the_lead(self) -> None:
        with self._lock:
            if self._waiting and self._storing == 1:
                following = self._waiting.popleft()
                following.leads = True
                following.told.release()
            else:
                self._storing -= 1

    def _store(self, group: Sequence["_Arrival"]) -> None:
        """Store a group; where one of it cannot be stored, each for itself."""
        try:
            self._record([arrival.event for arrival in group])
        except StoreUnavailable as error:
            for arrival in group:
                # Of its own: to raise one exception in several threads would mix their tracebacks.
                arrival.end(StoreUnavailable(*error.args))
        except Exception as error:  # noqa: BLE001 raised again where the event came in
            if len(group) == 1:
                group[0].end(error)
                return
            for arrival in group:
                self._store([arrival])
                if isinstance(arrival.error, StoreUnavailable):
                    return  # those that are left would wait for the same database in turn
        else:
            for arrival in group:
                arrival.end(None)


class _Arrival:
    """An event on its way in, and what the thread that brought it is told."""

    __slots__ = ("error", "event", "is_done", "leads", "told")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.leads = False
        self.is_done = False
        self.error: Exception | None = None
        # A lock that is released once for each thing to tell costs less than an event.
        self.told = threading.Lock()
        self.told.acquire()

    def end(self, error: Exception | None) -> None:
        self.error = error
        self.is_done = True
