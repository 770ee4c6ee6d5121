"""Parses requests strictly by RFC 9112, and refuses ambiguous ones."""

import re
import time
from collections import Counter

from waitress.parser import HTTPRequestParser, ParsingError
from waitress.receiver import ChunkedReceiver
from waitress.utilities import (
    BadRequest,
    RequestEntityTooLarge,
    RequestHeaderFieldsTooLarge,
)

_MAX_HEADERS = 200
# waitress copies a chunk's line whenever more of it arrives.
_MAX_CHUNK_LINE = 4096
_REQUEST_LINE = re.compile(
    rb"[!#$%&'*+.^_`|~0-9A-Z-]+ "
    rb"(?:/(?!/)[^\x00-\x20\x7f#]*"
    rb"|(?i:https?)://[^\x00-\x20\x7f/?#@]+(?:[/?][^\x00-\x20\x7f#]*)?"
    rb"|\*) HTTP/([0-9])\.[0-9]\r\n"
)
# A folded line, and a Transfer-Encoding that does not name exactly one coding.
_MALFORMED = re.compile(rb"\r\n[ \t]|\r\ntransfer-encoding:(?:[ \t]*\r|[^\r]*,)", re.IGNORECASE)
_NAME = re.compile(rb"\r\n([^:\r\n]*):")
# waitress joins repeated headers by a comma, which would be ambiguous for these.
_ONCE = re.compile(rb"host|content-length|transfer-encoding|ce-.*")
_HOST = re.compile(r"[^\x00-\x20\x7f/?#@\\]*")


class UriTooLong(BadRequest):
    """The request line alone is longer than the limit for all headers."""

    code = 414
    reason = "URI Too Long"


class HttpVersionNotSupported(BadRequest):
    """The request is not in HTTP/1."""

    code = 505
    reason = "HTTP Version Not Supported"


class RequestTimeout(BadRequest):
    """The request did not arrive in time."""

    code = 408
    reason = "Request Timeout"


class Parser(HTTPRequestParser):
    """One request as it arrives; `began` is when its head, or then its body, began."""

    error: BadRequest | None
    path: str

    def __init__(self, adj: object) -> None:
        super().__init__(adj)
        self.began = time.monotonic()

    def received(self, data: bytes) -> int:
        """Parse incoming data; return how many of its bytes belong to this request."""
        before, body = self.header_plus, self.body_rcv
        consumed: int = super().received(data)
        if isinstance(self.error, RequestHeaderFieldsTooLarge) and (
            b"\r\n" not in (before + data)[: self.adj.max_request_header_size]
        ):
            self.error = UriTooLong("the request line is too long")
        if isinstance(self.error, RequestEntityTooLarge):
            bound = self.adj.max_request_body_size - 1
            self.error = RequestEntityTooLarge(f"the body must not be larger than {bound} bytes")
        if body is None and self.headers_finished:
            self.began = time.monotonic()
        is_chunked = isinstance(body, ChunkedReceiver)
        if is_chunked and len(body.control_line) + len(body.trailer) > _MAX_CHUNK_LINE:
            self.error, self.completed = BadRequest("a line of the body is too long"), True
        if self.error:
            self.expect_continue = False
        return consumed

    def parse_header(self, header_plus: bytes) -> None:
        """Parse a head; raise ParsingError if it is malformed or its length is ambiguous."""
        names = _NAME.findall(header_plus.lower())
        if len(names) > _MAX_HEADERS:
            self.error = RequestHeaderFieldsTooLarge(f"there are more than {_MAX_HEADERS} headers")
            return
        line = _REQUEST_LINE.match(header_plus)
        if line is None or _MALFORMED.search(header_plus):
            raise ParsingError("the request line or a header is malformed")
        if line[1] != b"1":
            self.error = HttpVersionNotSupported("the version of HTTP must be 1.0 or 1.1")
            return
        if len(set(names)) < len(names):
            _require_once(names)
        try:
            super().parse_header(header_plus)
        except ValueError as error:  # no host in a URI, or a number with thousands of digits
            raise ParsingError("the request is malformed") from error
        if b"transfer-encoding" in names and (not self.chunked or b"content-length" in names):
            raise ParsingError("Transfer-Encoding must be without Content-Length, and in HTTP/1.1")
        if not _HOST.fullmatch(self.headers.get("HOST", "" if self.version == "1.0" else "/")):
            raise ParsingError("the header Host is missing or malformed")
        if self.proxy_netloc:  # an absolute URI overrides the Host header (RFC 9112, 3.2.2)
            self.headers["HOST"], self.path = self.proxy_netloc, self.path or "/"
        if self.chunked or "CONNECTION" in self.headers:
            self._keep_or_close()

    def _keep_or_close(self) -> None:
        """Reduce the Connection header to the one option that waitress understands."""
        options = re.split(r"[ \t]*,[ \t]*", self.headers.pop("CONNECTION", "").lower())
        # waitress accepts malformed lines between chunks: no request may follow such a body.
        if self.chunked or "close" in options:
            self.headers["CONNECTION"] = "close"
        elif "keep-alive" in options:
            self.headers["CONNECTION"] = "keep-alive"


def _require_once(names: list[bytes]) -> None:
    """Raise ParsingError if a header is repeated that must be unique."""
    for name, count in Counter(names).items():
        if count > 1 and _ONCE.fullmatch(name):
            raise ParsingError(f"the header {name.decode('latin-1')} must be given once")
