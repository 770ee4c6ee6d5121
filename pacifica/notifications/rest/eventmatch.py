"""`/eventmatch`: a caller's own subscriptions."""

import re
from functools import partial
from typing import Any
from uuid import UUID

from pacifica.notifications.jsontext import read_json
from pacifica.notifications.rest.body import read_body
from pacifica.notifications.rest.caller import get_remote_user
from pacifica.notifications.rest.errors import ApiError, answering_errors
from pacifica.notifications.rest.paths import require_known
from pacifica.notifications.rest.service import settings
from pacifica.notifications.rest.text import encode_text
from pacifica.notifications.schemas import SUBSCRIPTION
from pacifica.notifications.store import subscriptions
from pacifica.notifications.subscriptions import changes_to, new_subscription

_UUID = re.compile("(?i)[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}")
_METHODS = {1: ("GET", "HEAD", "POST"), 2: ("DELETE", "GET", "HEAD", "PUT")}


class EventMatch:
    """Create, read, change and delete subscriptions."""

    exposed = True
    json_schema = SUBSCRIPTION
    _cp_config = {"hooks.before_handler": partial(require_known, _METHODS)}  # noqa: RUF012

    @answering_errors
    def GET(self, event_uuid: str | None = None) -> bytes:  # noqa: N802 CherryPy dispatches on it
        """Return one subscription, or all of the caller's, oldest first."""
        user = get_remote_user()
        if event_uuid is None:
            return encode_text(subscriptions.of_user(user))
        return encode_text(_found(subscriptions.one_of_user(user, _uuid(event_uuid))))

    @answering_errors
    def POST(self) -> bytes:  # noqa: N802
        """Create a subscription and return it."""
        user = get_remote_user()
        columns = new_subscription(_body(), user, settings().jsonpath_max_length)
        return encode_text(subscriptions.create(columns))

    @answering_errors
    def PUT(self, event_uuid: str) -> bytes:  # noqa: N802
        """Change what the body names of a subscription and return it."""
        user, uuid = get_remote_user(), _uuid(event_uuid)
        changes = partial(changes_to, body=_body(), max_jsonpath=settings().jsonpath_max_length)
        return encode_text(_found(subscriptions.update(user, uuid, changes)))

    @answering_errors
    def DELETE(self, event_uuid: str) -> bytes:  # noqa: N802
        """Mark a subscription deleted; the body is empty."""
        _found(subscriptions.delete(get_remote_user(), _uuid(event_uuid)) or None)
        return b""


def _body() -> Any:
    return read_json(read_body(settings().eventmatch_max_body), settings().eventmatch_max_depth)


def _uuid(text: str) -> UUID:
    # UUID() alone would take underscores, blanks and braces.
    if not _UUID.fullmatch(text):
        raise ApiError(400, "the last part of the path must be a UUID")
    return UUID(text)


def _found(found: Any) -> Any:
    """Answer the same whether a subscription is unknown, deleted or somebody else's."""
    if found is None:
        raise ApiError(403, "there is no such subscription of yours")
    return found
