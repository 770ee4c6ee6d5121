"""The screens of operators: how the service is doing, others' subscriptions, and the audit log."""

from itertools import groupby
from typing import Any, Final
from urllib.parse import urlencode

from pacifica.notifications.errors import InvalidInput
from pacifica.notifications.rest import audit, operating
from pacifica.notifications.rest.access import require_operator
from pacifica.notifications.rest.segments import uuid_of
from pacifica.notifications.store.monitoring import MAX_COUNTED
from pacifica.notifications.store.operating import HOURS, MAX_DISABLED
from pacifica.notifications.ui.plots import backlog, columns, questions, seconds_words
from pacifica.notifications.ui.screens import ANY, Page, Redirect, Route, Visit
from pacifica.notifications.ui.wording import reason_of

_MAX_USER: Final = 255
_LISTED: Final = "50"
_DONE: Final = {
    "paused": "The subscription is paused, and its owner sees that an operator did it.",
    "enabled": "The subscription is enabled. What was kept for it is being sent.",
}
# A worker has to have renewed its row, an event to be matched, within so many seconds.
_LATE: Final = 60.0


def show(visit: Visit) -> Page:
    """Show how the service is doing."""
    return _page(visit, None)


def ask(visit: Visit) -> Page:
    """Ask Policy now, and show whether it answers."""
    return _page(visit, operating.ask_policy())


def show_user(visit: Visit) -> Page:
    """Show the subscriptions of a user."""
    require_operator()
    wanted = visit.query.get("user", "").strip()[:_MAX_USER]
    return Page(
        "operators_user.html",
        {
            "here": "operators",
            "wanted": wanted,
            "rows": operating.subscriptions_of(wanted) if wanted else [],
            "done": _DONE.get(visit.query.get("done", "")),
            "reason_of": reason_of,
            "paused": operating.PAUSED,
        },
    )


def pause(visit: Visit, subscription: str) -> Redirect:
    """Pause anybody's subscription."""
    operating.pause(uuid_of(subscription))
    return _back(visit, "paused")


def enable(visit: Visit, subscription: str) -> Redirect:
    """Enable anybody's subscription."""
    operating.enable(uuid_of(subscription))
    return _back(visit, "enabled")


def show_audit(visit: Visit) -> Page:
    """Show a page of the audit log, newest first."""
    operator = require_operator()
    cursor = visit.query.get("cursor", "")
    try:
        found = audit.page_of(
            operator, {"limit": _LISTED, **({"cursor": cursor} if cursor else {})}
        )
    except InvalidInput:
        return Page("audit.html", {"here": "operators", "rows": [], "next": None, "first": False})
    return Page(
        "audit.html",
        {
            "here": "operators",
            "rows": found["items"],
            "next": found["next"],
            "first": not cursor,
        },
    )


ROUTES: Final = (
    Route("GET", "operators", show),
    Route("POST", "operators/policy", ask),
    Route("GET", "operators/subscriptions", show_user),
    Route("POST", f"operators/subscriptions/{ANY}/pause", pause),
    Route("POST", f"operators/subscriptions/{ANY}/enable", enable),
    Route("GET", "operators/audit", show_audit),
)


def _back(visit: Visit, done: str) -> Redirect:
    """Return to the page that the form was on: of one user, or of all."""
    if user := visit.form.get("user", ""):
        from_user = urlencode({"user": user, "done": done})
        return Redirect(f"operators/subscriptions?{from_user}")
    return Redirect(f"operators?done={done}")


def _page(visit: Visit, asked: operating.PolicyAnswer | None) -> Page:
    found, operation = operating.overview()
    by_user = sorted(operation.disabled, key=lambda each: each.user)
    disabled = [
        (user, sorted(each, key=lambda one: one.since))
        for user, each in groupby(by_user, key=lambda one: one.user)
    ]
    return Page(
        "operators.html",
        {
            "here": "operators",
            "found": found,
            "facts": _facts(found, len(operation.workers)),
            "backlog": backlog(found),
            "columns": columns(operation.slots),
            "questions": questions(found.totals),
            "policy": operation.policy,
            "asked": asked,
            "targets": operation.targets,
            "disabled": disabled,
            "has_more_disabled": len(operation.disabled) == MAX_DISABLED,
            "workers": operation.workers,
            "hours": HOURS,
            "max_counted": MAX_COUNTED,
            "done": _DONE.get(visit.query.get("done", "")),
            "reason_of": reason_of,
        },
    )


def _facts(found: Any, workers: int) -> list[tuple[str, str, str]]:
    """Return what matters most, each with the shape of its icon."""
    return [
        (
            "Oldest event that is due",
            seconds_words(found.oldest_event),
            "warning" if found.oldest_event > _LATE else "yes",
        ),
        (
            "Oldest delivery that is due",
            seconds_words(found.oldest_delivery),
            "warning" if found.oldest_delivery > _LATE else "yes",
        ),
        ("Worker processes alive", str(workers), "yes" if workers else "disabled"),
        (
            "Events that keep failing",
            f"{found.events_failing:,}",
            "warning" if found.events_failing else "yes",
        ),
    ]
