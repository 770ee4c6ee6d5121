"""What requests about a caller's own subscription have in common: UUID, body and refusal."""

import re
from typing import Any, TypeVar
from uuid import UUID

from pacifica.notifications.jsontext import read_json
from pacifica.notifications.rest.body import read_body
from pacifica.notifications.rest.errors import ApiError
from pacifica.notifications.rest.service import settings

T = TypeVar("T")

_UUID = re.compile("(?i)[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}")


def body() -> Any:
    """Return the JSON value of the request's body; raises InvalidInput."""
    return read_json(read_body(settings().eventmatch.max_body), settings().eventmatch.max_depth)


def uuid_in(part: str) -> UUID:
    """Return the UUID that a part of the path is; answers 400 to any other."""
    # UUID() alone would take underscores, blanks and braces.
    if not _UUID.fullmatch(part):
        raise ApiError(400, "the last part of the path must be a UUID")
    return UUID(part)


def found(subscription: T | None) -> T:
    """Answer the same whether a subscription is unknown, deleted or somebody else's."""
    if subscription is None:
        raise ApiError(403, "there is no such subscription of yours")
    return subscription
