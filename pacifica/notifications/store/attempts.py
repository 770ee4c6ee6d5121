"""The attempts of deliveries: each request to a target, as it happened."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from pacifica.notifications.flow import AttemptOutcome, Outcome
from pacifica.notifications.orm import Attempt, EventLogMatch, insert_rows, writing
from pacifica.notifications.store.rowlocks import one_of

# How many attempts one transaction looks at.
_ROWS = 1000


def record_attempts(outcomes: Iterable[Outcome]) -> None:
    """Store the requests behind outcomes, in the transaction that records these."""
    rows = [_row(each) for each in outcomes if each.attempt is not None]
    insert_rows(Attempt, rows, unless_stored=True)


def delete_deliveries(uuids: Collection[UUID]) -> None:
    """Delete deliveries, which the caller's transaction has locked, with their attempts."""
    Attempt.delete().where(one_of(Attempt.delivery, uuids)).execute()
    EventLogMatch.delete().where(one_of(EventLogMatch.uuid, uuids)).execute()


@writing
def forget_details(before: datetime, after: datetime | None) -> datetime | None:
    """Remove headers and bodies of some attempts before a time, oldest first, after another time.

    Returns up to which time it is done; None if it is done up to `before`.
    """
    rows: Any = Attempt.select(Attempt.delivery, Attempt.started).where(Attempt.started < before)
    if after is not None:
        rows = rows.where(Attempt.started >= after)
    found = list(rows.order_by(Attempt.started).limit(_ROWS).tuples())
    if found:
        Attempt.update(request="", response="", body="").where(
            Attempt.started.between(found[0][1], found[-1][1]),
            Attempt.delivery.in_([delivery for delivery, _started in found]),
            Attempt.request != "",
        ).execute()
    return found[-1][1] if len(found) == _ROWS and found[-1][1] != after else None


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
