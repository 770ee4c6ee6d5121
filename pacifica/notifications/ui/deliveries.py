"""The screens of a subscription's deliveries: the list with its filters, one of them, and tests."""

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode
from uuid import uuid4

from pacifica.notifications.errors import InvalidInput
from pacifica.notifications.flow import State
from pacifica.notifications.rest import deliveries, testdelivery
from pacifica.notifications.rest.access import Access, require_owned, require_readable
from pacifica.notifications.rest.errors import ApiError
from pacifica.notifications.rest.segments import uuid_of
from pacifica.notifications.stages.replay import REPLAYED_STATES
from pacifica.notifications.ui.delivery_words import (
    STATE_WORDS,
    as_input,
    attempt_words,
    delivery_shown,
    status_words,
)
from pacifica.notifications.ui.event_tree import EventTree, tree_of
from pacifica.notifications.ui.screens import ANY, Page, Redirect, Route, Visit
from pacifica.notifications.ui.wording import host_of

_LIMIT: Final = "50"
FILTERS: Final[tuple[str, ...]] = ("state", "type", "status", "from", "to")
STATUSES: Final = {
    "2xx": "2xx: taken",
    "3xx": "3xx: moved",
    "4xx": "4xx: refused",
    "5xx": "5xx: receiver failed",
}


def show(visit: Visit, subscription: str) -> Page:
    """Show a page of a subscription's deliveries, newest first."""
    access = require_readable(subscription, "deliveries read")
    wanted = {name: visit.query[name] for name in (*FILTERS, "cursor") if visit.query.get(name)}
    problems: dict[str, str] = {}
    try:
        found = deliveries.page_of(access, {"limit": _LIMIT, **wanted})
    except InvalidInput as error:
        problems = {name: f"{said[:1].upper()}{said[1:]}." for name, said in error.problems}
        found = {"items": [], "next": None}
    kept = {name: wanted[name] for name in FILTERS if name in wanted}
    following = found["next"] and urlencode({**kept, "cursor": found["next"]})
    return Page(
        "deliveries.html",
        {
            **about(access),
            "tab": "deliveries",
            "rows": [{**each, "shown": delivery_shown(each)} for each in found["items"]],
            "problems": problems,
            "filters": kept,
            "moments": {name: as_input(kept.get(name, "")) for name in ("from", "to")},
            "states": [
                (str(state), word)
                for state, word in STATE_WORDS.items()
                if state is not State.DENIED or not access.is_owner
            ],
            "statuses": STATUSES,
            "first": urlencode(kept),
            "is_first": "cursor" not in wanted,
            "next": following,
            "replay": _replay_of(access, kept),
            "status_words": status_words,
        },
        400 if problems else 200,
    )


def show_one(visit: Visit, subscription: str, delivery: str) -> Page:
    """Show a delivery with its attempts and its event."""
    uuid = uuid_of(delivery)
    access = require_readable(subscription, "delivery read")
    found = deliveries.one_of(access, uuid)
    content = found["content"]
    return Page(
        "delivery.html",
        {
            **about(access),
            "tab": "deliveries",
            "delivery": found,
            "shown": delivery_shown(found),
            "attempts": [attempt_words(each, content) for each in found["attempts"][::-1]],
            "tree": _tree(content),
            "content": None if content is None else _written(content),
            "is_resent": visit.query.get("done") == "resent",
        },
    )


def resend(visit: Visit, subscription: str, delivery: str) -> Redirect:  # noqa: ARG001
    """Have a delivery sent again, and show it."""
    uuid = uuid_of(delivery)
    access = require_owned(subscription)
    deliveries.resend(access, uuid)
    return Redirect(f"subscriptions/{access.uuid}/deliveries/{uuid}?done=resent")


def try_target(visit: Visit, subscription: str) -> Page:  # noqa: ARG001
    """Send an event to the target now, and show what it answers."""
    access = require_owned(subscription)
    attempt = problem = None
    try:
        attempt = testdelivery.send_test(access)
    except InvalidInput as error:
        problem = str(error)
    except ApiError as error:
        if error.code == 403:
            raise
        problem = error._message
    return Page(
        "target_test.html",
        {
            **about(access),
            "tab": "test",
            "origin": attempt and attempt["event"],
            "attempt": attempt and attempt_words(attempt),
            "problem": problem and f"{problem[:1].upper()}{problem[1:]}.",
        },
    )


def ask_to_try(visit: Visit, subscription: str) -> Page:  # noqa: ARG001
    """Say what trying the target does."""
    access = require_owned(subscription)
    values = {"tab": "test", "origin": None, "attempt": None, "problem": None}
    return Page("target_test.html", {**about(access), **values})


ROUTES: Final = (
    Route("GET", f"subscriptions/{ANY}/deliveries", show),
    Route("GET", f"subscriptions/{ANY}/deliveries/{ANY}", show_one),
    Route("POST", f"subscriptions/{ANY}/deliveries/{ANY}/resend", resend),
    Route("GET", f"subscriptions/{ANY}/test", ask_to_try),
    Route("POST", f"subscriptions/{ANY}/test", try_target),
)


def about(access: Access) -> dict[str, Any]:
    """Return what every screen of a subscription says of it."""
    return {
        "here": "subscriptions" if access.is_owner else "operators",
        "subscription": access.subscription,
        "host": host_of(access.subscription["target_url"]),
        "is_owner": access.is_owner,
    }


def _replay_of(access: Access, filters: Mapping[str, str]) -> dict[str, str] | None:
    """Return the form of a replay of what the filters show; None if that cannot be replayed."""
    state = filters.get("state")
    if state is not None and state not in REPLAYED_STATES:
        return None
    only = {name: filters[name] for name in ("to", "type", "status") if name in filters}
    return {
        **only,
        **({} if state is None else {"delivery_state": state}),
        "from": filters.get("from") or access.subscription["created"],
        "mode": "all",
        "match": "then",
        "key": str(uuid4()),
    }


def _tree(content: Any) -> EventTree | None:
    return tree_of(content, None, ()) if isinstance(content, dict) else None


def _written(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False)
