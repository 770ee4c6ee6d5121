"""The work folder of a consumer, and its note of what a command has created.

Each entry is noted before the thing itself is created. So if a command is killed, the next one in
the same folder finds what is left.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from pacifica.notifications.consumer.ledger import Ledger
from pacifica.notifications.errors import ConsumerError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_PRIVATE = 0o700
_SECRET = 0o600


class WorkFolder:
    """The folder with archive, environment, queue, ledger and runs of one consumer."""

    def __init__(self, path: Path) -> None:
        self.path = path = path.absolute()
        self.archive = path / "archive"
        self.environment = path / "environment"
        self.wheels = path / "wheels"
        self.queue = path / "queue"
        self.runs = path / "runs"
        self.log = path / "start.log"
        self.status_token = path / "status-token"
        self.ledger = Ledger(path / "ledger.sqlite3")
        self._note = path / "note.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the folder and lock it against other commands; raise ConsumerError."""
        try:
            self.path.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            self.runs.mkdir(mode=_PRIVATE, exist_ok=True)
            lock = (self.path / "lock").open("a+b")
        except OSError as error:
            raise ConsumerError(f"{self.path} cannot be used: {error.strerror}") from error
        with lock:
            try:
                _lock(lock.fileno())
            except OSError as error:
                raise ConsumerError(f"another consumer is running in {self.path}") from error
            yield

    def noted(self) -> dict[str, Any]:
        """Return the noted facts; empty if the note is absent or broken."""
        with suppress(OSError, ValueError):
            found = json.loads(self._note.read_text())
            if isinstance(found, dict):
                return found
        return {}

    def note(self, **facts: Any) -> None:
        """Add facts to the note; None removes a fact. Without facts, there is no note."""
        facts = {name: fact for name, fact in {**self.noted(), **facts}.items() if fact is not None}
        if facts:
            write_durably(self._note, json.dumps(facts).encode())
        else:
            self._note.unlink(missing_ok=True)

    def forget(self, keep: Set[str] = frozenset()) -> None:
        """Remove all facts from the note but some, because nothing else is left to undo."""
        self.note(**dict.fromkeys(self.noted().keys() - keep))

    def run(self, uuid: UUID) -> "RunFolder":
        """Return the folder of a run."""
        return RunFolder(self.runs / str(uuid))

    def remove_program(self) -> None:
        """Remove the extracted archive and its environment; keep the runs."""
        for folder in (self.archive, self.environment, self.wheels):
            shutil.rmtree(folder, ignore_errors=True)


class RunFolder:
    """The folder with one run's input and output."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.source = path / "src"
        self.destination = path / "dst"
        self.log = path / "output.log"
        self.notification = self.source / "notification.json"

    def create(self, notification: bytes) -> None:
        """Store a notification; it is on disk when this returns."""
        self.source.mkdir(mode=_PRIVATE, parents=True)
        (self.destination / "uploads").mkdir(mode=_PRIVATE, parents=True)
        write_durably(self.notification, notification)
        for folder in (self.source, self.path, self.path.parent):
            _sync_folder(folder)

    def remove(self) -> None:
        """Remove the run's folder with its content."""
        shutil.rmtree(self.path, ignore_errors=True)


def write_durably(path: Path, content: bytes) -> None:
    """Replace a file atomically and durably; only its owner can read it."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    number = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _SECRET)
    with os.fdopen(number, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, if the system supports it."""
    with suppress(OSError, AttributeError):
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _lock(number: int) -> None:
    if sys.platform == "win32":
        msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
