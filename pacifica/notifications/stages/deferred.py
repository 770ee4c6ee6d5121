"""Matches events with the JSONPaths that take too long for the way of an event.

One worker process at a time does so, for a moment, and then lets what else is due go first. Users
take turns, by the time that their JSONPaths have taken.
"""

import threading
from collections.abc import Collection
from functools import lru_cache
from time import perf_counter, thread_time
from typing import Any
from uuid import UUID

from pacifica.notifications.clock import utcnow
from pacifica.notifications.errors import BudgetExceeded, ExpressionError
from pacifica.notifications.jsontext import count_values
from pacifica.notifications.matching import budget_for, compile_jsonpath, has_match
from pacifica.notifications.store.claims import keep_lock, release_lock, take_lock
from pacifica.notifications.store.deferred import (
    ClaimedDeferral,
    DeferredResult,
    claim_deferred,
    event_of,
    record_deferred,
    release_if_enabled,
    users_with_deferred,
)
from pacifica.notifications.store.holding import disable
from pacifica.notifications.store.revisions import as_matched, current_revision

_LOCK = "match deferred"
# Seconds after which another process may go on, if the one that has the lock says no more. The
# message that goes on is void then.
_LOCK_SECONDS = 20.0
# Seconds of work before other messages have their turn, and before another user has.
_SLICE, _TURN = 0.01, 0.01
# The subscriptions that are read for one turn.
_MAX_READ = 200
# That a JSONPath takes too long on an event with more values is the fault of the event.
_ORDINARY_VALUES = 20_000
# Seconds: if an event waits longer, its user's JSONPaths that take longest are disabled.
_MAX_DELAY = 600.0
_COMPILED_JSONPATHS = 2000


class DeferredMatcher:
    """Matches events with the subscriptions of one user after another, a little at a time."""

    def __init__(self, budget: int, max_length: int, lease: float) -> None:
        self._budget = budget
        self._lease = lease
        self._turns = UserTurns()
        self._compiled = lru_cache(_COMPILED_JSONPATHS)(
            lambda text: compile_jsonpath(text, max_length)
        )
        self._document: tuple[UUID | None, Any, int] = (None, None, 0)
        self._lock = threading.Lock()

    @staticmethod
    def begins() -> bool:
        """Take the lock; false if another process is at work. Raises StoreUnavailable."""
        return bool(users_with_deferred()) and take_lock(_LOCK, _LOCK_SECONDS)

    def match(self) -> tuple[set[UUID], bool]:
        """Match for a moment; return the events that match something, and whether to go on.

        Whoever goes on keeps the lock. Raises StoreUnavailable.
        """
        with self._lock:
            keep_lock(_LOCK, _LOCK_SECONDS)
            events: set[UUID] = set()
            ends = perf_counter() + _SLICE
            users = users_with_deferred()
            while users and perf_counter() < ends:
                started = perf_counter()
                user = self._turns.next(users)
                deferral = claim_deferred(user, self._lease)
                if deferral is None:
                    users.remove(user)
                elif self._is_matched(deferral, user, started + _TURN):
                    events.add(deferral.event)
                self._turns.took(user, perf_counter() - started)
            if users:
                return events, True
            release_lock(_LOCK)
            return events, self.begins()  # something may have come in between

    def _is_matched(self, deferral: ClaimedDeferral, user: str, ends: float) -> bool:
        """Match an event until the turn ends; return whether it matches something."""
        result = self._match(deferral, current_revision(), ends)
        record_deferred(deferral, result)
        if result.parked:
            release_if_enabled(user, result.parked)
        return bool(result.matched)

    def _match(self, deferral: ClaimedDeferral, revision: int, ends: float) -> DeferredResult:
        """Match an event with its subscriptions, until the turn ends."""
        document, values = self._document_of(deferral)
        if document is None:
            return DeferredResult()
        matched: list[UUID] = []
        given_up: list[tuple[UUID, str]] = []
        parked: list[UUID] = []
        seconds: dict[UUID, float] = {}
        stored = as_matched(deferral.subscriptions[:_MAX_READ])
        count = 0
        for uuid in deferral.subscriptions[:_MAX_READ]:
            if count and perf_counter() > ends:
                break
            count += 1
            change = stored.get(uuid)
            if change is None or change.jsonpath is None:
                continue
            if change.unmatched:
                parked.append(uuid)
                continue
            began = thread_time()
            try:
                condition = self._compiled(change.jsonpath)
                if has_match(condition, document, budget_for(self._budget, values)):
                    matched.append(uuid)
            except ExpressionError as error:
                if isinstance(error, BudgetExceeded) and values > _ORDINARY_VALUES:
                    given_up.append((uuid, f"its JSONPath {error}"))
                else:
                    parked.append(uuid)
                    failed = f"its JSONPath failed on event {deferral.event}: {error}"
                    disable(uuid, failed, unmatched=True, revision=revision)
            seconds[uuid] = thread_time() - began
        delay = (utcnow() - deferral.since).total_seconds()
        if delay > _MAX_DELAY and sum(seconds.values()) >= _TURN:
            _disable_slowest(seconds, delay, revision)
        return DeferredResult(matched, given_up, parked, deferral.subscriptions[count:])

    def _document_of(self, deferral: ClaimedDeferral) -> tuple[Any, int]:
        """Return an event and how many values it has; None if there is none any more."""
        kept, document, values = self._document
        if kept == deferral.event:
            return document, values
        event = event_of(deferral)
        if event is None:
            return None, 0
        self._document = event.uuid, event.document(), count_values(event.encoded)
        return self._document[1:]


class UserTurns:
    """Whose turn it is: the user's whose JSONPaths have taken the least time.

    Who comes anew begins with the time of whoever had the last turn, so that nobody gains by
    having been away.
    """

    def __init__(self) -> None:
        self._taken: dict[str, float] = {}
        self._now = 0.0

    def next(self, users: Collection[str]) -> str:
        """Return one of the users, of which there is at least one."""
        self._taken = {user: max(self._taken.get(user, 0.0), self._now) for user in users}
        user = min(self._taken, key=self._taken.__getitem__)
        self._now = self._taken[user]
        return user

    def took(self, user: str, seconds: float) -> None:
        """Take note of how long a turn took."""
        self._taken[user] += seconds


def _disable_slowest(seconds: dict[UUID, float], delay: float, revision: int) -> None:
    """Disable what took longer than the average: its user's events come faster than that."""
    average = sum(seconds.values()) / len(seconds)
    for uuid, took in seconds.items():
        if took >= average:
            disable(
                uuid,
                f"its JSONPath failed: it takes {took:.3f} s for an event, and with the others of "
                f"its user that is too long: an event has waited for {delay:.0f} s",
                unmatched=True,
                revision=revision,
            )
