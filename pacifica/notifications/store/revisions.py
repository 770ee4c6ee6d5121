"""What workers read of subscriptions, up to date by a revision that every change advances."""

import json
import threading
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pacifica.notifications.orm import DB, Counter, EventMatch, reading, writing
from pacifica.notifications.subscriptions import Digest, Format, Subscription

_NAME = "subscriptions"
_ROWS_PER_READ = 500


@dataclass(frozen=True)
class Change:
    """A changed subscription as matching sees it; `jsonpath` is None when nothing may match.

    With an `unmatched` one, events are not matched before its owner has corrected it.
    """

    uuid: UUID
    user: str
    jsonpath: str | None
    unmatched: bool


@dataclass(frozen=True)
class StoredSubscription:
    """A subscription as it is stored; `value` is None when its row cannot be read."""

    value: Subscription | None
    disabled: bool
    deleted: bool
    probe: UUID | None


class SubscriptionCache:
    """Subscriptions as they were read, until any subscription changes; about `max_size` of them."""

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._lock = threading.Lock()
        self._revision = -1
        self._cached: dict[UUID, StoredSubscription] = {}

    def at(self, revision: int, uuids: Collection[UUID]) -> dict[UUID, StoredSubscription]:
        """Return subscriptions as they were at a revision that was current before, or later."""
        with self._lock:
            if revision != self._revision or len(self._cached) > self._max_size:
                self._revision, self._cached = revision, {}
            absent = [uuid for uuid in uuids if uuid not in self._cached]
            self._cached |= read_subscriptions(absent)
            return {uuid: self._cached[uuid] for uuid in uuids if uuid in self._cached}


@reading
def current_revision() -> int:
    """Return the newest revision whose change is committed."""
    # As text: it is read twice for each batch, and peewee takes as long as the database.
    sql = f"SELECT value FROM notificationcounter WHERE name = {DB.param}"  # noqa: S608 no value
    ((value,),) = DB.execute_sql(sql, (_NAME,)).fetchall()
    return value


@writing
def advance_revision() -> int:
    """Take the next revision for a change in the same transaction.

    The row stays locked until the commit, so that changes become visible in the order of their
    revisions.
    """
    Counter.update(value=Counter.value + 1).where(Counter.name == _NAME).execute()
    return current_revision()


def lock_changes() -> None:
    """Have whoever changes a subscription wait until the caller's transaction ends."""
    if DB.for_update:  # on SQLite, all who write wait
        Counter.select().where(Counter.name == _NAME).for_update().get()


@reading
def changed_since(revision: int, upto: int) -> list[Change]:
    """Return what changed after `revision`, up to `upto`, as matching sees it now."""
    return _changes((EventMatch.revision > revision) & (EventMatch.revision <= upto))


@reading
def as_matched(uuids: Collection[UUID]) -> dict[UUID, Change]:
    """Return subscriptions as matching sees them now."""
    return {each.uuid: each for each in _changes(EventMatch.uuid.in_(uuids))}


def read_subscriptions(uuids: Collection[UUID]) -> dict[UUID, StoredSubscription]:
    """Return subscriptions as they are stored now."""
    wanted = list(uuids)
    found: dict[UUID, StoredSubscription] = {}
    for start in range(0, len(wanted), _ROWS_PER_READ):
        found.update(_read(wanted[start : start + _ROWS_PER_READ]))
    return found


def _changes(condition: Any) -> list[Change]:
    columns: tuple[Any, ...] = (
        EventMatch.uuid,
        EventMatch.user,
        EventMatch.jsonpath,
        EventMatch.unmatched,
        EventMatch.disabled,
        EventMatch.deleted,
        EventMatch.holding,
    )
    rows: Any = EventMatch.select(*columns).where(condition).tuples()
    return [
        Change(
            uuid,
            user,
            jsonpath if deleted is None and (disabled is None or holding) else None,
            unmatched,
        )
        for uuid, user, jsonpath, unmatched, disabled, deleted, holding in rows.iterator()
    ]


@reading
def _read(uuids: Collection[UUID]) -> dict[UUID, StoredSubscription]:
    columns: tuple[Any, ...] = (
        EventMatch.uuid,
        EventMatch.user,
        EventMatch.target_url,
        EventMatch.extensions,
        EventMatch.auth,
        EventMatch.revision,
        EventMatch.specversion,
        EventMatch.mode,
        EventMatch.format,
        EventMatch.digest,
        EventMatch.disabled,
        EventMatch.deleted,
        EventMatch.probe,
    )
    rows: Any = EventMatch.select(*columns).where(EventMatch.uuid.in_(uuids)).tuples()
    return {
        columns[0]: StoredSubscription(
            _value(*columns), disabled is not None, deleted is not None, probe
        )
        for *columns, disabled, deleted, probe in rows
    }


def _value(
    uuid: UUID,
    user: str,
    target: str,
    extensions: str | None,
    auth: str | None,
    revision: int,
    specversion: str,
    mode: str,
    form: str,
    digest: str,
) -> Subscription | None:
    """Return what delivering takes; None if the JSON in a column is broken."""
    try:
        objects = json.loads(extensions or "{}"), json.loads(auth or "{}")
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(each, dict) for each in objects):
        return None
    extra, login = objects
    return Subscription(
        uuid,
        user,
        target,
        extra,
        login,
        revision,
        specversion,
        mode,
        Format(form),
        Digest(digest),
    )
