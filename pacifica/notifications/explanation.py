"""Decides why an event did or did not reach a subscription, from what is on record of both."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import dropwhile
from uuid import UUID

from pacifica.notifications.flow import State
from pacifica.notifications.matching import ConditionTrace, Trace, TraceResult
from pacifica.notifications.reasons import MEANINGS, Reason, delivery_reason

_FAILED = (TraceResult.ERROR, TraceResult.OVER_BUDGET)


class StepName(StrEnum):
    """A step of an event's way to a subscription, in their order."""

    RECEIVED = "received"
    SETTLED = "settled"
    MATCHED = "matched"
    POLICY = "policy"
    DELIVERY = "delivery"


class StepVerdict(StrEnum):
    """What became of an event at a step."""

    PASSED = "passed"
    STOPPED = "stopped"
    WAITING = "waiting"
    NOT_REACHED = "not reached"


class Result(StrEnum):
    """What became of an event for a subscription, in short."""

    DELIVERED = "delivered"
    WAITING = "waiting"
    NOT_DELIVERED = "not delivered"


@dataclass(frozen=True)
class EventFacts:
    """What is on record of an event.

    `settled` is when what it tells of was committed; None: it is not yet, and if `never_settled`,
    nobody waits for it any more. `revision` is that of the subscriptions that it was matched with;
    None: it was not matched, or by an older version.
    """

    uuid: UUID
    received: datetime
    settled: datetime | None
    is_dispatched: bool
    revision: int | None
    never_settled: bool = False


@dataclass(frozen=True)
class SubscriptionFacts:
    """What is on record of a subscription now."""

    uuid: UUID
    created: datetime
    disabled: datetime | None
    deleted: datetime | None
    error: str | None


@dataclass(frozen=True)
class RevisionFacts:
    """What a subscription was from one change to the next; see orm.Revision."""

    revision: int
    jsonpath: str
    is_disabled: bool
    is_holding: bool
    is_unmatched: bool
    is_deleted: bool


@dataclass(frozen=True)
class DeliveryFacts:
    """The delivery of the event to the subscription; `sent` is when it was first attempted."""

    uuid: UUID
    state: State
    created: datetime
    updated: datetime
    due: datetime | None
    attempts: int
    failing: datetime | None
    tries: int
    policy_status: str
    status: str
    sent: datetime | None


@dataclass(frozen=True)
class DeferralFacts:
    """That the event is still to be matched with the subscription.

    It is in its turn, or, if it is `parked`, once the owner has corrected the JSONPath.
    """

    since: datetime
    parked: bool


@dataclass(frozen=True)
class PairFacts:
    """All that is known of an event and a subscription.

    `then` is what the subscription was when the event was matched, and `later` what it became after
    that, oldest first. `copies` is how often the event came again, last at `copied`.
    """

    event: EventFacts
    subscription: SubscriptionFacts
    then: RevisionFacts | None = None
    later: tuple[RevisionFacts, ...] = ()
    delivery: DeliveryFacts | None = None
    deferral: DeferralFacts | None = None
    copies: int = 0
    copied: datetime | None = None


@dataclass(frozen=True)
class Step:
    """A step, and when it was passed or stopped the event, as far as that is on record."""

    name: StepName
    verdict: StepVerdict
    time: datetime | None = None


@dataclass(frozen=True)
class Explanation:
    """Why an event did or did not reach a subscription.

    `revision` is what the subscription was when its JSONPath was, or will be, tried on the event.
    """

    result: Result
    reason: Reason
    hint: str
    steps: tuple[Step, ...]
    revision: RevisionFacts | None


def explain(facts: PairFacts, result_of: Callable[[str], TraceResult]) -> Explanation:
    """Return why the event did or did not reach the subscription.

    `result_of` tries a JSONPath on the event, and is called only where the answer depends on it.
    """
    if facts.delivery is not None:
        used = _used_for_delivery(facts, facts.delivery, result_of)
        reason, verdicts = _of_delivery(facts.delivery, facts.subscription)
    else:
        reason, used = _without_delivery(facts, result_of)
        verdicts = _UNMATCHED.get(reason, _STOPPED_AT_MATCHING)
        if reason is Reason.UNSETTLED and facts.event.never_settled:
            verdicts = _STOPPED_AT_SETTLING
    times = _times(facts)
    steps = tuple(
        Step(name, verdict, times.get(name) if verdict in _TIMED else None)
        for name, verdict in zip(StepName, verdicts, strict=True)
    )
    return Explanation(_result(verdicts), reason, _hint(reason, facts), steps, used)


def first_hint(trace: Trace) -> str | None:
    """Return what a trace says of the first part of the JSONPath that lets nothing through."""
    for step in trace.steps:
        for hint in (*_hints(step.conditions), step.hint):
            if hint is not None:
                return f"{step.text}: {hint}"
    return None


_TIMED = (StepVerdict.PASSED, StepVerdict.STOPPED)
_PASSED, _STOPPED, _WAITING, _NOT_REACHED = (
    StepVerdict.PASSED,
    StepVerdict.STOPPED,
    StepVerdict.WAITING,
    StepVerdict.NOT_REACHED,
)
_Verdicts = tuple[StepVerdict, ...]
_STOPPED_AT_SETTLING: _Verdicts = (_PASSED, _STOPPED, *(_NOT_REACHED,) * 3)
_STOPPED_AT_MATCHING: _Verdicts = (_PASSED, _PASSED, _STOPPED, _NOT_REACHED, _NOT_REACHED)
_TO_BE_MATCHED: _Verdicts = (_PASSED, _PASSED, _WAITING, _NOT_REACHED, _NOT_REACHED)
# The verdicts by reason where there is no delivery; the other reasons stop the event at matching.
_UNMATCHED: dict[Reason, _Verdicts] = {
    Reason.UNSETTLED: (_PASSED, _WAITING, _NOT_REACHED, _NOT_REACHED, _NOT_REACHED),
    Reason.AWAITING_DISPATCH: _TO_BE_MATCHED,
    Reason.EXPRESSION_ERROR: _TO_BE_MATCHED,
    Reason.OVER_BUDGET: _TO_BE_MATCHED,
}


def _without_delivery(
    facts: PairFacts, result_of: Callable[[str], TraceResult]
) -> tuple[Reason, RevisionFacts | None]:
    """Return why there is no delivery, and with which revision the event is or was matched."""
    event, subscription = facts.event, facts.subscription
    if event.settled is None:
        return Reason.UNSETTLED, None
    if not event.is_dispatched:
        return Reason.AWAITING_DISPATCH, None
    if facts.deferral is not None:
        if subscription.deleted is not None:
            return Reason.SUBSCRIPTION_DELETED, facts.then
        is_parked = facts.deferral.parked
        return Reason.EXPRESSION_ERROR if is_parked else Reason.OVER_BUDGET, facts.then
    if facts.then is None:
        is_younger = subscription.created > event.received
        return Reason.SUBSCRIPTION_YOUNGER if is_younger else Reason.UNRECORDED, None
    if reason := _not_matched_at_all(facts.then):
        return reason, facts.then
    used = facts.then
    if used.is_unmatched or result_of(used.jsonpath) in _FAILED:
        corrected = _corrected(facts.then, facts.later)
        if corrected is None and any(each.is_unmatched for each in (used, *facts.later)):
            is_deleted = subscription.deleted is not None
            return Reason.SUBSCRIPTION_DELETED if is_deleted else Reason.EXPIRED, used
        used = corrected or used
        if reason := _not_matched_at_all(used):
            return reason, used
    if result_of(used.jsonpath) is not TraceResult.MATCH:
        return Reason.NO_MATCH, used
    # It was deleted while the event was being matched.
    is_deleted = subscription.deleted is not None
    return Reason.SUBSCRIPTION_DELETED if is_deleted else Reason.UNRECORDED, used


def _not_matched_at_all(revision: RevisionFacts) -> Reason | None:
    if revision.is_deleted:
        return Reason.SUBSCRIPTION_DELETED
    is_off = revision.is_disabled and not revision.is_holding
    return Reason.DISABLED_BY_OWNER if is_off else None


def _corrected(then: RevisionFacts, later: tuple[RevisionFacts, ...]) -> RevisionFacts | None:
    """Return the first revision with another JSONPath, or a new chance, after one that failed."""
    from_failure = dropwhile(lambda each: not each.is_unmatched, (then, *later))
    return next(dropwhile(lambda each: each.is_unmatched, from_failure), None)


def _used_for_delivery(
    facts: PairFacts, delivery: DeliveryFacts, result_of: Callable[[str], TraceResult]
) -> RevisionFacts | None:
    """Return what the subscription was when it was found that the event matches."""
    then = facts.then
    if then is None or _is_over_budget(delivery):
        return then
    if then.is_unmatched or result_of(then.jsonpath) in _FAILED:
        return _corrected(then, facts.later) or then
    return then


def _of_delivery(
    delivery: DeliveryFacts, subscription: SubscriptionFacts
) -> tuple[Reason, _Verdicts]:
    reason = delivery_reason(
        delivery.state,
        attempts=delivery.attempts,
        failing=delivery.failing,
        status=delivery.status,
        policy_status=delivery.policy_status,
        is_disabled=subscription.disabled is not None,
    )
    if _is_over_budget(delivery):
        return reason, _STOPPED_AT_MATCHING
    was_allowed = delivery.policy_status.startswith("2")
    match delivery.state:
        case State.MATCHED:
            policy, sending = _WAITING, _NOT_REACHED
        case State.HELD:
            policy, sending = (_PASSED, _WAITING) if was_allowed else (_WAITING, _NOT_REACHED)
        case State.DENIED:
            policy, sending = _STOPPED, _NOT_REACHED
        case State.ALLOWED | State.COLLECTED | State.AVAILABLE:
            policy, sending = _PASSED, _WAITING
        case State.DELIVERED:
            policy, sending = _PASSED, _PASSED
        case _:
            policy, sending = (_PASSED if was_allowed else _NOT_REACHED), _STOPPED
    return reason, (_PASSED, _PASSED, _PASSED, policy, sending)


def _is_over_budget(delivery: DeliveryFacts) -> bool:
    return delivery.state is State.FAILED and not (delivery.policy_status or delivery.status)


def _times(facts: PairFacts) -> dict[StepName, datetime | None]:
    """Return when the steps were passed or stopped the event."""
    times = {StepName.RECEIVED: facts.event.received, StepName.SETTLED: facts.event.settled}
    if (delivery := facts.delivery) is None:
        return times
    is_denied = delivery.state is State.DENIED
    return {
        **times,
        StepName.MATCHED: delivery.created,
        # Policy is asked just before the first attempt.
        StepName.POLICY: delivery.updated if is_denied else delivery.sent,
        StepName.DELIVERY: delivery.updated,
    }


def _result(verdicts: _Verdicts) -> Result:
    if verdicts[-1] is _PASSED:
        return Result.DELIVERED
    return Result.WAITING if _WAITING in verdicts else Result.NOT_DELIVERED


def _hint(reason: Reason, facts: PairFacts) -> str:
    error = facts.subscription.error
    if reason in (Reason.HELD, Reason.EXPRESSION_ERROR) and error:
        return f"{MEANINGS[reason].action} Its error: {error}"
    return MEANINGS[reason].action


def _hints(conditions: tuple[ConditionTrace, ...]) -> Iterator[str]:
    for condition in conditions:
        yield from _hints(condition.parts)
        if condition.hint is not None:
            yield condition.hint
