"""Serving subscriptions: which deliveries a worker goes on with, as their subscriptions are now."""

import json
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import Delivery, State
from pacifica.notifications.orm.models import EventLogMatch, EventMatch
from pacifica.notifications.orm.transaction import reading, writing
from pacifica.notifications.store.holding import UNDER_WAY, disable, hold_for_disabled
from pacifica.notifications.subscriptions import Subscription

_ROWS_PER_READ = 500


@dataclass(frozen=True)
class Known:
    """A subscription as it is stored; without `value`, in a way that it cannot be served."""

    value: Subscription | None
    disabled: bool
    deleted: bool
    probe: UUID | None


class Taken(NamedTuple):
    """A delivery that a worker has taken: ids, and its tries with this one."""

    uuid: UUID
    event: UUID
    subscription: UUID
    attempts: int
    failing: datetime | None


class KnownSubscriptions:
    """Subscriptions as they were read, kept as long as none of all has changed; `most` of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._revision = -1
        self._known: dict[UUID, Known] = {}

    def at(self, revision: int, uuids: Collection[UUID]) -> dict[UUID, Known]:
        """Return subscriptions as they were at a revision that was read before, or later."""
        with self._lock:
            if revision != self._revision or len(self._known) > self._most:
                self._revision, self._known = revision, {}
            self._known |= known([uuid for uuid in uuids if uuid not in self._known])
            return {uuid: self._known[uuid] for uuid in uuids if uuid in self._known}


def known(uuids: Collection[UUID]) -> dict[UUID, Known]:
    """Return subscriptions as they are stored now."""
    wanted = list(uuids)
    found: dict[UUID, Known] = {}
    for start in range(0, len(wanted), _ROWS_PER_READ):
        found.update(_read(wanted[start : start + _ROWS_PER_READ]))
    return found


def served(taken: Sequence[Taken], leased: datetime | None) -> list[Delivery]:
    """Return those whose subscription can be served; drop, hold or disable for the others.

    `leased` is until when the caller may send them, and None where it asks Policy first.
    """
    if not taken:
        return []
    subscriptions = known({each.subscription for each in taken})
    deliveries = []
    idle = set()
    for each in taken:
        subscription = subscriptions[each.subscription]
        probed = subscription.probe == each.uuid
        if subscription.deleted:
            _drop(each.uuid)
        elif subscription.disabled and not probed:
            idle.add(each.subscription)
        elif subscription.value is None:
            disable_broken(each.subscription)
            idle.add(each.subscription)
        else:
            deliveries.append(
                Delivery(
                    each.uuid,
                    each.event,
                    each.attempts,
                    subscription.value,
                    each.failing,
                    leased,
                    probed,
                )
            )
    if idle:
        if leased is not None:
            _give_back([each.uuid for each in taken if each.subscription in idle], leased)
        hold_for_disabled(idle)
    return deliveries


def disable_broken(subscription: UUID) -> None:
    """Disable a subscription whose row cannot be served, as older versions left some."""
    disable(subscription, "its extensions or auth are stored as broken JSON")


@reading
def _read(uuids: Collection[UUID]) -> dict[UUID, Known]:
    columns: tuple[Any, ...] = (
        EventMatch.uuid,
        EventMatch.user,
        EventMatch.target_url,
        EventMatch.extensions,
        EventMatch.auth,
        EventMatch.revision,
        EventMatch.specversion,
        EventMatch.mode,
        EventMatch.disabled,
        EventMatch.deleted,
        EventMatch.probe,
    )
    rows: Any = EventMatch.select(*columns).where(EventMatch.uuid.in_(uuids)).tuples()
    return {
        columns[0]: Known(
            _value(*columns),
            disabled is not None,
            deleted is not None,
            probe,
        )
        for *columns, disabled, deleted, probe in rows
    }


def _value(
    uuid: UUID,
    user: str,
    target: str,
    extensions: str | None,
    auth: str | None,
    *others: Any,
) -> Subscription | None:
    try:
        objects = json.loads(extensions or "{}"), json.loads(auth or "{}")
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(each, dict) for each in objects):
        return None
    return Subscription(uuid, user, target, *objects, *others)


@writing
def _give_back(uuids: Collection[UUID], leased: datetime) -> None:
    """Note that the caller does not send what it has taken."""
    EventLogMatch.update(leased=None).where(
        EventLogMatch.uuid.in_(uuids), EventLogMatch.leased == leased
    ).execute()


@writing
def _drop(uuid: UUID) -> None:
    EventLogMatch.update(state=State.DROPPED, due=None, leased=None, updated=utcnow()).where(
        EventLogMatch.uuid == uuid, EventLogMatch.state.in_(UNDER_WAY)
    ).execute()
