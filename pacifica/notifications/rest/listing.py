"""The list of a caller's subscriptions: all of them in one response, or in pages.

However many there are, only a few hundred are in memory at a time.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import cherrypy

from pacifica.notifications.rest.context import context
from pacifica.notifications.rest.errors import encode_text
from pacifica.notifications.rest.paging import MAX_LIMIT, cursor, page_limit, position
from pacifica.notifications.store.subscriptions import Page, page_of_user
from pacifica.notifications.subscriptions import masked

#: The query parameters that request a page.
PARAMETERS = ("limit", "cursor")
# How many subscriptions are read at a time for a complete list.
_PORTION = 200


def complete(user: str) -> bytes | Iterator[bytes]:
    """Return a JSON array of all subscriptions of a user; a long one is streamed."""
    first = page_of_user(user, _PORTION)
    if first.last is None:
        return _array(first)
    cherrypy.response.stream = True
    return _portions(user, first)


def page(user: str, parameters: Mapping[str, Any]) -> bytes:
    """Return one page of a user's subscriptions, and set a Link to the next page.

    Raises InvalidInput for an invalid limit or cursor.
    """
    limit = page_limit(parameters.get("limit", str(MAX_LIMIT)))
    after = position(parameters["cursor"]) if "cursor" in parameters else None
    found = page_of_user(user, limit, after)
    if found.last is not None:
        query = urlencode({"limit": limit, "cursor": cursor(found.last)})
        cherrypy.response.headers["Link"] = f'</eventmatch?{query}>; rel="next"'
    return _array(found)


def shown(subscription: dict[str, Any]) -> dict[str, Any]:
    """Return a subscription as the API shows it, with masks if masking is on."""
    return masked(subscription) if context().settings.security.mask_auth else subscription


def _portions(user: str, found: Page) -> Iterator[bytes]:
    opening = b"["
    while True:
        if found.subscriptions:
            yield opening + _array(found)[1:-1]
            opening = b", "
        if found.last is None:
            break
        found = page_of_user(user, _PORTION, found.last)
    yield b"]" if opening == b", " else b"[]"


def _array(found: Page) -> bytes:
    return encode_text([shown(each) for each in found.subscriptions])
