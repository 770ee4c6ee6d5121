"""Why an event did or did not reach a subscription: a closed list of words, and what each means.

The documentation, the API and the command line take the words and their meanings from here.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pacifica.notifications.flow import State


class Reason(StrEnum):
    """Why a delivery, or a pair of an event and a subscription, is where it is."""

    DELIVERED = "delivered"
    AWAITING_POLICY = "awaiting_policy"
    SENDING = "sending"
    RETRYING = "retrying"
    HELD = "held"
    POLICY_DENIED = "policy_denied"
    EXPIRED = "expired"
    DROPPED = "dropped"
    LOOP = "loop"
    UNDELIVERABLE = "undeliverable"


@dataclass(frozen=True)
class Meaning:
    """What a reason means, and what the owner of the subscription can do about it."""

    meaning: str
    action: str


MEANINGS: dict[Reason, Meaning] = {
    Reason.DELIVERED: Meaning(
        "The target took the event.",
        "Nothing. If your program did not act on it, look at what the target answered, and resend.",
    ),
    Reason.AWAITING_POLICY: Meaning(
        "The event matches. The service waits for Policy to say whether you may see it.",
        "Wait. If it takes longer than a few minutes, tell your operators that Policy is slow.",
    ),
    Reason.SENDING: Meaning(
        "The event matches, you may see it, and it is being sent.",
        "Wait. A target that hangs takes until its time-out.",
    ),
    Reason.RETRYING: Meaning(
        "An attempt failed, and another one follows at the time given.",
        "Look at the attempts, and mend the target. The next attempt comes by itself.",
    ),
    Reason.HELD: Meaning(
        "The subscription is disabled by an error, or Policy cannot be asked. The event is kept.",
        "Mend what the subscription's error says, and enable it. What is held is then sent.",
    ),
    Reason.POLICY_DENIED: Meaning(
        "When the event came, Policy did not allow you to see it. Now it does.",
        "Resend the event.",
    ),
    Reason.EXPIRED: Meaning(
        "The event was held for too long, or with too many others, and was given up.",
        "Resend the event, or replay the time in which the subscription was disabled.",
    ),
    Reason.DROPPED: Meaning(
        "The subscription was deleted before the event could be delivered.",
        "Make a new subscription, and backtest it.",
    ),
    Reason.LOOP: Meaning(
        "The target answered that the event came through too many notification services (508).",
        "Look for a circle of services that notify each other, and break it.",
    ),
    Reason.UNDELIVERABLE: Meaning(
        "The event cannot be sent in the format that the subscription asks for.",
        "Change the format or the extensions of the subscription, and resend the event.",
    ),
}


_LOOP_STATUS = "508"


def delivery_reason(
    state: State, *, attempts: int, failing: datetime | None, status: str
) -> Reason:
    """Return why a delivery is where it is.

    `attempts` and `failing` belong to its state. `status` is that of the last response, as text.
    """
    match state:
        case State.DELIVERED:
            return Reason.DELIVERED
        case State.MATCHED:
            return Reason.AWAITING_POLICY
        case State.ALLOWED:
            return Reason.RETRYING if failing is not None or attempts > 1 else Reason.SENDING
        case State.HELD:
            return Reason.HELD
        case State.DENIED:
            return Reason.POLICY_DENIED
        case State.EXPIRED:
            return Reason.EXPIRED
        case State.DROPPED:
            return Reason.DROPPED
        case State.FAILED:
            return Reason.LOOP if status == _LOOP_STATUS else Reason.UNDELIVERABLE
