"""The values that pass between the stages of an event's way to its targets."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pacifica.notifications.events import Event
from pacifica.notifications.subscriptions import Subscription


class State(StrEnum):
    """Where a delivery is on its way; only the first two have something to do."""

    MATCHED = "matched"  # waits for Policy's verdict
    ALLOWED = "allowed"  # waits to be sent
    HELD = "held"  # waits for its disabled subscription
    DELIVERED = "delivered"
    DENIED = "denied"  # its user may not see the event
    DROPPED = "dropped"  # its subscription was deleted
    EXPIRED = "expired"  # held for too long, or with too many others
    FAILED = "failed"  # given up before deliveries were held


@dataclass(frozen=True)
class Matched:
    """A claimed event, and the subscriptions that it matches."""

    event: Event
    subscriptions: tuple[UUID, ...]


@dataclass(frozen=True)
class Delivery:
    """A claimed delivery.

    `attempts` counts this try among those of its present state; `failing` is when the first of
    these failed. `leased`, of what may be sent, is until when nobody else sends it, and tells this
    claim from others. A `probe` is tried although its subscription is disabled: whether it arrives
    tells whether the others can.
    """

    uuid: UUID
    event: UUID
    attempts: int
    subscription: Subscription
    failing: datetime | None = None
    leased: datetime | None = None
    probe: bool = False


@dataclass(frozen=True)
class Ruling:
    """What Policy's answer means for deliveries of one event to one user.

    `probe_due` is given exactly where they are held: when Policy is asked again by itself.
    """

    deliveries: tuple[Delivery, ...]
    state: State
    due: datetime | None
    status: str
    body: str
    probe_due: datetime | None = None


@dataclass(frozen=True)
class Outcome:
    """What a target's answer means for one delivery.

    `error` is given exactly where it disables the subscription, and `probe_due`, when it is tried
    again by itself, where the failure may pass. Not `tried` is what the target had no chance to
    answer; it is no attempt. `not_before` is until when the target wants no other request.
    """

    delivery: Delivery
    delivered: bool
    due: datetime | None
    status: str
    body: str
    error: str | None = None
    probe_due: datetime | None = None
    tried: bool = True
    not_before: datetime | None = None
