"""Keeps the output of a program in a file, up to a number of bytes."""

import os
import select
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from pacifica.notifications.errors import ConsumerError

_SECRET = 0o600
_CHUNK = 2**16
# Seconds between two checks whether the program has ended, and to read its remaining output.
_POLL = 0.2
_LEFT_WITHIN = 1.0


class KeptOutput:
    """A pipe for a program's output, and a thread that appends the output to a file.

    `sink` is the end to write to. Raises ConsumerError if the file cannot be written.
    """

    def __init__(self, log: Path, max_bytes: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        try:
            self._log = os.open(log, flags, _SECRET)
        except OSError as error:
            raise ConsumerError(f"{log} cannot be written: {error.strerror}") from error
        self._max_bytes = self._left = max_bytes
        self._dropped = 0
        self._over = threading.Event()
        self._source, self.sink = os.pipe()
        self._has_sink = True
        self._thread = threading.Thread(target=self._copy, daemon=True)
        self._thread.start()

    def release_sink(self) -> None:
        """Close this process's write end, so that only the program has one."""
        if self._has_sink:
            self._has_sink = False
            os.close(self.sink)

    def finish(self) -> None:
        """Keep the remaining output in the pipe, and end.

        Processes that have left the program's group, and still write, are not waited for.
        """
        self.release_sink()
        self._over.set()
        self._thread.join(2 * _LEFT_WITHIN)

    def _copy(self) -> None:
        try:
            for chunk in self._chunks():
                self._keep(chunk)
            if self._dropped:
                total = self._max_bytes + self._dropped
                line = f"[the output went on: of {total} bytes {self._max_bytes} are kept]"
                self._write(f"\n{line}\n".encode())
        finally:
            os.close(self._source)
            os.close(self._log)

    def _chunks(self) -> Iterator[bytes]:
        deadline: float | None = None
        while deadline is None or time.monotonic() < deadline:
            if deadline is None and self._over.is_set():
                deadline = time.monotonic() + _LEFT_WITHIN
            if _is_readable(self._source, _POLL if deadline is None else 0.0):
                chunk = os.read(self._source, _CHUNK)
                if not chunk:
                    return
                yield chunk
            elif deadline is not None:
                return

    def _keep(self, chunk: bytes) -> None:
        kept = chunk[: self._left]
        self._left -= len(kept)
        self._dropped += len(chunk) - len(kept)
        self._write(kept)

    def _write(self, content: bytes) -> None:
        # A full disk must not stop the reading, because the program would block.
        try:
            os.write(self._log, content)
        except OSError:
            self._left = 0


if sys.platform == "win32":

    def _is_readable(_source: int, _seconds: float) -> bool:
        """Return True, so that the reader blocks: Windows cannot poll pipes."""
        return True

else:

    def _is_readable(source: int, seconds: float) -> bool:
        """Wait for data or the end of the pipe; return False after some seconds."""
        poll = select.poll()
        poll.register(source, select.POLLIN)
        return bool(poll.poll(1000 * seconds))
