"""Reads request bodies within bounds, compressed ones included."""

import zlib
from collections.abc import Collection
from typing import Any

import cherrypy

from pacifica.notifications.errors import InvalidInput
from pacifica.notifications.events import EVENT_MEDIA_TYPE, charset, media_type
from pacifica.notifications.rest.errors import ApiError

#: The content types of one JSON object.
JSON_TYPES = ("application/json", EVENT_MEDIA_TYPE)
#: What a body of JSON may be in.
CHARSETS = ("", "utf-8", "us-ascii")

_GZIP = ("gzip", "x-gzip")
# How much is looked at at once: what a member leaves is copied, and there may be many.
_CHUNK = 16 * 2**10
_MAX_MEMBERS = 64
_GZIP_FORMAT = 16 + zlib.MAX_WBITS
# What is left unread of a small body the server reads before it answers; a larger one it must not.
_LITTLE = 64 * 2**10


def read_body(most: int) -> bytes:
    """Return a body of JSON; answers 413 past `most` bytes, and 415 for another type or coding."""
    require_type(JSON_TYPES)
    if _coding():
        raise ApiError(415, "the body must not be compressed", headers=close_unread())
    return _read_all(most)


def read_event_body(most: int) -> bytes:
    """Return a body as it was before gzip; answers 413 past `most` bytes, 415 for other codings."""
    coding = _coding()
    if coding and coding not in _GZIP:
        headers = {"Accept-Encoding": "gzip", **close_unread()}
        raise ApiError(415, "the content coding must be gzip, or none", headers=headers)
    body = _read_all(most)
    if not coding:
        return body
    plain = inflated(body, most)
    if plain is None:
        raise _too_large(most)
    return plain


def content_type() -> str:
    """Return the content type that a request names, as it is; empty: none."""
    return cherrypy.request.headers.get("Content-Type", "").strip()


def require_type(allowed: Collection[str]) -> None:
    """Answer 415 to a content type that is none of those, or in a charset other than UTF-8."""
    given = content_type()
    if not given:
        return
    if media_type(given) not in allowed:
        raise ApiError(
            415, f"the content type must be {' or '.join(allowed)}", headers=close_unread()
        )
    require_utf8(given)


def require_utf8(content_type: str) -> None:
    """Answer 415 to a charset of JSON other than UTF-8."""
    if charset(content_type) not in CHARSETS:
        raise ApiError(415, "the charset must be utf-8", headers=close_unread())


def close_unread() -> dict[str, str]:
    """Return the headers of an answer to who sent a body that is not read."""
    if cherrypy.request.wsgi_environ.get("wsgi.input_terminated"):
        return {}  # the server has read it, or will not take the rest for a request
    length = cherrypy.request.headers.get("Content-Length", "")
    is_little = length.isdecimal() and int(length[:16]) <= _LITTLE
    chunked = "Transfer-Encoding" in cherrypy.request.headers
    # What was not read must not be taken for a request.
    return {"Connection": "close"} if chunked or (length and not is_little) else {}


def read_exactly(stream: Any, length: int) -> bytes:
    """Return a body of a known length; answers 400 where it ends before."""
    body = _read(stream, length)
    if len(body) < length:
        raise ApiError(400, "the body is shorter than its Content-Length")
    return body


def _coding() -> str:
    coding = cherrypy.request.headers.get("Content-Encoding", "").strip().lower()
    return "" if coding == "identity" else coding


def _read_all(most: int) -> bytes:
    length = cherrypy.request.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) > most:
        raise _too_large(most)
    if length.isdecimal():
        return read_exactly(cherrypy.request.rfile, int(length))
    body = _read_chunks(most + 1)
    if len(body) > most:
        raise _too_large(most)
    return body


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
        headers=close_unread(),
    )


def inflated(body: bytes, most: int) -> bytes | None:
    """Return what a gzip file holds (RFC 1952); None where that is more than `most` bytes.

    No more than that is ever made. Raises InvalidInput for what is broken, or has too many members.
    """
    parts: list[bytes] = []
    left = most + 1
    members = 0
    decoder = None
    for start in range(0, len(body), _CHUNK):
        waiting = body[start : start + _CHUNK]
        while waiting:
            if decoder is None:
                members += 1
                if members > _MAX_MEMBERS:
                    raise InvalidInput(("body", f"has more than {_MAX_MEMBERS} members of gzip"))
                decoder = zlib.decompressobj(_GZIP_FORMAT)
            try:
                part = decoder.decompress(waiting, left)
            except zlib.error as error:
                raise InvalidInput(("body", "is not gzip, or is broken")) from error
            parts.append(part)
            left -= len(part)
            if left <= 0:
                return None
            waiting = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
            if decoder.eof:
                decoder = None
    if decoder is not None or not members:
        raise InvalidInput(("body", "is gzip that is not complete"))
    return b"".join(parts)
