"""Why an event did or did not reach a subscription, judged from what is on record."""

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from pacifica.notifications.explanation import (
    DeferralFacts,
    DeliveryFacts,
    EventFacts,
    Explanation,
    PairFacts,
    RevisionFacts,
    Step,
    StepName,
    SubscriptionFacts,
    explain,
    first_hint,
)
from pacifica.notifications.flow import State
from pacifica.notifications.matching import TraceResult, trace_jsonpath
from pacifica.notifications.reasons import MEANINGS, Reason

CAME = datetime(2026, 1, 31, 12)
LATER = CAME + timedelta(seconds=5)
EVENT = EventFacts(UUID(int=1), CAME, CAME, is_dispatched=True, revision=7)
SUBSCRIPTION = SubscriptionFacts(UUID(int=2), CAME - timedelta(days=1), None, None, None)
THEN = RevisionFacts(
    5, "$.then", is_disabled=False, is_holding=False, is_unmatched=False, is_deleted=False
)
BROKEN = replace(THEN, revision=8, is_disabled=True, is_holding=True, is_unmatched=True)
CORRECTED = replace(THEN, revision=9, jsonpath="$.corrected")
OFF = replace(THEN, revision=9, is_disabled=True)
FACTS = PairFacts(EVENT, SUBSCRIPTION, THEN)
DELIVERY = DeliveryFacts(
    UUID(int=3), State.DELIVERED, CAME, LATER, None, 1, None, 1, "200", "200", CAME
)


def judged(facts: PairFacts, **results: TraceResult) -> Explanation:
    """Explain, where the JSONPaths give these results; `then` and `corrected` are their names."""
    return explain(facts, lambda jsonpath: results[jsonpath.removeprefix("$.")])


def not_asked(jsonpath: str) -> TraceResult:
    raise AssertionError(f"{jsonpath} need not be tried")


def verdicts(found: Explanation) -> str:
    """Return the first letters of the verdicts: passed, stopped, waiting, not reached."""
    return "".join(each.verdict[0] for each in found.steps)


@pytest.mark.parametrize(
    ("facts", "reason", "steps"),
    [
        (replace(FACTS, event=replace(EVENT, settled=None)), Reason.UNSETTLED, "pwnnn"),
        (
            replace(FACTS, event=replace(EVENT, settled=None, never_settled=True)),
            Reason.UNSETTLED,
            "psnnn",
        ),
        (
            replace(FACTS, event=replace(EVENT, is_dispatched=False, revision=None), then=None),
            Reason.AWAITING_DISPATCH,
            "ppwnn",
        ),
        (
            replace(FACTS, then=None, subscription=replace(SUBSCRIPTION, created=LATER)),
            Reason.SUBSCRIPTION_YOUNGER,
            "ppsnn",
        ),
        (replace(FACTS, then=None), Reason.UNRECORDED, "ppsnn"),
        (replace(FACTS, then=replace(THEN, is_deleted=True)), Reason.SUBSCRIPTION_DELETED, "ppsnn"),
        (replace(FACTS, then=OFF), Reason.DISABLED_BY_OWNER, "ppsnn"),
        (
            replace(FACTS, deferral=DeferralFacts(CAME, parked=True)),
            Reason.EXPRESSION_ERROR,
            "ppwnn",
        ),
        (replace(FACTS, deferral=DeferralFacts(CAME, parked=False)), Reason.OVER_BUDGET, "ppwnn"),
        (
            replace(
                FACTS,
                deferral=DeferralFacts(CAME, parked=True),
                subscription=replace(SUBSCRIPTION, deleted=LATER),
            ),
            Reason.SUBSCRIPTION_DELETED,
            "ppsnn",
        ),
        (replace(FACTS, then=BROKEN), Reason.EXPIRED, "ppsnn"),
        (replace(FACTS, then=BROKEN, later=(OFF,)), Reason.DISABLED_BY_OWNER, "ppsnn"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_reason_without_a_delivery_is_told_without_trying_the_jsonpath(
    facts: PairFacts, reason: Reason, steps: str
) -> None:
    found = explain(facts, not_asked)
    assert (found.reason, verdicts(found)) == (reason, steps)
    assert found.hint == MEANINGS[reason].action
    assert found.result == ("waiting" if "w" in steps else "not delivered")


def test_event_that_the_jsonpath_of_that_time_does_not_match_is_no_match() -> None:
    found = judged(replace(FACTS, later=(CORRECTED,)), then=TraceResult.NO_MATCH)
    assert (found.reason, found.revision) == (Reason.NO_MATCH, THEN)


def test_event_that_ought_to_have_matched_is_not_explained_by_a_guess() -> None:
    assert judged(FACTS, then=TraceResult.MATCH).reason is Reason.UNRECORDED
    deleted = replace(FACTS, subscription=replace(SUBSCRIPTION, deleted=LATER))
    assert judged(deleted, then=TraceResult.MATCH).reason is Reason.SUBSCRIPTION_DELETED


@pytest.mark.parametrize("failure", [TraceResult.ERROR, TraceResult.OVER_BUDGET])
def test_corrected_jsonpath_counts_when_the_one_of_that_time_failed(failure: TraceResult) -> None:
    facts = replace(FACTS, later=(BROKEN, BROKEN, CORRECTED, THEN))
    found = judged(facts, then=failure, corrected=TraceResult.NO_MATCH)
    assert (found.reason, found.revision) == (Reason.NO_MATCH, CORRECTED)
    delivered = replace(facts, delivery=DELIVERY)
    assert judged(delivered, then=failure).revision is CORRECTED


def test_jsonpath_that_failed_on_a_later_event_counts_for_the_earlier_one() -> None:
    found = judged(replace(FACTS, later=(BROKEN, CORRECTED)), then=TraceResult.NO_MATCH)
    assert found.revision is THEN


def test_trial_that_ends_early_says_no_more_than_that_the_event_did_not_match() -> None:
    assert judged(FACTS, then=TraceResult.OVER_BUDGET).reason is Reason.NO_MATCH


@pytest.mark.parametrize(
    ("changes", "reason", "steps"),
    [
        ({}, Reason.DELIVERED, "ppppp"),
        ({"state": State.MATCHED, "policy_status": ""}, Reason.AWAITING_POLICY, "pppwn"),
        (
            {"state": State.MATCHED, "policy_status": "500", "failing": CAME},
            Reason.POLICY_AWAY,
            "pppwn",
        ),
        ({"state": State.ALLOWED, "status": ""}, Reason.SENDING, "ppppw"),
        ({"state": State.ALLOWED, "failing": CAME}, Reason.RETRYING, "ppppw"),
        ({"state": State.HELD, "status": "404"}, Reason.HELD, "ppppw"),
        ({"state": State.HELD, "policy_status": "500"}, Reason.POLICY_AWAY, "pppwn"),
        ({"state": State.DENIED, "policy_status": "412"}, Reason.POLICY_DENIED, "pppsn"),
        ({"state": State.EXPIRED}, Reason.EXPIRED, "pppps"),
        ({"state": State.EXPIRED, "policy_status": ""}, Reason.EXPIRED, "pppns"),
        ({"state": State.DROPPED}, Reason.DROPPED, "pppps"),
        ({"state": State.FAILED, "status": "508"}, Reason.LOOP, "pppps"),
        ({"state": State.FAILED, "status": ""}, Reason.UNDELIVERABLE, "pppps"),
        (
            {"state": State.FAILED, "status": "", "policy_status": ""},
            Reason.OVER_BUDGET,
            "ppsnn",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_delivery_tells_where_it_is(changes: dict[str, object], reason: Reason, steps: str) -> None:
    facts = replace(FACTS, delivery=replace(DELIVERY, **changes))  # type: ignore[arg-type]
    found = judged(facts, then=TraceResult.MATCH)
    assert (found.reason, verdicts(found)) == (reason, steps)


def test_what_is_held_for_a_disabled_subscription_is_held_whatever_policy_said() -> None:
    off = replace(SUBSCRIPTION, disabled=CAME, error="status 404")
    held = replace(DELIVERY, state=State.HELD, policy_status="")
    found = judged(replace(FACTS, subscription=off, delivery=held), then=TraceResult.MATCH)
    assert found.reason is Reason.HELD
    assert found.hint.endswith("Its error: status 404")


def test_steps_have_the_times_that_are_on_record() -> None:
    found = judged(replace(FACTS, delivery=DELIVERY), then=TraceResult.MATCH)
    assert [each.name for each in found.steps] == list(StepName)
    assert [each.time for each in found.steps] == [CAME, CAME, CAME, CAME, LATER]
    held = replace(DELIVERY, state=State.HELD)
    waiting = judged(replace(FACTS, delivery=held), then=TraceResult.MATCH)
    assert waiting.steps[-1] == Step(StepName.DELIVERY, waiting.steps[-1].verdict, None)


def test_first_hint_is_of_the_part_that_lets_nothing_through() -> None:
    trace = trace_jsonpath('$.data[*][?(@.value = "54")]', {"data": [{"value": 54}]})
    hint = first_hint(trace)
    assert hint is not None
    assert "the number 54" in hint
    assert first_hint(trace_jsonpath("$.data", {"data": 1})) is None


def test_every_reason_has_a_meaning_and_says_what_its_owner_can_do() -> None:
    assert set(MEANINGS) == set(Reason)
    for each in MEANINGS.values():
        assert each.meaning.endswith(".")
        assert each.action.endswith(".")
