"""Programs under measurement: workers whose logs go to files, and what processes cost."""

import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.support.deployments import Service
from tests.support.processes import BIN, TIMEOUT, Program, descendants, is_alive

_TICKS = os.sysconf("SC_CLK_TCK")
#: Names of processes beside the worker whose work is part of a delivery.
SERVERS = ("postgres", "redis-server", "beam.smp", "nginx")


@dataclass(frozen=True)
class Ours(Service):
    """The present service, its programs run as operators do, and as 0.5.2's are here."""

    def worker(self, **options: Any) -> AbstractContextManager[Program]:
        """Run a worker; the options are those of `logged_worker`."""
        return logged_worker(BIN, self.environment, self.folder, **options)

    @contextmanager
    def uwsgi(self) -> Iterator[Program]:
        """Run the web server under uWSGI, two processes with eight threads each."""
        command: list[str | Path] = [
            BIN / "uwsgi",
            "--http11-socket",
            f"127.0.0.1:{self.port}",
            "--master",
        ]
        command += ["--processes", "2", "--threads", "8", "--need-app", "--listen", "512"]
        command += ["--hook-master-start", "unix_signal:15 gracefully_kill_them_all"]
        command += ["--module", "pacifica.notifications.wsgi", "--disable-logging"]
        with Program(command, self.environment, self.folder) as program:
            await_answer(program, self.port)
            yield program


@contextmanager
def logged_worker(
    bin_folder: Path, environment: Mapping[str, str], folder: Path, *, processes: int = 1
) -> Iterator[Program]:
    """Run a Celery worker that logs to a file, for the block, which begins when it is ready."""
    name = uuid4().hex
    log = folder / f"{name}.log"
    command: list[str | Path] = [
        bin_folder / "celery",
        "-A",
        "pacifica.notifications.tasks",
        "worker",
    ]
    options = ["--hostname", f"{name}@%h", "--concurrency", str(processes)]
    options += ["--loglevel", "INFO", "--logfile", str(log)]
    options += ["--without-mingle", "--without-gossip"]
    with Program([*command, *options], environment, folder) as program:
        deadline = time.monotonic() + TIMEOUT
        while not (log.exists() and " ready." in log.read_text(errors="replace")):
            if time.monotonic() > deadline or not is_alive(program.pid):
                raise SystemExit(f"a worker does not start:\n{program.output[-2000:]}")
            time.sleep(0.05)
        yield program


def await_answer(program: Program, port: int) -> None:
    """Wait until a program answers on its port."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline and is_alive(program.pid):
        try:
            with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
                connection.request("GET", "/")
                connection.getresponse()
                return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"a server does not answer:\n{program.output[-2000:]}")


@contextmanager
def paused(*programs: Program) -> Iterator[None]:
    """Stop programs and all that they started for the block."""
    for program in programs:
        os.killpg(program.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for program in programs:
            os.killpg(program.pid, signal.SIGCONT)


def processor_seconds(*programs: Program) -> float:
    """Return the processor time of programs, of what they started, and of what of that ended."""
    pids = {pid for program in programs for pid in (program.pid, *descendants(program.pid))}
    return sum(sum(_times(pid)) for pid in pids)


def seconds_of_servers() -> dict[str, float]:
    """Return the processor time of each kind of server, of all that have this name."""
    found = dict.fromkeys(SERVERS, 0.0)
    for process in Path("/proc").glob("[0-9]*/comm"):
        try:
            name = process.read_text().strip()
        except OSError:
            continue
        if name in SERVERS:
            found[name] += sum(_times(int(process.parent.name)))
    return found


def memory(*programs: Program) -> list[int]:
    """Return the resident memory (bytes) of programs and of what they started, in this order."""
    sizes = []
    for program in programs:
        for pid in (program.pid, *sorted(descendants(program.pid))):
            fields = Path("/proc", str(pid), "statm").read_text().split()
            sizes.append(int(fields[1]) * os.sysconf("SC_PAGE_SIZE"))
    return sizes


def _times(pid: int) -> tuple[float, ...]:
    """Return user and system time of a process, and those of its ended children (seconds)."""
    try:
        fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ()
    return tuple(int(field) / _TICKS for field in fields[11:15])
