"""What came over a connection and what goes, between threads that take no time to wait."""

import ssl
import time
from collections import deque
from typing import Any

#: Most bytes that are received at once, and that an answer is before it is sent in parts.
PIECE = 64 * 1024
_AT_ONCE = 256 * 1024
# Who reads as fast as we send must not keep all others waiting.
_TIMES = 16
_NOT_NOW = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Reader:
    """What has arrived, as requests are read from it.

    Who reads past it finds the end, unless more may be waited for: then reading raises TimeoutError
    at the moment that was said.
    """

    def __init__(self, connected: Any) -> None:
        self.received = bytearray()
        self.bytes_read = 0
        self.closed = False
        self._socket = connected
        self._until: float | None = None

    def gather(self) -> bool | None:
        """Take what is there without waiting: True where there was something, None at the end."""
        try:
            piece = self._socket.recv(PIECE)
        except _NOT_NOW:
            return False
        except OSError:
            return None
        self.received += piece
        return True if piece else None

    def wait_until(self, moment: float | None) -> None:
        """Let reading wait for more until a moment of the monotonic clock; None: not at all."""
        self._until = moment

    def read(self, size: int = -1) -> bytes:
        """Return so many bytes, or all that can be had; fewer only at the end."""
        while size < 0 or len(self.received) < size:
            if not self._wait_for_more():
                break
        return self._taken(size if size >= 0 else len(self.received))

    def readline(self, size: int = -1) -> bytes:
        """Return a line, cut where it is longer than so many bytes (at most PIECE)."""
        longest = size if 0 <= size <= PIECE else PIECE
        while (end := self.received.find(b"\n", 0, longest)) < 0 and len(self.received) < longest:
            if not self._wait_for_more():
                break
        return self._taken(end + 1 if end >= 0 else longest)

    def read_head(self) -> bytes:
        """Return all up to and with the next empty line, or all that there is; never waits."""
        if self.received.startswith(b"\r\n"):
            return self._taken(2)
        end = self.received.find(b"\r\n\r\n")
        return self._taken(end + 4 if end >= 0 else len(self.received))

    def has_data(self) -> bool:
        """Tell whether something has arrived that was not read yet."""
        return bool(self.received)

    def close(self) -> None:
        """Forget what was not read."""
        self.closed = True
        self.received.clear()

    def _taken(self, size: int) -> bytes:
        with memoryview(self.received) as view:
            taken = bytes(view[:size])
        del self.received[:size]
        self.bytes_read += len(taken)
        return taken

    def _wait_for_more(self) -> bool:
        if self._until is None:
            return False
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(left)
        try:
            # Always more than a record of TLS has: what is left of one no selector would see.
            piece = self._socket.recv(PIECE)
        finally:
            self._socket.settimeout(0)  # nobody waits to send
        self.received += piece
        return bool(piece)


class Writer:
    """What is to be sent; writing never waits, and raises OSError where too much is unsent."""

    def __init__(self, connected: Any, most: int) -> None:
        self.bytes_written = 0
        self.unsent = 0
        self._socket = connected
        self._most = most
        self._parts: deque[bytes] = deque()
        self._sent = 0  # of the first part

    def write(self, data: bytes) -> int:
        """Add bytes to what is to be sent."""
        self._parts.append(data)
        self.unsent += len(data)
        self.bytes_written += len(data)
        if self.unsent > PIECE:
            self.send()
        if self.unsent > self._most:
            raise TimeoutError("timed out")
        return len(data)

    def send(self) -> bool:
        """Send what can be sent now, though not much at once; True when nothing is left."""
        if len(self._parts) > 1 and self.unsent <= PIECE:
            self._parts = deque([b"".join(self._parts)[self._sent :]])
            self._sent = 0
        try:
            for _ in range(_TIMES):
                if not self._parts:
                    break
                with memoryview(self._parts[0]) as view:
                    self._count(self._socket.send(view[self._sent : self._sent + _AT_ONCE]))
        except _NOT_NOW:
            return False
        return not self._parts

    def send_until(self, moment: float) -> None:
        """Send all; raises TimeoutError when a moment of the monotonic clock has come."""
        while self._parts:
            self._socket.settimeout(max(moment - time.monotonic(), 0.001))
            with memoryview(self._parts[0]) as view:
                self._count(self._socket.send(view[self._sent : self._sent + _AT_ONCE]))

    def _count(self, sent: int) -> None:
        self.unsent -= sent
        self._sent += sent
        if self._sent == len(self._parts[0]):
            self._parts.popleft()
            self._sent = 0
