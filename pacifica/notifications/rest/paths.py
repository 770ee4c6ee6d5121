"""Which methods a path knows, checked before CherryPy calls a handler with whatever the URL has."""

from collections.abc import Mapping

import cherrypy

from pacifica.notifications.rest.errors import ApiError


def require_known(methods: Mapping[int, tuple[str, ...]]) -> None:
    """Answer 404, 405 or 400 to a path, method or query string that a resource does not know.

    `methods` has those of each length of the path, in segments.
    """
    request = cherrypy.request
    allowed = methods.get(len([part for part in request.path_info.split("/") if part]))
    if allowed is None:
        raise ApiError(404, "there is nothing at this path")
    if request.method not in allowed:
        cherrypy.response.headers["Allow"] = ", ".join(allowed)
        raise ApiError(405, f"{request.method} is not allowed here")
    if request.params:
        raise ApiError(400, "no query parameters are known here")
