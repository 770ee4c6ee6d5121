"""What operators do for others: see how the service is doing, and enable or pause subscriptions."""

import time
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from pacifica.notifications.clock import utcnow
from pacifica.notifications.errors import PolicyUnavailable
from pacifica.notifications.rest.access import not_found, require_operator
from pacifica.notifications.rest.context import context
from pacifica.notifications.store import audit, subscriptions
from pacifica.notifications.store.monitoring import Snapshot, snapshot
from pacifica.notifications.store.operating import Operation, operation

#: How the error of a subscription begins that an operator paused.
PAUSED: Final = "Paused by an operator"
_LISTED: Final = 50


@dataclass(frozen=True)
class PolicyAnswer:
    """Whether Policy answered a question just now, and how long that took (milliseconds)."""

    answers: bool
    milliseconds: int


def overview() -> tuple[Snapshot, Operation]:
    """Return how the service is doing, for operators (403); that they looked is in the log."""
    operator = require_operator()
    found = snapshot(), operation()
    audit.record(operator, "operators' page read", operator)
    return found


def ask_policy() -> PolicyAnswer:
    """Ask Policy a question that nobody's event is in, for operators (403).

    It waits for Policy within its time-outs.
    """
    operator = require_operator()
    started = time.monotonic()
    try:
        context().app.visibility.require_policy(operator)
        answers = True
    except PolicyUnavailable:
        answers = False
    return PolicyAnswer(answers, round((time.monotonic() - started) * 1000))


def subscriptions_of(user: str) -> list[dict[str, Any]]:
    """Return a user's oldest subscriptions without their credentials, for operators (403)."""
    operator = require_operator()
    audit.record(operator, "subscriptions read", user)
    page = subscriptions.page_of_user(user, _LISTED)
    return [{**each, "auth": {}} for each in page.subscriptions]


def pause(uuid: UUID) -> dict[str, Any]:
    """Disable anybody's subscription, for operators (403), and return it."""
    reason = f"{PAUSED}, {require_operator()}"
    return _change(uuid, {"disabled": utcnow(), "error": reason})


def enable(uuid: UUID) -> dict[str, Any]:
    """Enable anybody's subscription, for operators (403), and return it; what is held is sent."""
    return _change(uuid, {"disabled": None})


def _change(uuid: UUID, changes: dict[str, Any]) -> dict[str, Any]:
    operator = require_operator()
    stored = subscriptions.one_of_anybody(uuid)
    if stored is None:
        raise not_found()
    changed = subscriptions.update(
        stored["user"], uuid, lambda _stored: dict(changes), actor=operator
    )
    if changed is None:  # it was deleted a moment ago
        raise not_found()
    return {**changed, "auth": {}}
