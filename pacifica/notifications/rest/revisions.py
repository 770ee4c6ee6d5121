"""`/eventmatch/ID/revisions`: who changed what of a subscription, and when."""

from functools import partial
from typing import Any

from pacifica.notifications.errors import InvalidInput
from pacifica.notifications.rest import paging
from pacifica.notifications.rest.access import Access, require_readable
from pacifica.notifications.rest.admission import require_proxy
from pacifica.notifications.rest.errors import answering_errors, encode_text
from pacifica.notifications.rest.request import require_known
from pacifica.notifications.store.revisionlog import LoggedRevision, revisions_of

_PARAMETERS = ("limit", "cursor")
_MAX_DIGITS = 18


class Revisions:
    """List the revisions of a subscription."""

    exposed = True
    _cp_config = {  # noqa: RUF012
        "hooks.on_start_resource": require_proxy,
        "hooks.before_handler": partial(require_known, {3: ("GET", "HEAD")}, _PARAMETERS),
    }

    def __init__(self, subscription: str) -> None:
        self._subscription = subscription

    @answering_errors
    def GET(self) -> bytes:  # noqa: N802
        """Return a page of revisions, newest first."""
        access = require_readable(self._subscription, "revisions read")
        return encode_text(page_of(access, paging.query()))


def page_of(access: Access, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return a page of the revisions of a subscription; raises InvalidInput."""
    limit = paging.limit_of(parameters)
    found = revisions_of(access.uuid, limit + 1, _before(parameters))
    last = found[limit - 1].revision if len(found) > limit else None
    return {
        "items": [_shown(each) for each in found[:limit]],
        "next": None if last is None else str(last),
    }


def _before(parameters: dict[str, Any]) -> int | None:
    text = parameters.get("cursor")
    if text is None:
        return None
    if isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS:
        return int(text)
    raise InvalidInput(("cursor", "must be a cursor from this service, given once"))


def _shown(each: LoggedRevision) -> dict[str, Any]:
    return {
        "revision": each.revision,
        "changed": paging.iso(each.changed),
        "by": each.actor or None,
        "action": each.action,
        "fields": list(each.fields),
        "name": each.name,
        "jsonpath": each.jsonpath,
        "target_url": each.target_url,
        "disabled": paging.iso(each.disabled),
        "error": each.error,
    }
