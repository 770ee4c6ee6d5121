"""Subscriptions of a user, and what an event means for them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pacifica.notifications.flow import State
from pacifica.notifications.orm import EventLogMatch, EventMatch, reading

#: So many subscriptions of a user are listed with an event: the newest.
MAX_LISTED: Final = 200


@dataclass(frozen=True)
class OwnSubscription:
    """A subscription of the user."""

    uuid: UUID
    name: str
    is_disabled: bool


@dataclass(frozen=True)
class OwnDelivery:
    """The delivery of an event to a subscription of the user."""

    subscription: OwnSubscription
    uuid: UUID
    state: State
    attempts: int
    failing: datetime | None
    policy_status: str
    status: str
    updated: datetime


@dataclass(frozen=True)
class StoredSubscription:
    """Somebody's subscription, also one that was deleted."""

    uuid: UUID
    name: str
    user: str
    disabled: datetime | None
    deleted: datetime | None


@reading
def subscription_of_anybody(uuid: UUID) -> StoredSubscription | None:
    """Return a subscription, also a deleted one; None if there is none."""
    columns = EventMatch.uuid, EventMatch.name, EventMatch.user
    rows: Any = EventMatch.select(*columns, EventMatch.disabled, EventMatch.deleted)
    return next(
        (StoredSubscription(*row) for row in rows.where(EventMatch.uuid == uuid).tuples()), None
    )


@reading
def deliveries_of_user(user: str, event: UUID) -> Sequence[OwnDelivery]:
    """Return the newest deliveries of an event to subscriptions that the user has now."""
    columns = (
        *(EventMatch.uuid, EventMatch.name, EventMatch.disabled, EventMatch.user),
        *(EventLogMatch.uuid, EventLogMatch.state, EventLogMatch.attempts, EventLogMatch.failing),
        *(EventLogMatch.policy_status_code, EventLogMatch.target_status_code),
        EventLogMatch.updated,
    )
    rows: Any = (
        EventLogMatch.select(*columns)
        .join(EventMatch)
        .where(
            EventLogMatch.event_log == event,
            EventMatch.user == user,
            EventMatch.deleted.is_null(),
        )
        .order_by(EventLogMatch.created.desc(), EventLogMatch.uuid.desc())
        .limit(MAX_LISTED)
        .tuples()
    )
    return [
        OwnDelivery(
            OwnSubscription(subscription, name, disabled is not None), uuid, State(state), *others
        )
        for subscription, name, disabled, owner, uuid, state, *others in rows
        if owner == user  # MySQL itself ignores blanks at the end of a name
    ]


@reading
def others_of_user(user: str, without: Collection[UUID]) -> Sequence[OwnSubscription]:
    """Return the newest subscriptions of a user, but not those."""
    rows: Any = (
        EventMatch.select(EventMatch.uuid, EventMatch.name, EventMatch.disabled, EventMatch.user)
        .where(EventMatch.user == user, EventMatch.deleted.is_null())
        .order_by(EventMatch.created.desc(), EventMatch.uuid.desc())
        .limit(MAX_LISTED)
        .tuples()
    )
    return [
        OwnSubscription(uuid, name, disabled is not None)
        for uuid, name, disabled, owner in rows
        if owner == user and uuid not in without
    ]
