"""How far a request has arrived, judged by the bytes that are there.

Only what must be known to wait for the rest is looked at (RFC 9112, sections 2, 6 and 7.1). What is
malformed counts as refused, and is left to those who read requests: they say what is wrong with it.
"""

import re
from dataclasses import dataclass
from enum import Enum, auto

from pacifica.notifications.webserver.chunks import after_chunk


class Progress(Enum):
    """How far a request is."""

    HEAD = auto()  # its head is arriving
    BODY = auto()  # its head is there, its body is arriving
    WHOLE = auto()
    LARGE = auto()  # as much is there as is gathered, and more will come
    REFUSED = auto()  # whatever comes, it will be refused


@dataclass(frozen=True)
class Sizes:
    """How many bytes a request may have, and how many of its body are gathered."""

    head: int
    body: int
    gathered: int


# The larger a body is that comes in so many chunks, the longer looking at each would take.
_MOST_CHUNKS = 1000
_HEAD_ENDS = b"\r\n\r\n"
_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_REQUEST_BEGINS = re.compile(rb"(?:\r\n?)?[A-Z]|\r\n?\Z|\Z")
_REQUEST_LINE = re.compile(rb"(?:\r\n)?[A-Z][^\r\n]* HTTP/[0-9]\.[0-9]\r\n")
_TELLING = re.compile(
    rb"\r\n(content-length|transfer-encoding|expect)[ \t]*:([^\r\n]*)", re.IGNORECASE
)
_DIGITS = re.compile(rb"[0-9]{1,15}")


class Arrival:
    """One request that is arriving."""

    def __init__(self, sizes: Sizes) -> None:
        self.expects_continue = False
        self._sizes = sizes
        self._searched = 0
        self._head = 0  # where it ends, when it is there
        self._length: int | None = None  # None: in chunks
        self._scanned = 0
        self._chunks = 0

    def progress(self, received: bytearray) -> Progress:
        """Judge by all that has been received of the request; what follows it does no harm."""
        if not self._head:
            end = received.find(_HEAD_ENDS, max(0, self._searched - len(_HEAD_ENDS) + 1))
            if end < 0:
                return self._of_head(received)
            self._head = end + len(_HEAD_ENDS)
            head = bytes(received[: end + 2])
            if len(head) + 2 > self._sizes.head or not self._understands(head):
                return Progress.REFUSED
        if self._length is None:
            return self._of_chunks(received)
        if len(received) >= self._head + self._length:
            return Progress.WHOLE
        gathered = len(received) - self._head >= self._sizes.gathered
        return Progress.LARGE if gathered else Progress.BODY

    def _of_head(self, received: bytearray) -> Progress:
        refused = (
            len(received) > self._sizes.head
            or not _REQUEST_BEGINS.match(received)
            or _BARE_LINE_FEED.search(received, self._searched)
            or (received.find(b"\n", 2) >= 0 and not _REQUEST_LINE.match(received))
        )
        self._searched = len(received)
        return Progress.REFUSED if refused else Progress.HEAD

    def _understands(self, head: bytes) -> bool:
        """Read from a head how its body ends; False where it will be refused."""
        lengths, codings = [], []
        for name, value in _TELLING.findall(head):
            match name[:1].lower():
                case b"c":
                    lengths.append(value.strip())
                case b"t":
                    codings.append(value.strip().lower())
                case _:
                    self.expects_continue = value.strip().lower() == b"100-continue"
        if _BARE_LINE_FEED.search(head):
            return False
        if codings:
            self._scanned = self._head
            return codings == [b"chunked"] and not lengths
        length = lengths[0] if lengths else b"0"
        if len(lengths) > 1 or not _DIGITS.fullmatch(length):
            return False
        self._length = int(length)
        return self._length <= self._sizes.body

    def _of_chunks(self, received: bytearray) -> Progress:
        try:
            while self._chunks < _MOST_CHUNKS:
                after = after_chunk(received, self._scanned)
                if after is None:
                    break
                self._scanned, is_last = after
                self._chunks += 1
                if is_last:
                    return Progress.WHOLE
        except ValueError:
            return Progress.REFUSED
        gathered = len(received) - self._head >= self._sizes.gathered
        return Progress.LARGE if gathered or self._chunks == _MOST_CHUNKS else Progress.BODY
