"""Matches claimed events against the index of subscriptions."""

import logging
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from pacifica.notifications.errors import NotificationsError
from pacifica.notifications.events import Event
from pacifica.notifications.flow import Deferral, Matched
from pacifica.notifications.jsontext import count_values
from pacifica.notifications.matching import MatchFailure, SubscriptionIndex
from pacifica.notifications.settings import CelerySettings
from pacifica.notifications.store.events import claim_events, claim_suspect, unclaim_events
from pacifica.notifications.store.holding import disable
from pacifica.notifications.store.notices import EVENT_TYPES, is_about
from pacifica.notifications.store.revisions import Change, changed_since, current_revision

_LOG = logging.getLogger(__name__)
_NOTHING_READ = -1
# Seconds of matching after which the rest of a batch is left to others.
_BATCH_SECONDS = 0.1
# Seconds that matching takes of the way of one event, and for each of its values. What takes
# longer is matched later.
_EVENT_SECONDS, _VALUE_SECONDS = 0.01, 1e-6
# Steps that one JSONPath may take of the way of an event.
_EVENT_BUDGET = 50_000
# Seconds that parsing new JSONPaths takes: of the way of one batch, of a moment beside it, and of
# the start of a process.
_PARSING_SECONDS, _PARSING_BESIDE_SECONDS, _FIRST_PARSING_SECONDS = 0.005, 0.01, 10.0


class Dispatcher:
    """Keeps an index of all subscriptions, and reads only what has changed before it matches.

    It calls `nudge` with the ids of events that it has claimed and leaves to others.
    """

    def __init__(
        self,
        settings: CelerySettings,
        budget: int,
        max_length: int,
        nudge: Callable[[Sequence[UUID]], None],
    ) -> None:
        self._settings = settings
        self._nudge = nudge
        self._limits = (min(budget, _EVENT_BUDGET), max_length)
        self._lock = threading.Lock()
        self._revision = _NOTHING_READ
        self._index = SubscriptionIndex(*self._limits)
        self._users: dict[UUID, str] = {}
        # Those that ask for the service's own events, by naming their type.
        self._asked_for: set[UUID] = set()
        # Those whose JSONPaths failed: events wait for them.
        self._unmatched: set[UUID] = set()

    @property
    def revision(self) -> int:
        """The revision of the subscriptions that the last events were matched with."""
        return self._revision

    def match(self) -> list[Matched]:
        """Claim events that are due and match them.

        Raises StoreUnavailable; an event that is not recorded as dispatched is due again when its
        lease ends.
        """
        settings = self._settings
        with self._lock:
            return self._matched(
                claim_events(settings.event_batch, settings.event_batch_bytes, settings.lease)
            )

    def match_alone(self, uuid: UUID) -> list[Matched]:
        """Claim one event, if it is due, and match it; raises StoreUnavailable."""
        with self._lock:
            return self._matched(
                claim_suspect(uuid, self._settings.lease, self._settings.max_lease)
            )

    def parse_more(self) -> None:
        """Parse new JSONPaths for a moment, beside the way of events; raises StoreUnavailable."""
        with self._lock:
            self._parse(_PARSING_BESIDE_SECONDS)

    def _matched(self, events: Sequence[Event]) -> list[Matched]:
        if not events:
            return []
        self._refresh()
        matched = []
        # The oldest event comes first, so that each has its turn. Small ones do not wait for large.
        oldest, *others = events
        waiting = [oldest, *sorted(others, key=lambda event: len(event.text))]
        deadline = time.monotonic() + _BATCH_SECONDS
        for number, event in enumerate(waiting):
            if number and time.monotonic() > deadline:
                self._leave([each.uuid for each in waiting[number:]])
                break
            matched.append(self._matched_or_none(event))
        return [each for each in matched if each is not None]

    def _leave(self, events: Sequence[UUID]) -> None:
        unclaim_events(events)
        self._nudge(events)

    def _matched_or_none(self, event: Event) -> Matched | None:
        try:
            return self._match(event)
        except NotificationsError:
            raise
        except Exception:  # noqa: BLE001 the edge of one event, which must not stop the others
            _LOG.exception("event %s was not dispatched; it is tried again later", event.uuid)
            return None

    def _match(self, event: Event) -> Matched:
        try:
            document = event.document()
        except (ValueError, RecursionError):  # older versions cut large events on MySQL
            _LOG.error("event %s is not dispatched: its record is not JSON", event.uuid)
            return Matched(event, ())
        values = count_values(event.encoded)
        seconds = _EVENT_SECONDS + values * _VALUE_SECONDS
        result = self._index.match(document, values, seconds)
        for failure in result.failures:
            self._disable(failure, f"on event {event.uuid}: {failure.error}")
        concerned = partial(self._concerned, event.owner, document)
        deferrals = (
            *self._deferrals(concerned(result.unfinished), parked=False),
            *self._deferrals(concerned(self._unmatched), parked=True),
        )
        return Matched(event, tuple(concerned(result.matched)), deferrals)

    def _concerned(
        self, owner: str | None, document: Mapping[str, Any], subscriptions: Iterable[UUID]
    ) -> Iterable[UUID]:
        """Return which subscriptions an event may go to: one of the service's own, to few.

        Its owner's, which ask for it; and not the one that it is about, which may be what fails.
        """
        if owner is None:
            return subscriptions
        return [
            each
            for each in subscriptions
            if each in self._asked_for
            and self._users[each] == owner
            and not is_about(document, each)
        ]

    def _deferrals(self, subscriptions: Iterable[UUID], *, parked: bool) -> Iterator[Deferral]:
        by_user: defaultdict[str, list[UUID]] = defaultdict(list)
        for uuid in subscriptions:
            by_user[self._users[uuid]].append(uuid)
        for user, uuids in by_user.items():
            yield Deferral(user, tuple(uuids), parked)

    def _refresh(self) -> None:
        newest = current_revision()
        if newest < self._revision:  # another database than before, such as a restored backup
            self._forget_all()
        is_first = self._revision == _NOTHING_READ
        if newest != self._revision:
            changes = changed_since(self._revision, newest)
            self._revision = newest
            for change in changes:
                self._note(change)
        self._parse(_FIRST_PARSING_SECONDS if is_first else _PARSING_SECONDS)

    def _parse(self, seconds: float) -> None:
        for failure in self._index.add_postponed(seconds):
            self._disable(failure, failure.error)

    def _note(self, change: Change) -> None:
        """Take note of a change; a new JSONPath is parsed later, because that takes long."""
        self._unmatched.discard(change.uuid)
        self._asked_for.discard(change.uuid)
        if change.jsonpath is None:
            self._index.remove(change.uuid)
            self._users.pop(change.uuid, None)
            return
        self._users[change.uuid] = sys.intern(change.user)
        if EVENT_TYPES in change.jsonpath:
            self._asked_for.add(change.uuid)
        if change.unmatched:
            self._index.remove(change.uuid)
            self._unmatched.add(change.uuid)
        elif failure := self._index.postpone(change.uuid, change.jsonpath):
            self._disable(failure, failure.error)

    def _disable(self, failure: MatchFailure, error: str) -> None:
        """Disable a subscription whose JSONPath failed; events wait until it is corrected."""
        error = f"its JSONPath failed {error}"
        try:
            disable(failure.uuid, error, unmatched=True, revision=self._revision)
        except NotificationsError:
            self._forget_all()  # or this subscription would be in the index no more
            raise
        self._index.remove(failure.uuid)
        self._unmatched.add(failure.uuid)

    def _forget_all(self) -> None:
        self._revision = _NOTHING_READ
        self._index = SubscriptionIndex(*self._limits)
        self._users.clear()
        self._asked_for.clear()
        self._unmatched.clear()
