"""Which requests for subscriptions are let in: those of the proxy, and not too many of one user."""

import math
from hmac import compare_digest

import cherrypy

from pacifica.notifications.rest.caller import get_remote_user
from pacifica.notifications.rest.errors import ApiError
from pacifica.notifications.rest.peer import comes_from
from pacifica.notifications.rest.service import rates, settings


def admit() -> None:
    """Let a request pass that came through the proxy, and not too many of one user.

    Answers 403, whatever else may be wrong with it, and 429.
    """
    if not (_came_from_proxy() and _has_secret()):
        raise ApiError(403, "requests for this path are taken from the authenticating proxy alone")
    if settings().eventmatch.rate:
        _count()


def _came_from_proxy() -> bool:
    proxies = settings().notifications.trusted_proxies
    return not proxies or comes_from(proxies, cherrypy.request.wsgi_environ)


def _has_secret() -> bool:
    secret = settings().notifications.proxy_secret
    given = cherrypy.request.headers.get(settings().notifications.proxy_secret_header, "")
    # A repeated header is longer than the secret, with whatever joins the two.
    return not secret or compare_digest(
        given.encode("latin-1", "replace"), secret.encode(errors="surrogateescape")
    )


def _count() -> None:
    try:
        user = get_remote_user()
    except ApiError:  # who has no name gets that answer later
        return
    wait = rates().wait_of(user)
    if wait:
        raise ApiError(
            429,
            f"this user sends more than {settings().eventmatch.rate:g} requests a second",
            headers={"Retry-After": str(math.ceil(wait))},
        )
