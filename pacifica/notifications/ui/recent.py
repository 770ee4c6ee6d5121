"""Real events for the workbench, as far as the reader may see them now."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pacifica.notifications.errors import InvalidInput, PolicyUnavailable
from pacifica.notifications.rest import events
from pacifica.notifications.rest.context import context
from pacifica.notifications.rest.errors import ApiError

_LISTED: Final = "10"
_MAX_NAME = 2048
_AWAY = "Policy cannot say now which events you may see. Try again soon."
_UNKNOWN = "There is no such event that you may see."


@dataclass(frozen=True)
class Recent:
    """The newest events, of which one can be taken; `wanted` is the id or transaction looked for.

    `is_asked` tells that the reader has asked for them.
    """

    wanted: str = ""
    events: tuple[Mapping[str, Any], ...] = ()
    is_asked: bool = False
    problem: str = ""


def recent_of(user: str, form: Mapping[str, str]) -> Recent:
    """Return the newest events if a button asks for them."""
    wanted = form.get("wanted", "").strip()[:_MAX_NAME]
    if "recent" not in form:
        return Recent(wanted)
    try:
        with context().searches.admitted(user):
            query = {"limit": _LISTED, **({"q": wanted} if wanted else {})}
            return Recent(wanted, tuple(events.page_of(user, query)["items"]), True)
    except PolicyUnavailable:
        return Recent(wanted, problem=_AWAY)
    except InvalidInput:
        return Recent(wanted, problem=_UNKNOWN)


def event_text(user: str, name: str) -> tuple[str, str]:
    """Return the text of an event that the user may see, and what is wrong if there is none."""
    try:
        with context().searches.admitted(user):
            content = events.content_of(user, name[:_MAX_NAME])
    except PolicyUnavailable:
        return "", _AWAY
    except ApiError as error:
        if error.code != 403:
            raise
        return "", _UNKNOWN
    return ("", _UNKNOWN) if content is None else (json.dumps(content, ensure_ascii=False), "")
