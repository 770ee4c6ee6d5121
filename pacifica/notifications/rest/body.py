"""Reads request bodies of bounded size, compressed or not."""

import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from urllib.parse import parse_qsl

import cherrypy

from pacifica.notifications.errors import InvalidInput
from pacifica.notifications.events import EVENT_MEDIA_TYPE, charset, media_type
from pacifica.notifications.jsontext import count_values
from pacifica.notifications.rest.errors import ApiError
from pacifica.notifications.rest.limits import BoundedLock
from pacifica.notifications.settings.requests import ReceiveSettings

#: The content types of one JSON object.
JSON_TYPES = ("application/json", EVENT_MEDIA_TYPE)
#: The character sets that a JSON body may declare.
CHARSETS = ("", "utf-8", "us-ascii")

_FORM = "application/x-www-form-urlencoded"
_GZIP = ("gzip", "x-gzip")
# Bytes decompressed at a time: each gzip member copies what follows it, and there may be many.
_CHUNK = 16 * 2**10
_MAX_MEMBERS = 64
_GZIP_FORMAT = 16 + zlib.MAX_WBITS
# The server reads the rest of a body up to this size before it responds, but not of a larger one.
_LITTLE = 64 * 2**10


def read_body(max_size: int) -> bytes:
    """Return a JSON body; refuse a large one (413), another type or a coding (415)."""
    require_type(JSON_TYPES)
    if _coding():
        raise ApiError(415, "the body must not be compressed", headers=close_unread())
    return _read_all(max_size)


def read_form(max_size: int, max_fields: int) -> dict[str, str]:
    """Return the fields of a form (`application/x-www-form-urlencoded`, in UTF-8).

    Of a field that is given more than once, the last one counts. Refuses a large body (413),
    another type or a coding (415), and one that is no form or has more than `max_fields` (400).
    """
    require_type((_FORM,))
    if _coding():
        raise ApiError(415, "the body must not be compressed", headers=close_unread())
    body = _read_all(max_size)
    try:
        text = body.decode("ascii")
        return dict(parse_qsl(text, True, errors="strict", max_num_fields=max_fields))
    except ValueError as error:  # also for text that is not UTF-8
        raise ApiError(400, f"the body must be a form of up to {max_fields} fields") from error


@contextmanager
def event_body(limits: ReceiveSettings, large_bodies: BoundedLock) -> Iterator[bytes]:
    """Yield the decompressed body of an event to the block that parses it.

    Refuses a body that is too large (413), a coding other than gzip (415), and a large body while
    many others are being read (503).
    """
    coding = _coding()
    if coding and coding not in _GZIP:
        headers = {"Accept-Encoding": "gzip", **close_unread()}
        raise ApiError(415, "the content coding must be gzip, or none", headers=headers)
    received = _read_all(limits.max_body)
    body = inflated(received, min(limits.small_body, limits.max_body)) if coding else received
    small = body is not None and is_small(body, limits)
    with nullcontext() if small else large_bodies.held():
        if body is None:
            body = inflated(received, limits.max_body)
        if body is None:
            raise _too_large(limits.max_body)
        yield body


def is_small(body: bytes, limits: ReceiveSettings) -> bool:
    """Return whether a body is small enough to be parsed without the lock."""
    return len(body) <= limits.small_body and count_values(body) <= limits.small_values


def content_type() -> str:
    """Return the request's content type, unparsed; empty if there is none."""
    return cherrypy.request.headers.get("Content-Type", "").strip()


def require_type(allowed: Collection[str]) -> None:
    """Refuse (415) a content type that is not allowed, or a charset other than UTF-8."""
    given = content_type()
    if not given:
        return
    if media_type(given) not in allowed:
        raise ApiError(
            415, f"the content type must be {' or '.join(allowed)}", headers=close_unread()
        )
    require_utf8(given)


def require_utf8(content_type: str) -> None:
    """Refuse a charset of JSON other than UTF-8 (415)."""
    if charset(content_type) not in CHARSETS:
        raise ApiError(415, "the charset must be utf-8", headers=close_unread())


def close_unread() -> dict[str, str]:
    """Return the headers of a response to a request whose body is not read."""
    if cherrypy.request.wsgi_environ.get("wsgi.input_terminated"):
        return {}  # the server has read it, or will not parse the rest as a request
    length = cherrypy.request.headers.get("Content-Length", "")
    is_little = length.isdecimal() and int(length[:16]) <= _LITTLE
    chunked = "Transfer-Encoding" in cherrypy.request.headers
    # Unread bytes of the body must not be parsed as the next request.
    return {"Connection": "close"} if chunked or (length and not is_little) else {}


def read_exactly(stream: Any, length: int) -> bytes:
    """Return a body of a known length; refuse one that ends early (400)."""
    body = _read(stream, length)
    if len(body) < length:
        raise ApiError(400, "the body is shorter than its Content-Length")
    return body


def _coding() -> str:
    coding = cherrypy.request.headers.get("Content-Encoding", "").strip().lower()
    return "" if coding == "identity" else coding


def _read_all(max_size: int) -> bytes:
    length = cherrypy.request.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) > max_size:
        raise _too_large(max_size)
    if length.isdecimal():
        return read_exactly(cherrypy.request.rfile, int(length))
    body = _read_chunks(max_size + 1)
    if len(body) > max_size:
        raise _too_large(max_size)
    return body


def _read_chunks(max_size: int) -> bytes:
    """Read up to `max_size` bytes of a chunked body; any other body is empty."""
    if "chunked" not in cherrypy.request.headers.get("Transfer-Encoding", "").lower():
        return b""
    if not cherrypy.request.wsgi_environ.get("wsgi.input_terminated"):
        raise ApiError(411, "this server does not accept chunked bodies; send a Content-Length")
    return _read(cherrypy.request.rfile, max_size)


def _read(stream: Any, wanted: int) -> bytes:
    parts: list[bytes] = []
    try:
        while wanted > 0 and (part := stream.read(wanted)):
            parts.append(part)
            wanted -= len(part)
    except (OSError, ValueError) as error:
        raise ApiError(400, "the body could not be read") from error
    return b"".join(parts)


def _too_large(max_size: int) -> ApiError:
    return ApiError(
        413,
        f"the body must not be larger than {max_size} bytes",
        headers=close_unread(),
    )


def inflated(body: bytes, max_size: int) -> bytes | None:
    """Return the content of a gzip file (RFC 1952); None above `max_size` bytes.

    Decompression stops at that size. Raises InvalidInput for data that is broken or has too many
    members.
    """
    parts: list[bytes] = []
    left = max_size + 1
    members = 0
    decoder = None
    for start in range(0, len(body), _CHUNK):
        pending = body[start : start + _CHUNK]
        while pending:
            if decoder is None:
                members += 1
                if members > _MAX_MEMBERS:
                    raise InvalidInput(("body", f"has more than {_MAX_MEMBERS} members of gzip"))
                decoder = zlib.decompressobj(_GZIP_FORMAT)
            try:
                part = decoder.decompress(pending, left)
            except zlib.error as error:
                raise InvalidInput(("body", "is not valid gzip")) from error
            parts.append(part)
            left -= len(part)
            if left <= 0:
                return None
            pending = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
            if decoder.eof:
                decoder = None
    if decoder is not None or not members:
        raise InvalidInput(("body", "is incomplete gzip"))
    return b"".join(parts)
