"""The values that pass between the stages of an event's way to its targets."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pacifica.notifications.events import Event
from pacifica.notifications.subscriptions import Subscription


class State(StrEnum):
    """The state of a delivery; workers have something to do only in the first three."""

    MATCHED = "matched"  # waits for Policy's verdict
    ALLOWED = "allowed"  # waits to be sent
    COLLECTED = "collected"  # waits for its mail, perhaps together with others
    AVAILABLE = "available"  # waits to be fetched by its owner, or to be acknowledged
    HELD = "held"  # waits for its disabled subscription, or for Policy to recover
    DELIVERED = "delivered"
    DENIED = "denied"  # its user may not see the event
    DROPPED = "dropped"  # its subscription was deleted
    EXPIRED = "expired"  # was held for too long, or together with too many others
    FAILED = "failed"  # was given up: the event, not the subscription, is the reason


class Settlement(StrEnum):
    """Whether Pacifica Metadata shows what an event tells of; it goes on in the second three."""

    SETTLING = "settling"  # it is asked again soon
    UNANSWERED = "unanswered"  # it is asked again soon, as it did not answer
    UNSETTLED = "unsettled"  # it is asked each hour
    SETTLED = "settled"
    UNKNOWN = "unknown"  # it was away
    RETRIED = "retried"  # an operator had the event dispatched
    EXPIRED = "expired"  # it never showed it


class Standing(StrEnum):
    """Whether an address gets the mails of a user."""

    ASKED = "asked"  # it was asked by a first mail, or is about to be
    AGREED = "agreed"
    LEFT = "left"  # it has unsubscribed
    BLOCKED = "blocked"  # it wants no mail of anybody


class Notice(StrEnum):
    """What the owner of a subscription is told of it."""

    DISABLED = "disabled"
    RECOVERED = "recovered"
    EXPIRING = "expiring"


class Cause(StrEnum):
    """Why a delivery is attempted."""

    AUTOMATIC = "automatic"
    PROBE = "probe"  # to find out whether others would be delivered
    RESEND = "resend"  # its owner asked for it
    REPLAY = "replay"  # it is part of a replay
    TEST = "test"  # its owner tries the target; it is no delivery


class AttemptOutcome(StrEnum):
    """What became of an attempt."""

    DELIVERED = "delivered"
    RETRYING = "retrying"  # another attempt follows
    DISABLED = "disabled"  # it disabled the subscription, or the probe failed
    GIVEN_UP = "given_up"  # the event is the reason that it cannot be delivered
    HELD = "held"  # it was fetched too often without being acknowledged


@dataclass(frozen=True)
class Attempt:
    """One request to a target, for the record; headers with secrets are masked.

    `started` is naive UTC, and `request` and `response` are headers as JSON. `address` is the one
    that was connected to; empty: none was. `body` is the beginning of what was answered, or the
    reason why nothing was.
    """

    started: datetime
    milliseconds: int
    url: str
    address: str
    request: str
    status: int | None
    response: str
    body: str
    truncated: bool


@dataclass(frozen=True)
class Deferral:
    """Subscriptions of one user that an event is matched with later.

    They are matched in their user's turn, or, if they are `parked`, once their owner has corrected
    and enabled them.
    """

    user: str
    subscriptions: tuple[UUID, ...]
    parked: bool


@dataclass(frozen=True)
class Matched:
    """A claimed event, the subscriptions that it matches, and what it is matched with later."""

    event: Event
    subscriptions: tuple[UUID, ...]
    deferrals: tuple[Deferral, ...] = ()


@dataclass(frozen=True)
class Delivery:
    """A claimed delivery.

    `attempts` counts the attempts in its present state, including this one, and `failing` is the
    time of the first that failed. `leased` is the end of the lease of a delivery that may be sent;
    until then nobody else sends it, and its value tells this claim from others. A `probe` is tried
    although its subscription is disabled, to find out whether others would be delivered. `tries`
    counts the attempts on record before this one, in all states.
    """

    uuid: UUID
    event: UUID
    attempts: int
    subscription: Subscription
    failing: datetime | None = None
    leased: datetime | None = None
    probe: bool = False
    tries: int = 0
    cause: Cause = Cause.AUTOMATIC


@dataclass(frozen=True)
class Ruling:
    """What Policy's response means for the deliveries of one event to one user.

    `due` is when the next step is due; None if none is. `probe_due` is when Policy is asked again
    about deliveries that are held, and None in every other state.
    """

    deliveries: tuple[Delivery, ...]
    state: State
    due: datetime | None
    status: str
    body: str
    probe_due: datetime | None = None

    def state_of(self, delivery: Delivery) -> State:
        """Return the state of one of the deliveries: what is allowed is sent, or fetched."""
        is_fetched = self.state is State.ALLOWED and delivery.subscription.is_pulled
        return State.AVAILABLE if is_fetched else self.state

    def due_of(self, delivery: Delivery) -> datetime | None:
        """Return when a worker is to do something about one of the deliveries."""
        return None if self.state_of(delivery) is State.AVAILABLE else self.due


@dataclass(frozen=True)
class Outcome:
    """What a target's response means for one delivery.

    `error` is given exactly if it disables the subscription; then `probe_due` is when the
    subscription is probed, or None if its owner must act. `tried` is false if the target had no
    chance to respond, which does not count as an attempt. `not_before` is until when the target
    asks for no other request. `given_up` is true if the event is the reason that it cannot be
    delivered: it is not tried again, and the subscription stays as it is. `attempt` is the request,
    if one was made.
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
    given_up: bool = False
    attempt: Attempt | None = None
