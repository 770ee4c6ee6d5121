"""Why an event did or did not reach a subscription: a closed list of words, and what each means.

The documentation, the API and the command line take the words and their meanings from here.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pacifica.notifications.flow import State


class Reason(StrEnum):
    """Why a delivery, or a pair of an event and a subscription, is where it is."""

    UNSETTLED = "unsettled"
    AWAITING_DISPATCH = "awaiting_dispatch"
    SUBSCRIPTION_YOUNGER = "subscription_younger"
    SUBSCRIPTION_DELETED = "subscription_deleted"
    DISABLED_BY_OWNER = "disabled_by_owner"
    NO_MATCH = "no_match"
    EXPRESSION_ERROR = "expression_error"
    OVER_BUDGET = "over_budget"
    UNRECORDED = "unrecorded"
    AWAITING_POLICY = "awaiting_policy"
    POLICY_AWAY = "policy_away"
    POLICY_DENIED = "policy_denied"
    SENDING = "sending"
    RETRYING = "retrying"
    AWAITING_FETCH = "awaiting_fetch"
    FETCHED = "fetched"
    NOT_ACKNOWLEDGED = "not_acknowledged"
    COLLECTED = "collected"
    HELD = "held"
    DELIVERED = "delivered"
    EXPIRED = "expired"
    DROPPED = "dropped"
    LOOP = "loop"
    UNDELIVERABLE = "undeliverable"
    DUPLICATE = "duplicate"


@dataclass(frozen=True)
class Meaning:
    """What a reason means, and what the owner of the subscription can do about it."""

    meaning: str
    action: str


MEANINGS: dict[Reason, Meaning] = {
    Reason.UNSETTLED: Meaning(
        "Metadata has announced the event, and does not show what it tells of.",
        "Wait. It is matched once Metadata shows that. What Metadata takes back is given up.",
    ),
    Reason.AWAITING_DISPATCH: Meaning(
        "The event is on record, and no worker has matched it yet.",
        "Wait. If it takes longer than a minute, tell your operators that the workers are behind.",
    ),
    Reason.SUBSCRIPTION_YOUNGER: Meaning(
        "The event was matched before the subscription was made.",
        "Nothing. Backtest the subscription, and replay what it would have matched.",
    ),
    Reason.SUBSCRIPTION_DELETED: Meaning(
        "The subscription was deleted before the event was matched.",
        "Make a new subscription, and replay what it would have matched.",
    ),
    Reason.DISABLED_BY_OWNER: Meaning(
        "Its owner had disabled the subscription when the event came. Nothing is kept then.",
        "Enable the subscription, and replay the time in which it was disabled.",
    ),
    Reason.NO_MATCH: Meaning(
        "The JSONPath that the subscription had when the event came finds nothing in the event.",
        "Look at the trace for the step that lets nothing through. Correct the JSONPath, try it at "
        "/expressions/test, and replay.",
    ),
    Reason.EXPRESSION_ERROR: Meaning(
        "The JSONPath failed, which disabled the subscription. The event waits to be matched.",
        "Correct the JSONPath, and enable the subscription. The event is then matched.",
    ),
    Reason.OVER_BUDGET: Meaning(
        "The JSONPath takes too long to be matched at once. The event is matched when its turn "
        "comes; if it is large and takes more steps than the budget has, it is given up.",
        "Wait for its turn. If it was given up, write a JSONPath that looks at less, such as "
        "without `..`, and replay.",
    ),
    Reason.UNRECORDED: Meaning(
        "What the subscription was when the event came is not on record: the event is too old, or "
        "an older version of the service matched it.",
        "Try the JSONPath on the event at /expressions/test, and replay the event.",
    ),
    Reason.AWAITING_POLICY: Meaning(
        "The event matches. The service waits for Policy to say whether you may see it.",
        "Wait. If it takes longer than a few minutes, tell your operators that Policy is slow.",
    ),
    Reason.POLICY_AWAY: Meaning(
        "The event matches. Policy was asked whether you may see it, and could not say.",
        "Wait. Policy is asked again by itself, and nothing is lost meanwhile.",
    ),
    Reason.POLICY_DENIED: Meaning(
        "When the event came, Policy did not allow you to see it. Now it does.",
        "Resend the event.",
    ),
    Reason.SENDING: Meaning(
        "The event matches, you may see it, and it is being sent.",
        "Wait. A target that hangs takes until its time-out.",
    ),
    Reason.RETRYING: Meaning(
        "An attempt failed, and another one follows at the time given.",
        "Look at the attempts, and mend the target. The next attempt comes by itself.",
    ),
    Reason.AWAITING_FETCH: Meaning(
        "The event matches, you may see it, and your program has not fetched it yet.",
        "Have your program fetch it. Until then it counts against the bounds of what is held.",
    ),
    Reason.FETCHED: Meaning(
        "Your program has fetched the event, and has not acknowledged it.",
        "Nothing, if your program is at work. When its lock runs out, or it releases the event, "
        "the event is handed out again.",
    ),
    Reason.NOT_ACKNOWLEDGED: Meaning(
        "Your program has fetched the event as often as it may, and never acknowledged it. The "
        "event is held.",
        "Look at the attempts, and mend the program. Then resend the event, or change the "
        "subscription in any way, which hands out all that is held.",
    ),
    Reason.COLLECTED: Meaning(
        "The event matches, you may see it, and it waits for the next mail of the subscription.",
        "Wait. The mail is sent at its hour, or as soon as no bound on mails is in its way.",
    ),
    Reason.HELD: Meaning(
        "The subscription is disabled by an error. The event is kept for it.",
        "Mend what the subscription's error says, and enable it. What is held is then sent.",
    ),
    Reason.DELIVERED: Meaning(
        "The target took the event.",
        "Nothing. If your program did not act on it, look at what the target answered, and resend.",
    ),
    Reason.EXPIRED: Meaning(
        "The event was held, or not fetched, for too long or with too many others, and was given "
        "up.",
        "Resend the event, or replay the time in which the subscription was disabled or not "
        "fetched from.",
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
        "The event cannot be sent in the format that the subscription asks for, or an older "
        "version of the service gave it up.",
        "Change the format or the extensions of the subscription, and resend the event.",
    ),
    Reason.DUPLICATE: Meaning(
        "The event came again with the same source and id. It was not stored or sent once more.",
        "Nothing, if it was delivered the first time. A sender must give each event an id of its "
        "own.",
    ),
}


_LOOP_STATUS = "508"


def delivery_reason(
    state: State,
    *,
    attempts: int,
    failing: datetime | None,
    status: str,
    policy_status: str = "200",
    is_disabled: bool = True,
) -> Reason:
    """Return why a delivery is where it is.

    `attempts` and `failing` belong to its state. `status` is that of the last response of the
    target, and `policy_status` that of Policy, as text; both are empty without a response.
    `is_disabled` tells whether its subscription is disabled now.
    """
    match state:
        case State.DELIVERED:
            return Reason.DELIVERED
        case State.MATCHED:
            return Reason.AWAITING_POLICY if failing is None else Reason.POLICY_AWAY
        case State.ALLOWED:
            return Reason.RETRYING if failing is not None or attempts > 1 else Reason.SENDING
        case State.AVAILABLE:
            return Reason.FETCHED if attempts else Reason.AWAITING_FETCH
        case State.COLLECTED:
            return Reason.RETRYING if failing is not None else Reason.COLLECTED
        case State.HELD:
            if failing is not None:  # it began to fail when it was fetched in vain
                return Reason.NOT_ACKNOWLEDGED
            # Only for Policy is anything held while the subscription is enabled.
            is_for_policy = not (is_disabled or policy_status.startswith("2"))
            return Reason.POLICY_AWAY if is_for_policy else Reason.HELD
        case State.DENIED:
            return Reason.POLICY_DENIED
        case State.EXPIRED:
            return Reason.EXPIRED
        case State.DROPPED:
            return Reason.DROPPED
        case State.FAILED:
            if status == _LOOP_STATUS:
                return Reason.LOOP
            # Policy is not asked about what matching gives up.
            return Reason.UNDELIVERABLE if policy_status else Reason.OVER_BUDGET
