"""Reading request bodies: bounded, and JSON whatever the server in front makes of them."""

from typing import Any

import cherrypy
from cheroot.errors import MaxSizeExceeded

from pacifica.notifications.rest.errors import ApiError

JSON_TYPES = ("application/json", "application/cloudevents+json")


def read_body(most: int) -> bytes:
    """Return the request's body; answers 413 past `most` bytes and 415 for another type."""
    _require_json()
    length = cherrypy.request.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) > most:
        raise _too_large(most)
    try:
        if length.isdecimal():
            return read_exactly(cherrypy.request.rfile, int(length))
        body = _read_chunks(most + 1)
    except MaxSizeExceeded as error:
        raise _too_large(most) from error
    if len(body) > most:
        raise _too_large(most)
    return body


def read_exactly(stream: Any, length: int) -> bytes:
    """Return a body of a known length; answers 400 where it ends before."""
    body = _read(stream, length)
    if len(body) < length:
        raise ApiError(400, "the body is shorter than its Content-Length")
    return body


def _require_json() -> None:
    given = cherrypy.request.headers.elements("Content-Type")
    if not given:
        return
    if given[0].value.lower() not in JSON_TYPES:
        raise ApiError(415, f"the content type must be {' or '.join(JSON_TYPES)}")
    if given[0].params.get("charset", "utf-8").strip('"').lower() not in ("utf-8", "us-ascii"):
        raise ApiError(415, "the charset must be utf-8")


def _read_chunks(most: int) -> bytes:
    """Read up to `most` bytes of a chunked body; without a length, any other body is empty."""
    if "chunked" not in cherrypy.request.headers.get("Transfer-Encoding", "").lower():
        return b""
    if not cherrypy.request.wsgi_environ.get("wsgi.input_terminated"):
        raise ApiError(411, "this server takes no chunked bodies; send a Content-Length")
    return _read(cherrypy.request.rfile, most)


def _read(stream: Any, wanted: int) -> bytes:
    parts: list[bytes] = []
    try:
        while wanted > 0 and (part := stream.read(wanted)):
            parts.append(part)
            wanted -= len(part)
    except (OSError, ValueError) as error:
        raise ApiError(400, "the body could not be read") from error
    return b"".join(parts)


def _too_large(most: int) -> ApiError:
    return ApiError(
        413,
        f"the body must not be larger than {most} bytes",
        headers={"Connection": "close"},  # what was not read must not be taken for a request
    )
