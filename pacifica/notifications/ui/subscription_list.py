"""The screen of all subscriptions: how each is doing, and what is to be done about it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pacifica.notifications.clock import utcnow
from pacifica.notifications.rest import eventmatch, paging
from pacifica.notifications.rest.segments import uuid_of
from pacifica.notifications.store.overview import Overview, Place, Standing, overview_of
from pacifica.notifications.ui.screens import ANY, Page, Redirect, Route, Visit
from pacifica.notifications.ui.wording import Chart, StateShown, chart_of, host_of, state_shown

_PAGE: Final = 30
# In which order subscriptions of one page are shown.
_URGENCY: Final = {Standing.DISABLED: 0, Standing.FAILING: 1}
# What the list says after a change.
_DONE: Final = {
    "created": "The subscription was created. It gets every new event that matches.",
    "changed": "Your changes were saved.",
    "paused": "The subscription is paused. Events that match meanwhile are not sent later.",
    "enabled": "The subscription is enabled. What was kept for it is being sent.",
    "deleted": "The subscription was deleted.",
}


@dataclass(frozen=True)
class Row:
    """A subscription as the list shows it."""

    uuid: str
    name: str
    jsonpath: str
    host: str
    target_url: str
    standing: str
    state: StateShown
    delivered: datetime | None
    chart: Chart


def show(visit: Visit) -> Page:
    """Show a page of the user's subscriptions, those that need their owner first."""
    after = _place(visit.query["after"]) if "after" in visit.query else None
    found = overview_of(visit.user, _PAGE, after)
    ordered = sorted(found.subscriptions, key=lambda each: _URGENCY.get(each.standing, 2))
    rows = [_row(each) for each in ordered]
    return Page(
        "subscriptions.html",
        {
            "here": "subscriptions",
            "rows": rows,
            "needing": sum(each.standing == Standing.DISABLED for each in rows),
            "failing": sum(each.standing == Standing.FAILING for each in rows),
            "is_first": after is None,
            "all_counted": found.all_counted,
            "next": None if found.last is None else _cursor(found.last),
            "done": _DONE.get(visit.query.get("done", "")),
        },
    )


def pause(visit: Visit, subscription: str) -> Redirect:
    """Disable a subscription on behalf of its owner."""
    body = {"disabled": utcnow().isoformat()}
    eventmatch.change(visit.user, uuid_of(subscription), body)
    return Redirect("?done=paused")


def enable(visit: Visit, subscription: str) -> Redirect:
    """Enable a subscription; what is held for it is sent."""
    eventmatch.change(visit.user, uuid_of(subscription), {"disabled": None})
    return Redirect("?done=enabled")


def ask_to_delete(visit: Visit, subscription: str) -> Page:
    """Ask whether a subscription is to be deleted."""
    stored = eventmatch.read(visit.user, uuid_of(subscription))
    host = host_of(stored["target_url"])
    return Page("delete.html", {"here": "subscriptions", "subscription": stored, "host": host})


def delete(visit: Visit, subscription: str) -> Redirect:
    """Delete a subscription."""
    eventmatch.delete(visit.user, uuid_of(subscription))
    return Redirect("?done=deleted")


ROUTES: Final = (
    Route("GET", "", show),
    Route("POST", f"subscriptions/{ANY}/pause", pause),
    Route("POST", f"subscriptions/{ANY}/enable", enable),
    Route("GET", f"subscriptions/{ANY}/delete", ask_to_delete),
    Route("POST", f"subscriptions/{ANY}/delete", delete),
)


def _row(overview: Overview) -> Row:
    subscription = overview.subscription
    return Row(
        subscription["uuid"],
        subscription["name"],
        subscription["jsonpath"],
        host_of(subscription["target_url"]),
        subscription["target_url"],
        overview.standing,
        state_shown(overview),
        overview.delivered,
        chart_of(overview.hours),
    )


def _cursor(place: Place) -> str:
    return f"{int(place.needs_owner)}-{paging.cursor(place.position)}"


def _place(text: str) -> Place:
    """Return the place that a cursor stands for; raises InvalidInput."""
    needs_owner, _, cursor = text.partition("-")
    return Place(needs_owner == "1", paging.position(cursor))
