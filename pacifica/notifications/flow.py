"""The values that pass between the stages of an event's way to its targets."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pacifica.notifications.subscriptions import Subscription


class State(StrEnum):
    """Where a delivery is on its way; only the first two have something to do."""

    MATCHED = "matched"  # waits for Policy's verdict
    ALLOWED = "allowed"  # waits to be sent
    HELD = "held"  # waits for its disabled subscription
    DELIVERED = "delivered"
    DENIED = "denied"  # its user may not see the event
    DROPPED = "dropped"  # its subscription was deleted
    FAILED = "failed"  # given up before deliveries were held


@dataclass(frozen=True)
class Delivery:
    """A claimed delivery; `attempts` counts this try among those of its present state."""

    uuid: UUID
    event: UUID
    attempts: int
    subscription: Subscription


@dataclass(frozen=True)
class Ruling:
    """What Policy's answer means for deliveries of one event to one user."""

    deliveries: tuple[UUID, ...]
    state: State
    due: datetime | None
    status: str
    body: str


@dataclass(frozen=True)
class Outcome:
    """What a target's answer means for one delivery.

    `error` is given exactly where it disables the subscription. Not `tried` is what the target had
    no chance to answer; it is no attempt.
    """

    delivery: Delivery
    delivered: bool
    due: datetime | None
    status: str
    body: str
    error: str | None = None
    tried: bool = True
