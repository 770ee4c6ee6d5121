"""The attempts of deliveries: each request to a target, as it happened."""

from collections.abc import Iterable
from typing import Any

from pacifica.notifications.flow import AttemptOutcome, Outcome
from pacifica.notifications.orm import Attempt, insert_rows


def record_attempts(outcomes: Iterable[Outcome]) -> None:
    """Store the requests behind outcomes, in the transaction that records these."""
    rows = [_row(each) for each in outcomes if each.attempt is not None]
    insert_rows(Attempt, rows, unless_stored=True)


def attempt_outcome(outcome: Outcome) -> AttemptOutcome:
    """Return what became of the request behind an outcome."""
    if outcome.delivered:
        return AttemptOutcome.DELIVERED
    if outcome.given_up:
        return AttemptOutcome.GIVEN_UP
    return AttemptOutcome.RETRYING if outcome.error is None else AttemptOutcome.DISABLED


def _row(outcome: Outcome) -> dict[str, Any]:
    made, delivery = outcome.attempt, outcome.delivery
    assert made is not None  # noqa: S101 for the type checker
    result = attempt_outcome(outcome)
    is_retried = result is AttemptOutcome.RETRYING
    return {
        "delivery": delivery.uuid,
        "started": made.started,
        "number": delivery.tries + 1,
        "milliseconds": made.milliseconds,
        "cause": delivery.cause,
        "url": made.url,
        "address": made.address,
        "request": made.request,
        "status": made.status,
        "response": made.response,
        "body": made.body,
        "truncated": made.truncated,
        "outcome": result,
        "next_attempt": outcome.due if is_retried else outcome.probe_due,
    }
