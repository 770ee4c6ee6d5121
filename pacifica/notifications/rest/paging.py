"""The parameters and the answers of lists that are read page by page, newest first."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import cherrypy
from cherrypy.lib.httputil import parse_query_string

from pacifica.notifications.errors import InvalidInput
from pacifica.notifications.store.position import Position

#: The query parameters that every list has.
PARAMETERS: Final = ("limit", "cursor", "from", "to")
MAX_LIMIT: Final = 200
_DEFAULT_LIMIT = 50
# The time in microseconds and the id of the last row of a page.
_CURSOR = re.compile("[0-9]{1,16}-[0-9a-f]{32}")
_EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True)
class PageRequest:
    """Which page of a list is asked for; times are naive UTC, and `end` is not included."""

    limit: int
    after: Position | None
    start: datetime | None
    end: datetime | None


def query() -> dict[str, Any]:
    """Return the query parameters of the current request; one that is repeated is a list."""
    found: dict[str, Any] = parse_query_string(cherrypy.request.query_string)
    return found


def page_request(parameters: Mapping[str, Any]) -> PageRequest:
    """Return which page the parameters ask for; raises InvalidInput that names the parameter."""
    start, end = (_moment(parameters, name) for name in ("from", "to"))
    if start is not None and end is not None and start >= end:
        raise InvalidInput(("to", "must be later than from"))
    after = position(parameters["cursor"]) if "cursor" in parameters else None
    return PageRequest(limit_of(parameters), after, start, end)


def limit_of(parameters: Mapping[str, Any]) -> int:
    """Return how many rows a page has; raises InvalidInput."""
    return page_limit(parameters.get("limit", str(_DEFAULT_LIMIT)))


def page(items: Sequence[Any], last: Position | None) -> dict[str, Any]:
    """Return a page as it is answered; `last` is its last row, and None if no others follow."""
    return {"items": list(items), "next": None if last is None else cursor(last)}


def page_limit(text: Any) -> int:
    """Return how many rows a page may have; raises InvalidInput."""
    if isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) < 9:
        limit = int(text)
        if 1 <= limit <= MAX_LIMIT:
            return limit
    raise InvalidInput(("limit", f"must be a whole number from 1 to {MAX_LIMIT}, given once"))


def cursor(last: Position) -> str:
    """Return the cursor of the page that follows a row."""
    return f"{(last.created - _EPOCH) // timedelta(microseconds=1)}-{last.uuid.hex}"


def position(text: Any) -> Position:
    """Return the row that a cursor stands for; raises InvalidInput."""
    if isinstance(text, str) and _CURSOR.fullmatch(text):
        microseconds, _, uuid = text.partition("-")
        return Position(_EPOCH + timedelta(microseconds=int(microseconds)), UUID(uuid))
    raise InvalidInput(("cursor", "must be a cursor from this service, given once"))


def one_of(parameters: Mapping[str, Any], name: str, known: Sequence[str]) -> str | None:
    """Return a parameter that has few values, or None without it; raises InvalidInput."""
    value = parameters.get(name)
    if value is not None and value not in known:
        raise InvalidInput((name, f"must be one of {', '.join(known)}, given once"))
    return value


def text(parameters: Mapping[str, Any], name: str, max_length: int) -> str | None:
    """Return a parameter that is a text, or None without it; raises InvalidInput."""
    value = parameters.get(name)
    if value is not None and not (isinstance(value, str) and 0 < len(value) <= max_length):
        raise InvalidInput((name, f"must have 1 to {max_length} characters, and be given once"))
    return value


def moment(value: Any, name: str) -> datetime:
    """Return an ISO 8601 date or time as naive UTC; raises InvalidInput that names the field."""
    try:
        parsed = datetime.fromisoformat(value)
        aware = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
        return aware.astimezone(UTC).replace(tzinfo=None)
    except (TypeError, ValueError, OverflowError) as error:
        reason = "must be a date or time in ISO 8601, such as 2026-11-24T02:50:42Z, given once"
        raise InvalidInput((name, reason)) from error


def iso(value: datetime | None) -> str | None:
    """Return a naive UTC time as ISO 8601 with its zone, or None."""
    return None if value is None else f"{value.isoformat(timespec='milliseconds')}Z"


def _moment(parameters: Mapping[str, Any], name: str) -> datetime | None:
    return moment(parameters[name], name) if name in parameters else None
