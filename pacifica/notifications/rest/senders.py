"""Who may send events: whoever has a token, or comes from an address that is allowed."""

from collections.abc import Mapping, Sequence
from hmac import compare_digest
from typing import Any

import cherrypy

from pacifica.notifications.rest.body import unread
from pacifica.notifications.rest.errors import ApiError
from pacifica.notifications.rest.peer import comes_from
from pacifica.notifications.rest.service import settings
from pacifica.notifications.settings import Network

_SCHEME = "bearer "


def require_sender() -> None:
    """Answer 401 to who needs a token and has none, and 403 where there are no tokens."""
    if may_send(cherrypy.request.wsgi_environ):
        return
    if settings().receive.token:
        raise ApiError(
            401,
            "events are taken from senders that have a token",
            headers={"WWW-Authenticate": "Bearer", **unread()},
        )
    raise ApiError(403, "events are not taken from this address", headers=unread())


def may_send(environ: Mapping[str, Any]) -> bool:
    """Tell whether the sender of a request may send events, by its WSGI environment."""
    tokens, networks = settings().receive.token, settings().receive.allow_addresses
    if not tokens and not networks:
        return True
    return _has_token(tokens, environ) or _is_near(networks, environ)


def _has_token(tokens: Sequence[str], environ: Mapping[str, Any]) -> bool:
    given = environ.get("HTTP_AUTHORIZATION", "").strip()
    if given[: len(_SCHEME)].lower() != _SCHEME:
        return False
    token = given[len(_SCHEME) :].strip().encode("latin-1", "replace")
    # Each is compared, so that the time tells nothing of which one it is.
    return sum(compare_digest(token, each.encode()) for each in tokens) > 0


def _is_near(networks: Sequence[Network], environ: Mapping[str, Any]) -> bool:
    return bool(networks) and comes_from(tuple(networks), environ)
