"""Reading request bodies: bounded, and JSON whatever the server in front makes of them."""

from typing import Any

import cherrypy
from cheroot.errors import MaxSizeExceeded

from pacifica.notifications.rest.errors import ApiError

_JSON_TYPES = ("application/json", "application/cloudevents+json")


def read_body(most: int) -> bytes:
    """Return the request's body; answers 413 past `most` bytes and 415 for another type."""
    _require_json()
    length = cherrypy.request.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) > most:
        raise _too_large(most)
    body = _read(most + 1, int(length) if length.isdecimal() else None)
    if len(body) > most:
        raise _too_large(most)
    return body


def _require_json() -> None:
    given = cherrypy.request.headers.elements("Content-Type")
    if not given:
        return
    if given[0].value.lower() not in _JSON_TYPES:
        raise ApiError(415, f"the content type must be {' or '.join(_JSON_TYPES)}")
    if given[0].params.get("charset", "utf-8").strip('"').lower() not in ("utf-8", "us-ascii"):
        raise ApiError(415, "the charset must be utf-8")


def _read(most: int, length: int | None) -> bytes:
    """Read up to `most` bytes: what the length says, or to the end of a chunked body."""
    chunked = "chunked" in cherrypy.request.headers.get("Transfer-Encoding", "").lower()
    if length is None and not chunked:
        return b""
    if length is None and not cherrypy.request.wsgi_environ.get("wsgi.input_terminated"):
        raise ApiError(411, "this server takes no chunked bodies; send a Content-Length")
    parts: list[bytes] = []
    wanted = most if length is None else min(length, most)
    stream: Any = cherrypy.request.rfile
    try:
        while wanted > 0 and (part := stream.read(wanted)):
            parts.append(part)
            wanted -= len(part)
    except MaxSizeExceeded as error:
        raise _too_large(most - 1) from error
    except (OSError, ValueError) as error:
        raise ApiError(400, "the body could not be read") from error
    if length is not None and wanted > 0:
        raise ApiError(400, "the body is shorter than its Content-Length")
    return b"".join(parts)


def _too_large(most: int) -> ApiError:
    return ApiError(
        413,
        f"the body must not be larger than {most} bytes",
        headers={"Connection": "close"},  # what was not read must not be taken for a request
    )
