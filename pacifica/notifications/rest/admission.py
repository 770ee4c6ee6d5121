"""Admits requests: identifies callers, checks proxies and senders, limits rates."""

import math
from collections.abc import Iterable, Mapping, Sequence
from hmac import compare_digest
from ipaddress import IPv6Address, ip_address
from typing import Any
from unicodedata import category

import cherrypy

from pacifica.notifications.rest.body import close_unread
from pacifica.notifications.rest.context import context
from pacifica.notifications.rest.errors import ApiError
from pacifica.notifications.settings import Network, NotificationsSettings, ReceiveSettings

_MAX_NAME = 255
# Policy does not quote names in its lookups: it would read `a&b` as user `a`. A comma joins
# repeated headers.
_REFUSED = frozenset("/?#&%=\\,")
_BEARER = "bearer "


def get_remote_user() -> str:
    """Return the caller's name, from the user header or else the default user.

    Raises ApiError: 401 without either, 400 for a name that Policy could not look up.
    """
    settings = context().settings.notifications
    header = settings.user_header
    value = cherrypy.request.headers.get(header)
    if value is None:
        if not settings.default_user:
            raise ApiError(401, f"the header {header} is required")
        cherrypy.request.login = settings.default_user  # for the access log
        return settings.default_user
    name = _decoded(value)
    if name is None or not 0 < len(name) <= _MAX_NAME or any(map(_is_refused, name)):
        raise ApiError(
            400,
            f"the header {header} must be given once, with 1 to {_MAX_NAME} characters in UTF-8, "
            f"none of them a control character or any of {' '.join(sorted(_REFUSED))}",
        )
    cherrypy.request.login = name
    return name


def require_proxy() -> None:
    """Refuse a request that bypassed the proxy (403) or exceeds the rate (429)."""
    settings = context().settings.notifications
    if not (_came_from_proxy(settings) and _has_secret(settings)):
        raise ApiError(403, "requests for this path are taken from the authenticating proxy alone")
    if context().settings.eventmatch.rate:
        _require_rate()


def require_sender() -> None:
    """Refuse an event without a valid token (401) or permitted address (403)."""
    settings = context().settings.receive
    if may_send(settings, cherrypy.request.wsgi_environ):
        return
    if settings.token:
        raise ApiError(
            401,
            "a valid bearer token is required to send events",
            headers={"WWW-Authenticate": "Bearer", **close_unread()},
        )
    raise ApiError(403, "this address may not send events", headers=close_unread())


def may_send(settings: ReceiveSettings, environ: Mapping[str, Any]) -> bool:
    """Return whether a request with this WSGI environment may send events."""
    if not settings.token and not settings.allow_addresses:
        return True
    if _has_token(settings.token, environ):
        return True
    return comes_from(settings.allow_addresses, environ)


def comes_from(networks: Iterable[Network], environ: Mapping[str, Any]) -> bool:
    """Return whether a request came from one of the networks.

    `environ` is the WSGI environment (PEP 3333). Its address is used and not CherryPy's, which may
    come from `X-Forwarded-For`. A request through a Unix socket has no address, and so is in no
    network.
    """
    try:
        address = ip_address(environ.get("REMOTE_ADDR") or "")
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)


def _is_refused(character: str) -> bool:
    return character in _REFUSED or category(character) == "Cc"


def _decoded(value: str) -> str | None:
    """Return a header's text; WSGI decodes its bytes as Latin-1 (PEP 3333)."""
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return None


def _came_from_proxy(settings: NotificationsSettings) -> bool:
    proxies = settings.trusted_proxies
    return not proxies or comes_from(proxies, cherrypy.request.wsgi_environ)


def _has_secret(settings: NotificationsSettings) -> bool:
    secret = settings.proxy_secret
    given = cherrypy.request.headers.get(settings.proxy_secret_header, "")
    # A repeated header is longer than the secret, because the two values are joined.
    return not secret or compare_digest(
        given.encode("latin-1", "replace"), secret.encode(errors="surrogateescape")
    )


def _require_rate() -> None:
    try:
        user = get_remote_user()
    except ApiError:  # the handler refuses a caller without a valid name
        return
    wait = context().rates.retry_after(user)
    if wait:
        raise ApiError(
            429,
            f"this user sends more than {context().settings.eventmatch.rate:g} requests a second",
            headers={"Retry-After": str(math.ceil(wait))},
        )


def _has_token(tokens: Sequence[str], environ: Mapping[str, Any]) -> bool:
    given = environ.get("HTTP_AUTHORIZATION", "").strip(" \t")
    if given[: len(_BEARER)].lower() != _BEARER:
        return False
    token = given[len(_BEARER) :].strip(" \t").encode("latin-1", "replace")
    # Every token is compared, so that the time taken does not reveal which one matched.
    return sum(compare_digest(token, each.encode()) for each in tokens) > 0
