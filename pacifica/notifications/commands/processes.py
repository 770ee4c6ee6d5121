"""The web server and the worker as child processes, their output in one stream."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from pacifica.notifications.commands import bound
from pacifica.notifications.errors import NotificationsError

WINDOWS = os.name == "nt"
_POLL = 0.1
_READY = {"web": "Bus STARTED", "worker": " ready."}


class Child:
    """One process whose output is passed on line by line, and which is ready at a certain one."""

    def __init__(self, name: str, command: list[str], say: Callable[[str], None]) -> None:
        self.name = name
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
            self._process.wait(bound.GRACE)
        self._kill()
        self._reader.join(bound.GRACE)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _kill(self) -> None:
        if WINDOWS:
            self._process.kill()
        else:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(bound.GRACE)

    def _read(self, say: Callable[[str], None]) -> None:
        for line in self._process.stdout or ():
            if line.strip():
                say(f"{self.name:<6} | {line.rstrip()}")
            if _READY[self.name] in line:
                self.ready.set()


def embedded_environment(folder: Path) -> dict[str, str]:
    """Return what makes a service keep everything in one folder and need no server."""
    folder = folder.absolute()
    return {
        "BROKER_URL": (folder / "queue").as_uri().replace("file://", "filesystem://localhost", 1),
        "PEEWEE_URL": f"sqliteext:///{(folder / 'db.sqlite3').as_posix()}",
    }


@contextmanager
def web_and_worker(
    address: str, port: int, say: Callable[[str], None], patience: float
) -> Iterator[Mapping[str, Child]]:
    """Run both for the time of the block, which begins when they are ready.

    Raises NotificationsError where one is not ready after `patience` seconds.
    """
    module = [sys.executable, "-m", bound.__name__]
    worker = "celery -A pacifica.notifications.tasks worker --loglevel INFO --concurrency 2"
    quiet = "--without-gossip --without-mingle --without-heartbeat"
    pool = ["--pool", "solo"] if WINDOWS else []  # prefork needs fork
    commands = {
        "web": [*module, "pacifica.notifications", "-a", address, "-p", str(port)],
        "worker": [*module, *worker.split(), *quiet.split(), *pool],
    }
    children: dict[str, Child] = {}
    try:
        for name, command in commands.items():
            children[name] = Child(name, command, say)
        deadline = time.monotonic() + patience
        for child in children.values():
            _await_ready(child, deadline)
        yield children
    finally:
        for child in children.values():
            child.tell_to_end()
        for child in children.values():
            child.end()


def _await_ready(child: Child, deadline: float) -> None:
    while not child.ready.wait(_POLL):
        if child.has_ended() or time.monotonic() > deadline:
            raise NotificationsError(f"the {child.name} process did not start")
