"""Parses requests strictly by RFC 9112, and refuses ambiguous ones."""

import re
import time

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
# CherryPy splits it at its commas, and takes 25 microseconds for each.
_MAX_CONTENT_TYPE = 1000
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


class Refusal(BadRequest):
    """An error response with any status."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


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
            self.error = Refusal(414, "URI Too Long", "the request line is too long")
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
            version = "the version of HTTP must be 1.0 or 1.1"
            self.error = Refusal(505, "HTTP Version Not Supported", version)
            return
        for name in filter(_ONCE.fullmatch, names):
            if names.count(name) > 1:
                raise ParsingError(f"the header {name.decode('latin-1')} must be given once")
        try:
            super().parse_header(header_plus)
        except ValueError as error:  # no host in a URI, or a number with thousands of digits
            raise ParsingError("the request is malformed") from error
        if b"transfer-encoding" in names and (not self.chunked or b"content-length" in names):
            raise ParsingError("Transfer-Encoding must be without Content-Length, and in HTTP/1.1")
        if not _HOST.fullmatch(self.headers.get("HOST", "" if self.version == "1.0" else "/")):
            raise ParsingError("the header Host is missing or malformed")
        if len(self.headers.get("CONTENT_TYPE", "")) > _MAX_CONTENT_TYPE:
            raise ParsingError("the header Content-Type is too long")
        if self.proxy_netloc:  # an absolute URI overrides the Host header (RFC 9112, 3.2.2)
            self.headers["HOST"], self.path = self.proxy_netloc, self.path or "/"
        # waitress understands one option of Connection only, and accepts malformed lines between
        # chunks: no request may follow such a body.
        named = self.headers.pop("CONNECTION", "").lower().split(",")
        options = {option.strip(" \t") for option in named}
        if self.chunked or "close" in options:
            self.headers["CONNECTION"] = "close"
        elif "keep-alive" in options:
            self.headers["CONNECTION"] = "keep-alive"
