"""Matches claimed events against the index of subscriptions."""

import logging
import threading
import time
from collections.abc import Sequence
from uuid import UUID

from pacifica.notifications.errors import NotificationsError
from pacifica.notifications.events import Event
from pacifica.notifications.flow import Matched
from pacifica.notifications.jsontext import count_values
from pacifica.notifications.matching import MatchFailure, SubscriptionIndex
from pacifica.notifications.settings import Settings
from pacifica.notifications.store.events import claim_events, claim_suspect, unclaim_events
from pacifica.notifications.store.holding import disable
from pacifica.notifications.store.revisions import changed_since, current_revision

_LOG = logging.getLogger(__name__)
_NOTHING_READ = -1
# That an expression exceeds its budget on an event with more values is the fault of the event.
_ORDINARY_VALUES = 20_000
# The part of a batch's lease that matching may take; the rest is for Policy and for recording.
_MATCHING_SHARE = 0.25


class Dispatcher:
    """Keeps an index of all subscriptions, and reads only what has changed before it matches."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._revision = _NOTHING_READ
        self._index = self._empty_index()

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
                claim_events(
                    settings.celery.event_batch,
                    settings.celery.event_batch_bytes,
                    settings.celery.lease,
                )
            )

    def match_alone(self, uuid: UUID) -> list[Matched]:
        """Claim one event, if it is due, and match it; raises StoreUnavailable."""
        settings = self._settings
        with self._lock:
            return self._matched(
                claim_suspect(uuid, settings.celery.lease, settings.celery.max_lease)
            )

    def _matched(self, events: Sequence[Event]) -> list[Matched]:
        if not events:
            return []
        self._refresh()
        matched = []
        deadline = time.monotonic() + self._settings.celery.lease * _MATCHING_SHARE
        for number, event in enumerate(events):
            if number and time.monotonic() > deadline:
                unclaim_events([each.uuid for each in events[number:]])
                break
            matched.append(self._matched_or_none(event))
        return [each for each in matched if each is not None]

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
        result = self._index.match(document, values)
        too_large = []
        for failure in result.failures:
            if failure.budget_exceeded and values > _ORDINARY_VALUES:
                too_large.append((failure.uuid, f"its JSONPath {failure.error}"))
            else:
                self._disable(failure, f"on event {event.uuid}: {failure.error}")
        return Matched(event, result.matched, tuple(too_large))

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
            failure = self._index.upsert(change.uuid, change.jsonpath)
            if failure is not None:
                self._disable(failure, failure.error)
        self._revision = newest

    def _disable(self, failure: MatchFailure, error: str) -> None:
        """Disable a subscription whose JSONPath failed.

        An expression that merely fails on this event is still matched, so that its owner misses
        nothing. One that costs too much is not evaluated again until its owner changes it.
        """
        _LOG.warning("subscription %s: its JSONPath failed %s", failure.uuid, error)
        if failure.budget_exceeded:
            self._index.remove(failure.uuid)
        disable(failure.uuid, f"its JSONPath failed {error}", holding=not failure.budget_exceeded)

    def _empty_index(self) -> SubscriptionIndex:
        return SubscriptionIndex(
            budget=self._settings.matching.budget,
            max_length=self._settings.eventmatch.jsonpath_max_length,
        )
