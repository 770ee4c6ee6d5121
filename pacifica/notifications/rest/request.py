"""How a request is read before any resource sees it, and which methods a path has."""

from collections.abc import Collection, Mapping

import cherrypy
from cherrypy import _cprequest

from pacifica.notifications.rest.errors import ApiError, error_page_default


class Request(_cprequest.Request):
    """A request whose headers are taken literally, and all of whose errors are JSON."""

    error_page = {"default": error_page_default}  # noqa: RUF012 CherryPy copies it
    show_tracebacks = False
    header_list: list[tuple[str, str]]

    def process_headers(self) -> None:
        """Take headers as they were sent, without the blanks around them (RFC 9110, section 5.5).

        CherryPy decodes a value that looks like an encoded word (RFC 2047). That fails for some,
        and lets others pass for a name that they are not. It also strips bytes that are a blank in
        Latin-1, and may be the end of a character in UTF-8.
        """
        given = self.header_list
        self.header_list = [(name, "" if "=?" in value else value) for name, value in given]
        super().process_headers()
        self.header_list = given
        for name, value in given:
            exact = value.strip(" \t")
            if "=?" in value or exact != value.strip():
                dict.__setitem__(self.headers, name.title(), exact)


def require_known(methods: Mapping[int, tuple[str, ...]], parameters: Collection[str] = ()) -> None:
    """Refuse a path (404), method (405) or query string (400) that a resource does not know.

    `methods` has those of each length of the path, in segments; `parameters` are those of reading
    the resource that the shortest path names. CherryPy would call a handler with whatever the URL
    has.
    """
    request = cherrypy.request
    length = len([part for part in request.path_info.split("/") if part])
    allowed = methods.get(length)
    if allowed is None:
        raise ApiError(404, "there is nothing at this path")
    if request.method not in allowed:
        cherrypy.response.headers["Allow"] = ", ".join(allowed)
        raise ApiError(405, f"{request.method} is not allowed here")
    known = parameters if length == min(methods) and request.method in ("GET", "HEAD") else ()
    if unknown := request.params.keys() - known:
        what = f"only {' and '.join(known)} are known" if known else "none are known"
        raise ApiError(400, f"the query parameter {min(unknown)!a} is not known here: {what}")
    request.params = {}  # CherryPy would pass them to the handler
