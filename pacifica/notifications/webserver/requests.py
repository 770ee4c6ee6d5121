"""Requests as they are read from what has arrived: what could be taken for two things is refused.

A proxy in front and this server must see the same requests in the same bytes (RFC 9112, section
11.2). So a head is read by the letter of RFC 9112, without the leniency that it allows.
"""

import re
from contextlib import suppress
from typing import Any

import cheroot.server
from cheroot.errors import MaxSizeExceeded
from cherrypy import _cpwsgi_server

from pacifica.notifications.rest.errors import encode_text
from pacifica.notifications.webserver.chunks import ChunkedBody

_CHEROOT: Any = cheroot.server  # its type stubs leave out what is used here
_MOST_HEADERS = 200
# What joins the values of a header that must not be repeated.
REPEATED = "\0"
_LINE = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\x00-\x08\x0a-\x1f\x7f]*)"  # RFC 9110, section 5
)
_FIRST_LINE = re.compile(
    rb"(?:\r\n)?[!#$%&'*+.^_`|~0-9A-Za-z-]+ (?:/[^\x00-\x20\x7f]*|\*) HTTP/1\.[01]\r\n"
)
_DIGITS = re.compile(rb"[0-9]{1,15}")
#: Headers by which requests are told apart.
_ONCE = frozenset({b"Content-Length", b"Transfer-Encoding", b"Host"})
_LISTS = frozenset(_CHEROOT.comma_separated_headers) - _ONCE
#: Headers that a caller is known by, or an event; which ones more is a matter of configuration.
_TELLING = frozenset({b"Authorization", b"Content-Type"})
_EVENT = b"Ce-"


class HeaderReader(_CHEROOT.HeaderReader):
    """Reads headers by name; the value of one that must not be repeated tells that it was.

    Drops those with underscores: WSGI could not tell Http_Remote_User from the real one. `names`
    are headers that must not be repeated, beside those that never may.
    """

    def __init__(self, *names: str) -> None:
        self._marked = _TELLING | {name.title().encode() for name in names}

    def __call__(self, rfile: Any, hdict: dict[bytes, bytes] | None = None) -> dict[bytes, bytes]:
        """Read all; raises ValueError for malformed ones, and MaxSizeExceeded for too many."""
        headers = {} if hdict is None else hdict
        lines = rfile.rfile.read_head().split(b"\r\n")
        rfile.bytes_read += sum(map(len, lines)) + 2 * (len(lines) - 1)
        if len(lines) > _MOST_HEADERS or rfile.bytes_read > rfile.maxlen > 0:
            raise MaxSizeExceeded
        if lines[-2:] != [b"", b""]:
            raise ValueError("the headers have no end")
        for line in lines[:-2]:
            named = _LINE.fullmatch(line)
            if named is None:
                raise ValueError("each header must be on one line, the colon at once after a name")
            name = named[1].title()
            if b"_" not in name:
                headers[name] = self._value(name, named[2].strip(b" \t"), headers.get(name))
        headers.pop(b"Expect", None)  # the waiting room has seen to it
        _require_one_length(headers)
        return headers

    def _value(self, name: bytes, value: bytes, former: bytes | None) -> bytes:
        if former is None:
            return value
        if name in _ONCE:
            raise ValueError(f"the header {name.decode()} must be given once")
        if name in self._marked or name.startswith(_EVENT):
            return former + REPEATED.encode() + value
        return former + b", " + value if former and name in _LISTS else value


def _require_one_length(headers: dict[bytes, bytes]) -> None:
    """Raise ValueError where it is not plain where the body ends."""
    length, coding = headers.get(b"Content-Length"), headers.get(b"Transfer-Encoding")
    if length is not None and not _DIGITS.fullmatch(length):
        raise ValueError("the header Content-Length must be a number")
    if coding is not None and (length is not None or b"," in coding or not coding):
        raise ValueError("the header Transfer-Encoding must be alone, with one coding")


class Request(_cpwsgi_server.CPWSGIHTTPRequest):
    """A request that is read strictly, and whose own errors are JSON."""

    def __init__(self, server: Any, conn: Any) -> None:
        super().__init__(server, conn)
        self.header_reader = server.header_reader
        self.proxy_mode = False
        conn.request = self

    @property
    def is_read(self) -> bool:
        """Whether it was understood and its body read to its end."""
        if not self.ready or self._unread() > 0:
            return False
        return self.rfile.closed if self.chunked_read else True

    def read_request_line(self) -> bool:
        """Read the first line; False where it was refused."""
        understood = _FIRST_LINE.match(self.conn.rfile.received) is not None
        try:
            if not (read := super().read_request_line()):
                return read
        except ValueError:  # urllib finds no host in it
            understood = False
        understood = understood and not self.authority
        if not understood:
            self.simple_response("400 Bad Request", "the request line is malformed")
        return understood

    def read_request_headers(self) -> bool:
        """Read the headers; False where they were refused."""
        if not super().read_request_headers():
            return False
        if b"Transfer-Encoding" in self.inheaders:
            # What follows the last chunk must never be taken for a request.
            self.close_connection = True
            if not self.chunked_read:
                self.simple_response("400 Bad Request", "HTTP/1.0 has no Transfer-Encoding")
                return False
        return True

    def respond(self) -> None:
        """Have the application answer."""
        if not self.chunked_read:
            super().respond()
            return
        self.rfile = ChunkedBody(self.conn.rfile, self.server.max_request_body_size)
        self.server.gateway(self).respond()
        if self.ready:
            self.ensure_headers_sent()
        if self.chunked_write:
            self.conn.wfile.write(b"0\r\n\r\n")

    def send_headers(self) -> None:
        """Begin the answer; what the application left of a large body is not waited for."""
        if self._unread() > len(self.conn.rfile.received):
            self.close_connection = True
        super().send_headers()

    def simple_response(self, status: object, msg: str = "") -> None:
        """Answer what never reaches the application: HTTP that is malformed, or far too large."""
        body = encode_text({"status": str(status), "message": msg})
        head = (
            f"{self.server.protocol} {status}",
            f"Content-Length: {len(body)}",
            "Content-Type: application/json",
            "Connection: close",
        )
        self.close_connection = True
        with suppress(OSError):
            self.conn.wfile.write("\r\n".join((*head, "", "")).encode("latin-1") + body)

    def _unread(self) -> int:
        return getattr(self.rfile, "remaining", 0)
