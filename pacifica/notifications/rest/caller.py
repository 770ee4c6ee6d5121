"""Who is calling, as the authenticating proxy says."""

from unicodedata import category

import cherrypy

from pacifica.notifications.rest.errors import ApiError
from pacifica.notifications.rest.service import settings

_LONGEST = 255
# Policy looks users up unquoted: `a&b` would be read as user `a`. A comma joins repeated headers.
_REFUSED = frozenset("/?#&%=\\,")
# What joins them in our own web server, where even an empty one counts.
REPEATED = "\0"


def get_remote_user() -> str:
    """Return the caller's name: the one user header, or the default user where there is none.

    Answers 401 where there is neither, and 400 to a name that Policy could not look up.
    """
    header = settings().notifications.user_header
    value = cherrypy.request.headers.get(header)
    if value is None:
        if not settings().notifications.default_user:
            raise ApiError(401, f"the header {header} is required")
        return settings().notifications.default_user
    name = _decoded(value)
    if REPEATED in value or _REFUSED.intersection(value):
        refused = " ".join(sorted(_REFUSED))
        raise ApiError(400, f"the header {header} must be given once and not have any of {refused}")
    if name is None or not 0 < len(name) <= _LONGEST or any(category(c) == "Cc" for c in name):
        raise ApiError(
            400,
            f"the header {header} must be 1 to {_LONGEST} characters in UTF-8, none of them "
            "a control character",
        )
    return name


def _decoded(value: str) -> str | None:
    """Return a header's text; WSGI hands over its bytes as Latin-1 (PEP 3333)."""
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return None
