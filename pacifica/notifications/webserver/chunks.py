"""Bodies in the chunked transfer coding, read strictly and in linear time.

The format is RFC 9112, section 7.1. What it does not know raises ValueError, so that no other
reader of the same bytes, such as a proxy in front, can take them for something else.
"""

import re
from typing import Protocol

from cheroot.errors import MaxSizeExceeded

#: Longest line that says a chunk's size, and most bytes of what may follow the last chunk.
LONGEST = 4096
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")
_END = b"\r\n"


class Stream(Protocol):
    """What chunks are read from."""

    def read(self, size: int) -> bytes:
        """Return so many bytes, fewer only at the end."""

    def readline(self, size: int) -> bytes:
        """Return a line, cut where it is longer than so many bytes."""


class ChunkedBody:
    """The body of a request that came in chunks, as WSGI wants it.

    Reading raises ValueError for what is not in chunks, and MaxSizeExceeded where the body with its
    chunks' sizes is larger than `most` bytes; `closed` tells that it was read to its end.
    """

    def __init__(self, stream: Stream, most: int) -> None:
        self.closed = False
        self._stream = stream
        self._most = most
        self._seen = 0
        self._missing = 0  # of the chunk that is being read

    def read(self, size: int | None = None) -> bytes:
        """Return so many bytes, or all that are left; fewer only at the end."""
        parts: list[bytes] = []
        wanted = self._most if size is None or size < 0 else size
        while wanted > 0 and self._begun():
            part = self._stream.read(min(wanted, self._missing))
            if not part:
                raise ValueError("the body ends within a chunk")
            self._missing -= len(part)
            wanted -= len(part)
            parts.append(part)
            if not self._missing and self._stream.read(len(_END)) != _END:
                raise ValueError("a chunk is longer than its size")
        return b"".join(parts)

    def _begun(self) -> bool:
        """Tell whether there is a chunk to read from, after reading the next one's size."""
        if self._missing or self.closed:
            return not self.closed
        self._missing = chunk_size(self._line())
        self._count(self._missing)
        if not self._missing:
            while self._line():
                pass
            self.closed = True
        return not self.closed

    def _line(self) -> bytes:
        line = self._stream.readline(LONGEST)
        self._count(len(line))
        if not line.endswith(_END):
            raise ValueError("a line of the chunked body is too long, or does not end")
        return line[: -len(_END)]

    def _count(self, size: int) -> None:
        self._seen += size
        if self._seen > self._most:
            raise MaxSizeExceeded


def chunk_size(line: bytes) -> int:
    """Return the size that a chunk's first line says; raises ValueError where it says none."""
    said = _SIZE.fullmatch(line)
    if said is None:
        raise ValueError("a chunk has no size")
    return int(said[1], 16)


def after_chunk(received: bytearray, start: int) -> tuple[int, bool] | None:
    """Return where a chunk that begins at `start` ends and whether it is the last.

    None where it has not arrived completely; raises ValueError for what is no chunk.
    """
    line_end = received.find(_END, start, start + LONGEST)
    if line_end < 0:
        if len(received) - start >= LONGEST:
            raise ValueError("a chunk's first line is too long")
        return None
    size = chunk_size(bytes(received[start:line_end]))
    if not size:
        end = received.find(_END * 2, line_end, line_end + LONGEST)
        if end < 0 and len(received) - line_end >= LONGEST:
            raise ValueError("what follows the last chunk is too long")
        return None if end < 0 else (end + 2 * len(_END), True)
    end = line_end + len(_END) + size
    if len(received) < end + len(_END):
        return None
    if received[end : end + len(_END)] != _END:
        raise ValueError("a chunk is longer than its size")
    return end + len(_END), False
