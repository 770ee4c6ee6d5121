"""Reads request headers literally, and refuses unknown paths and methods."""

from collections.abc import Collection, Mapping

import cherrypy
from cherrypy import _cprequest

from pacifica.notifications.rest.errors import ApiError, error_page_default


class Request(_cprequest.Request):
    """A request with literal headers, whose errors are all JSON."""

    error_page = {"default": error_page_default}  # noqa: RUF012 CherryPy copies it
    show_tracebacks = False
    header_list: list[tuple[str, str]]

    def process_headers(self) -> None:
        """Read headers literally, without surrounding blanks (RFC 9110, section 5.5).

        CherryPy decodes a value that looks like an encoded word (RFC 2047). That fails for some
        values, and lets others impersonate another name. CherryPy also strips bytes that are blanks
        in Latin-1 but may be the end of a character in UTF-8.
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
    """Refuse an unknown path (404), method (405) or query parameter (400).

    `methods` lists the allowed methods by the number of segments in the path. `parameters` are
    allowed when the resource with the shortest path is read. Without this check, CherryPy would
    pass anything in the URL to a handler.
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
