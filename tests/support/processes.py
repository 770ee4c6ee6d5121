"""Programs as real processes: their output is kept, and every wait for them is bounded."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self
from uuid import uuid4

BIN = Path(sys.executable).parent
TIMEOUT = 30.0
#: What tells a service's process about this machine's own set-up, and must not reach a test's.
_OURS = re.compile(
    r"(POLICY|DELIVERY|CELERY|DATABASE|RECEIVE|EVENTMATCH|MATCHING|NOTIFICATIONS|RECOVERY|HOLDING"
    r"|SECURITY|SETTLE|WEB)_.*"
    r"|USER_HEADER|DEFAULT_USER|BROKER_URL|BACKEND_URL|PEEWEE_URL"
)


class Program:
    """A process in a group of its own; the end of the `with` block kills all that it started.

    Standard output and standard error are one stream, in `output`.
    """

    def __init__(
        self, command: Sequence[str | Path], environment: Mapping[str, str], folder: Path
    ) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            cwd=folder,
            env={**clean_environment(), **environment},
            start_new_session=True,
        )
        self.pid = self._process.pid
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        with self._changed:
            return "\n".join(self.lines)

    def wait_for_line(self, part: str, timeout: float = TIMEOUT) -> str:
        """Return the first line that has `part` in it; fail when there is none in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._line(part) is not None, timeout)
            line = self._line(part)
        if line is None:
            raise AssertionError(f"no line with {part!r} within {timeout:g} s:\n{self.output}")
        return line

    def wait(self, timeout: float = TIMEOUT) -> int:
        """Return the exit status; fail when the process has not ended in time."""
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout:g} s:\n{self.output}") from None
        self._reader.join(timeout)
        return status

    def signal(self, number: int) -> None:
        """Send a signal to the process alone, as an operator's `kill` does."""
        self._process.send_signal(number)

    def kill_group(self) -> None:
        """Kill the process and all that it started, at once."""
        if group_is_alive(self.pid):
            os.killpg(self.pid, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        started = descendants(self.pid)
        self.kill_group()
        for pid in started:  # what has a group of its own
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(TIMEOUT)
        self._reader.join(TIMEOUT)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _line(self, part: str) -> str | None:
        return next((line for line in self.lines if part in line), None)

    def _read(self) -> None:
        for line in self._process.stdout or ():
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


def clean_environment() -> dict[str, str]:
    """Return this process's environment without anything that configures the service."""
    return {name: value for name, value in os.environ.items() if not _OURS.fullmatch(name)}


def group_is_alive(group: int) -> bool:
    """Tell whether a process group has a process that runs."""
    for process in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = process.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] not in "ZX":
            return True
    return False


def descendants(pid: int) -> set[int]:
    """Return the processes that a process has started, and those that these have."""
    parents: dict[int, int] = {}
    for process in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = process.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(process.parent.name)] = int(fields[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def is_alive(pid: int) -> bool:
    """Tell whether a process exists and has not ended."""
    try:
        state = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def memory(pid: int) -> int:
    """Return how much memory a process has (bytes)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (size,) = (line.split()[1] for line in lines if line.startswith("VmRSS:"))
    return int(size) * 1024


def open_files(pid: int) -> int:
    """Return how many files and sockets a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@contextmanager
def web_server(environment: Mapping[str, str], folder: Path, port: int) -> Iterator[Program]:
    """Run `pacifica-notifications` for the block, which begins when it serves."""
    command = [BIN / "pacifica-notifications", "-a", "127.0.0.1", "-p", str(port)]
    with Program(command, environment, folder) as program:
        program.wait_for_line("Bus STARTED")
        yield program


@contextmanager
def worker(
    environment: Mapping[str, str],
    folder: Path,
    *,
    processes: int = 1,
    alone: bool = True,
    name: str | None = None,
) -> Iterator[Program]:
    """Run a Celery worker, as operators start it, for the block, which begins when it is ready.

    One that is `alone` does not look for others first, which takes a second.
    """
    command = [BIN / "celery", "-A", "pacifica.notifications.tasks", "worker"]
    # RabbitMQ lets one worker of a name in, and a killed one's place may not be free yet.
    hostname = ["--hostname", name or f"{uuid4().hex}@%h"]
    options = [*hostname, "--concurrency", str(processes), "--loglevel", "INFO"]
    if alone:
        options += ["--without-mingle", "--without-gossip"]
    with Program([*command, *options], environment, folder) as program:
        program.wait_for_line(" ready.")
        yield program
