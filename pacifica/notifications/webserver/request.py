"""Requests as RFC 9112 has a server read them: what could be read in two ways is refused."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from waitress.parser import HTTPRequestParser, ParsingError
from waitress.receiver import ChunkedReceiver
from waitress.utilities import BadRequest, RequestHeaderFieldsTooLarge

_MAX_HEADERS = 200
# waitress copies such a line whenever more of it arrives.
_MAX_CHUNK_LINE = 4096
_REQUEST_LINE = re.compile(
    rb"[!#$%&'*+.^_`|~0-9A-Z-]+ "
    rb"(?:/(?!/)[^\x00-\x20\x7f#]*|\*|(?i:https?)://[^\x00-\x20\x7f/?#@]+[^\x00-\x20\x7f#]*) "
    rb"HTTP/1\.[01]"
)
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\x00-\x08\x0a-\x1f\x7f]*)")
_HOST = re.compile(rb"[^\x00-\x20\x7f/?#@\\]*")
# waitress joins the values of other headers by commas.
_ONCE = re.compile("host|content-length|transfer-encoding|ce-.*")


class UriTooLong(BadRequest):
    """The request line alone is longer than a head may be."""

    code = 414
    reason = "URI Too Long"


class RequestTimeout(BadRequest):
    """The request did not arrive in time."""

    code = 408
    reason = "Request Timeout"


class Parser(HTTPRequestParser):
    """One request, as it arrives."""

    def received(self, data: bytes) -> int:
        """Take what has arrived; return how many bytes of it belong to this request."""
        before = self.header_plus
        consumed: int = super().received(data)
        body = self.body_rcv
        if isinstance(self.error, RequestHeaderFieldsTooLarge) and b"\r\n" not in before + data:
            self.error = UriTooLong("the request line is too long")
        elif (
            isinstance(body, ChunkedReceiver)
            and max(len(body.control_line), len(body.trailer)) > _MAX_CHUNK_LINE
        ):
            self.error, self.completed = BadRequest("a line of the chunked body is too long"), True
        if self.error:
            self.expect_continue = False  # nobody waits for the body
        return consumed

    def parse_header(self, header_plus: bytes) -> None:
        """Read a head; raises ParsingError for one that is not to the letter of RFC 9112."""
        first, *lines = header_plus.split(b"\r\n")
        if not _REQUEST_LINE.fullmatch(first):
            raise ParsingError("the request line is malformed")
        fields = [_HEADER.fullmatch(line) for line in lines if line]
        if len(fields) > _MAX_HEADERS:
            self.error = RequestHeaderFieldsTooLarge(f"there are more than {_MAX_HEADERS} headers")
            return
        if None in fields:
            raise ParsingError("each header must be on one line, the colon at once after a name")
        pairs = [(each[1].decode().lower(), each[2].strip(b" \t")) for each in fields if each]
        values = dict(pairs)
        if len(values) < len(pairs):
            _require_once(name for name, _ in pairs)
        _require_one_length(values, is_1_0=first.endswith(b"0"))
        if not _HOST.fullmatch(values.get("host", b"" if first.endswith(b"0") else b"/")):
            raise ParsingError("the header Host is missing or malformed")
        try:
            super().parse_header(header_plus)
        except ValueError as error:  # no host in a URI, or a number of thousands of digits
            raise ParsingError("the request is malformed") from error
        if self.proxy_netloc:  # the absolute form: the URI's host counts (RFC 9112, section 3.2.2)
            self.headers["HOST"] = self.proxy_netloc
            self.path = self.path or "/"
        options = re.split(r"[ \t]*,[ \t]*", self.headers.get("CONNECTION", "").lower())
        if len(options) > 1:  # waitress knows an option only where it is alone
            known = [option for option in ("close", "keep-alive") if option in options]
            self.headers["CONNECTION"] = "".join(known[:1])
        if self.chunked:  # lenient with the ends of lines: what follows is not to be a request
            self.headers["CONNECTION"] = "close"


def _require_once(names: Iterable[str]) -> None:
    """Raise ParsingError where a header is repeated that must not be."""
    for name, count in Counter(names).items():
        if count > 1 and _ONCE.fullmatch(name):
            raise ParsingError(f"the header {name} must be given once")


def _require_one_length(values: Mapping[str, bytes], *, is_1_0: bool) -> None:
    """Raise ParsingError where it is not plain where the body ends (RFC 9112, section 6.3)."""
    coding = values.get("transfer-encoding")
    if coding is not None and (is_1_0 or "content-length" in values or not coding or b"," in coding):
        raise ParsingError("Transfer-Encoding must be alone, with one coding, in HTTP/1.1")
