"""Child processes that end with this one."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress

from pacifica.notifications import parent_watch

WINDOWS = os.name == "nt"


class Child:
    """One process whose output is passed on line by line, and which is ready at a certain one.

    `ready` is a part of that line.
    """

    def __init__(
        self, name: str, command: list[str], say: Callable[[str], None], *, ready: str
    ) -> None:
        self.name = name
        self._ready = ready
        self.ready = threading.Event()
        # A session of its own: Ctrl-C is for the parent alone, which then ends its children.
        self._process = subprocess.Popen(  # noqa: S603 the command is ours
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.PIPE,  # ends with this process, which tells the child to end as well
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(say,), daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its number, which is that of its group, too."""
        return self._process.pid

    def has_ended(self) -> bool:
        """Tell whether the process is gone."""
        return self._process.poll() is not None

    def tell_to_end(self) -> None:
        """Have the process end what it is doing; said twice, it would hurry."""
        self._process.terminate()

    def end(self) -> None:
        """Wait for the process that was told to end, for a bounded time, and then end it.

        What it has started and left behind, as a killed worker does, is ended with it.
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
