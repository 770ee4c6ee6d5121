"""Dispatching: each claimed event is matched against the index of subscriptions."""

import logging
import threading
from collections.abc import Collection
from uuid import UUID

from pacifica.notifications.errors import NotificationsError
from pacifica.notifications.events import Event
from pacifica.notifications.matching import Entry, Fault, SubscriptionIndex
from pacifica.notifications.settings import Settings
from pacifica.notifications.store.events import claim_events, record_matches
from pacifica.notifications.store.holding import disable
from pacifica.notifications.store.revisions import current_revision
from pacifica.notifications.store.subscriptions import changed_since

_LOG = logging.getLogger(__name__)
_NOTHING_READ = -1


class Dispatcher:
    """Matches events; keeps the index, and brings it up to date by what changed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._revision = _NOTHING_READ
        self._index = self._empty_index()

    def dispatch(self, uuids: Collection[UUID]) -> list[UUID]:
        """Match those of the events that wait for it; return those that go to anybody.

        Raises StoreUnavailable; what was not finished is due again when its lease ends.
        """
        with self._lock:
            events = claim_events(uuids, self._settings.lease, self._settings.longest_lease)
            if events:
                self._refresh()
            return [event.uuid for event in events if self._is_matched(event)]

    def _is_matched(self, event: Event) -> bool:
        try:
            return self._match(event)
        except NotificationsError:
            raise
        except Exception:  # noqa: BLE001 the edge of one event, which must not keep the others
            _LOG.exception("event %s was not dispatched; it is tried again later", event.uuid)
            return False

    def _match(self, event: Event) -> bool:
        try:
            document = event.document()
        except (ValueError, RecursionError):  # as older versions left large ones on MySQL
            _LOG.error("event %s is not dispatched: its record is not JSON", event.uuid)
            record_matches(event.uuid, ())
            return False
        matches = self._index.match(document)
        for fault in matches.faults:
            self._disable(fault, f"on event {event.uuid}: {fault.error}")
        return record_matches(event.uuid, matches.matched) and bool(matches.matched)

    def _refresh(self) -> None:
        newest = current_revision()
        if newest < self._revision:  # another database than before, such as a restored backup
            self._revision = _NOTHING_READ
            self._index = self._empty_index()
        if newest == self._revision:
            return
        for change in changed_since(self._revision, newest):
            if change.jsonpath is None:
                self._index.remove(change.uuid)
                continue
            fault = self._index.put(Entry(change.uuid, change.jsonpath))
            if fault is not None:
                self._disable(fault, fault.error)
        self._revision = newest

    def _disable(self, fault: Fault, error: str) -> None:
        """Disable a subscription whose JSONPath failed.

        One that is merely wrong for this event goes on to be matched, so that its owner misses
        nothing; one that costs too much is not evaluated again until its owner changes it.
        """
        _LOG.warning("subscription %s: its JSONPath failed %s", fault.uuid, error)
        if fault.exhausted:
            self._index.remove(fault.uuid)
        disable(fault.uuid, f"its JSONPath failed {error}", holding=not fault.exhausted)

    def _empty_index(self) -> SubscriptionIndex:
        return SubscriptionIndex(
            budget=self._settings.matching_budget, max_length=self._settings.jsonpath_max_length
        )
