"""Child processes that end when this process ends."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress

from pacifica.notifications import parent_watch

WINDOWS = os.name == "nt"


class Child:
    """A child process whose output is forwarded line by line.

    The process is ready when a line contains `ready`.
    """

    def __init__(
        self, name: str, command: list[str], say: Callable[[str], None], *, ready: str
    ) -> None:
        self.name = name
        self._ready = ready
        self.ready = threading.Event()
        # A separate session: Ctrl-C reaches only the parent, which then ends its children.
        self._process = subprocess.Popen(  # noqa: S603 the command is ours
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.PIPE,  # closes when this process ends, which ends the child
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(say,), daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its process group."""
        return self._process.pid

    def has_ended(self) -> bool:
        """Return whether the process has ended."""
        return self._process.poll() is not None

    def tell_to_end(self) -> None:
        """Ask the process to finish its work and end; a second call would hurry it."""
        self._process.terminate()

    def end(self) -> None:
        """Wait for the process for a limited time, then kill it.

        Processes that it left behind, such as those of a killed worker, are killed too.
        """
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(parent_watch.GRACE)
        self._kill()
        self._reader.join(parent_watch.GRACE)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _kill(self) -> None:
        if WINDOWS:
            self._process.kill()
        else:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(parent_watch.GRACE)

    def _read(self, say: Callable[[str], None]) -> None:
        for line in self._process.stdout or ():
            if line.strip():
                say(f"{self.name:<6} | {line.rstrip()}")
            if self._ready in line:
                self.ready.set()
