"""Which event a caller means, of those that the caller may see now."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cherrypy

from pacifica.notifications.errors import PolicyUnavailable
from pacifica.notifications.rest.access import Access, not_found
from pacifica.notifications.rest.context import context
from pacifica.notifications.rest.request import require_known
from pacifica.notifications.store.eventsearch import FoundEvent, events_named

_READING: Final = ("GET", "HEAD")


@dataclass(frozen=True)
class Sighting:
    """An event that a caller asks about.

    `count` is how many events that the caller may know of have the same id or transaction, this one
    among them. `is_readable` tells whether the caller may see its content.
    """

    event: FoundEvent
    count: int
    is_readable: bool


def seen_by(user: str, name: str) -> Sighting:
    """Return the newest event of this id or transaction that a user may see.

    Refuses (403) an event that is unknown and one that Policy denies alike; raises
    PolicyUnavailable for both.
    """
    visibility = context().app.visibility
    visibility.require_policy(user)
    found = events_named(name)
    if not found:
        visibility.ask_about_nothing(user, name)
        raise not_found()
    allowed = visibility.allowed(user, [each.uuid for each in found])
    visible = [each for each in found if each.uuid in allowed]
    if not visible:
        raise not_found()
    return Sighting(visible[0], len(visible), is_readable=True)


def seen_with(access: Access, name: str) -> Sighting:
    """Return the event as `seen_by` for an owner; operators know of every event."""
    if access.is_owner:
        return seen_by(access.caller, name)
    found = events_named(name)
    if not found:
        raise not_found()
    return Sighting(found[0], len(found), _is_readable(access, found))


def name_of(segments: int) -> str:
    """Return what follows so many segments of the path: the id of an event may have slashes."""
    parts = cherrypy.request.path_info.lstrip("/").split("/", segments)
    return str(parts[segments]) if len(parts) > segments else ""


def require_reading(segments: int, *, parameters: Sequence[str] = (), alone: bool = False) -> None:
    """Refuse an unknown path, method or parameter of what has an event's id in its path.

    The id follows `segments` segments. If `alone`, the path may also end there, and then has these
    query parameters.
    """
    length = len([part for part in cherrypy.request.path_info.split("/") if part])
    known: dict[int, tuple[str, ...]] = {segments: _READING} if alone else {}
    if length > segments:
        known[length] = _READING
    require_known(known or {segments + 1: _READING}, parameters)


def _is_readable(access: Access, found: Sequence[FoundEvent]) -> bool:
    try:
        return bool(access.allowed([found[0].uuid]))
    except PolicyUnavailable:
        return False
