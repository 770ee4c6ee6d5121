"""How many events `/receive` takes a second, and how long each one waits for its answer.

`python -m tests.benchmarks.receive` measures the service under its own server and under uWSGI, on
SQLite and on PostgreSQL, and the service that it replaces, version 0.5.2, which is installed into a
virtual environment of its own (`--venv` says where, to keep it). PostgreSQL and Redis are those of
the tests. Everything listens on loopback and is stopped again.

Two figures for each. Throughput: 16 clients on kept connections, each with its next request as soon
as the last one is answered. Latency: requests at a fixed rate, each timed from the moment at which
it was due, so that waiting behind a slow one counts.
"""

import argparse
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path

import pycurl
import redis

from tests.support import databases
from tests.support.processes import BIN, clean_environment
from tests.support.servers import free_port

ROOT = Path(__file__).parents[2]
EVENT = ROOT / "tests" / "captures" / "ingest.json"
REDIS = os.environ.get("BENCHMARK_REDIS_URL", "redis://127.0.0.1:6379/12")
CONNECTIONS = 16
MOST_REQUESTS = 50_000
PATIENCE = 30.0
INSTALLATION = 600.0

OLD = [
    ["--no-deps", "pacifica-namespace==0.0.2", "pacifica-notifications==0.5.2"],
    [
        "peewee==3.13.3",
        "CherryPy==18.10.0",
        "cheroot==11.1.2",
        "psycopg2-binary==2.9.13",
        "requests==2.34.2",
        "python-dateutil==2.9.0.post0",
        "pytz==2026.6",
        "setuptools<81",
        "celery==5.7.0",
        "kombu==5.7.0",
        "redis==8.1.0",
        "packaging==26.3",
        "jsonschema==4.26.0",
        "six==1.17.0",
        "PyMySQL==1.2.4",
        "cloudevents-python==0.2.1",
        "jsonpath2==0.4.5",
        "backports.functools_lru_cache==2.0.0",
    ],
]
OLD_CHERRYPY = """
[global]
log.screen: True
log.access_file: 'access.log'
log.error_file: 'error.log'
server.socket_host: '127.0.0.1'
server.socket_port: {port}

[/]
request.dispatch: cherrypy.dispatch.MethodDispatcher()
tools.response_headers.on: True
tools.response_headers.headers: [('Content-Type', 'application/json')]
"""


@dataclass(frozen=True)
class Figures:
    """What clients saw; times in milliseconds."""

    a_second: float
    median: float
    p99: float
    answered: int
    failed: int


def main() -> int:
    """Measure everything and print one line for each; 1 when a request or an event was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="for each figure (default: 5)")
    parser.add_argument("--rate", type=float, default=200.0, help="for latencies (default: 200/s)")
    parser.add_argument("--venv", type=Path, help="where to keep the installation of 0.5.2")
    parser.add_argument("--no-old", action="store_true", help="leave 0.5.2 out")
    parser.add_argument("--client", type=int, metavar="PORT", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.client:
        return client(args.client, args.seconds, args.rate)
    with closing(redis.Redis.from_url(REDIS, socket_timeout=5)) as server:
        if server.dbsize():
            raise SystemExit(f"{REDIS} is not empty; name another one in BENCHMARK_REDIS_URL")
    say(f"{os.cpu_count()} cores, shared by clients, service and database servers")
    say(f"{CONNECTIONS} clients for throughput, {args.rate:g} requests/s for latency\n")
    say(f"{'':<44}{'requests/s':>11}{'p50 ms':>9}{'p99 ms':>9}")
    lost = False
    figures: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name, ExitStack() as stack:
        folder = Path(name)
        postgresql = stack.enter_context(database("postgresql", folder))
        for label, serving, url, broker in (
            ("own server, SQLite + filesystem", cheroot, None, None),
            ("uWSGI 2x8, SQLite + filesystem", uwsgi, None, None),
            ("own server, PostgreSQL + Redis", cheroot, postgresql, REDIS),
            ("uWSGI 2x8, PostgreSQL + Redis", uwsgi, postgresql, REDIS),
        ):
            with tempfile.TemporaryDirectory(dir=folder) as own, ExitStack() as running:
                place = Path(own)
                used = url or running.enter_context(database("sqlite", place))
                environment = ours(place, used, broker or f"filesystem://localhost{place}/queue")
                run([BIN / "pacifica-notifications-cmd", "dbsync"], environment, place)
                before = recorded(used)
                port = running.enter_context(serving(environment, place))
                figures[label] = measured(label, port, args.seconds, args.rate)
                stored = recorded(used) - before
                if figures[label].failed or stored < figures[label].answered:
                    say(f"    LOST: {figures[label]}, {stored} events on record")
                    lost = True
        if not args.no_old:
            label = "0.5.2, own server, PostgreSQL + Redis *"
            empty = stack.enter_context(database("postgresql", folder))
            environment = old_environment(folder, empty)
            bin_folder = installed_old(args.venv or folder / "venv") / "bin"
            run([bin_folder / "pacifica-notifications-cmd", "dbsync"], environment, folder)
            with old_server(bin_folder, environment, folder) as port:
                figures[label] = measured(label, port, args.seconds, args.rate)
            say("* has stored nothing when it answers: that is left to its worker")
            compare(figures, figures[label])
    return int(lost)


def say(line: str = "") -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)


def compare(figures: dict[str, Figures], old: Figures) -> None:
    """Print each figure as a multiple of the old service's."""
    say()
    for label, each in figures.items():
        if each is not old:
            say(f"{label:<44}{each.a_second / old.a_second:>10.1f}x of 0.5.2's requests/s")


def measured(label: str, port: int, seconds: float, rate: float) -> Figures:
    """Have clients in a process of their own send requests, and print what they saw."""
    command = [sys.executable, "-m", "tests.benchmarks.receive", "--client", str(port)]
    command += ["--seconds", str(seconds), "--rate", str(rate)]
    result = subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, timeout=10 * seconds + PATIENCE
    )
    figures = Figures(**json.loads(result.stdout))
    say(f"{label:<44}{figures.a_second:>11.0f}{figures.median:>9.1f}{figures.p99:>9.1f}")
    return figures


# Clients


def client(port: int, seconds: float, rate: float) -> int:
    """Measure a server from this process and print the figures as JSON."""
    url = f"http://127.0.0.1:{port}/receive"
    requests = Requests(url, EVENT.read_bytes())
    warm_up = requests.as_fast_as_answered(min(seconds, 1.0))
    fast = requests.as_fast_as_answered(seconds)
    paced = requests.at_rate(rate, seconds)
    times = sorted(paced) or [0.0]
    figures = Figures(
        a_second=len(fast) / seconds,
        median=1000 * times[len(times) // 2],
        p99=1000 * times[int(len(times) * 0.99)],
        answered=len(warm_up) + len(fast) + len(paced),
        failed=requests.failed,
    )
    say(json.dumps(asdict(figures)))
    return 0


class Requests:
    """The same POST again and again on kept connections; `failed` counts all answers but 200."""

    def __init__(self, url: str, body: bytes) -> None:
        self.failed = 0
        self._multi = pycurl.CurlMulti()
        self._idle = [self._handle(url, body) for _ in range(CONNECTIONS)]
        self._began: dict[pycurl.Curl, float] = {}

    def as_fast_as_answered(self, seconds: float) -> list[float]:
        """Send the next request on each connection when the last one is answered."""
        ends = time.perf_counter() + seconds

        def due(sent: int) -> float | None:
            now = time.perf_counter()
            return now if now < ends and sent < MOST_REQUESTS else None

        return self._run(due)

    def at_rate(self, rate: float, seconds: float) -> list[float]:
        """Send a request at each moment of a fixed rate, late where all connections are busy."""
        first = time.perf_counter()
        count = int(rate * seconds)
        return self._run(lambda sent: first + sent / rate if sent < count else None)

    def _run(self, due: Callable[[int], float | None]) -> list[float]:
        """Send until `due` gives no moment for the next one; return how long each took."""
        times: list[float] = []
        sent = 0
        while (moment := due(sent)) is not None or self._began:
            pause = 1.0 if moment is None else moment - time.perf_counter()
            if moment is not None and pause <= 0 and self._idle:
                handle = self._idle.pop()
                self._began[handle] = moment
                self._multi.add_handle(handle)
                sent += 1
                continue
            self._multi.perform()
            ended = list(self._ended())
            times += ended
            if not ended and self._began:
                self._multi.select(min(max(pause, 0.0), 1.0) if self._idle else 1.0)
            elif not ended:
                time.sleep(max(pause, 0.0))
        return times

    def _ended(self) -> Iterator[float]:
        _more, done, failed = self._multi.info_read()
        now = time.perf_counter()
        for handle in (*done, *(each[0] for each in failed)):
            self._multi.remove_handle(handle)
            self._idle.append(handle)
            took = now - self._began.pop(handle)
            if handle in done and handle.getinfo(pycurl.RESPONSE_CODE) == 200:
                yield took
            else:
                self.failed += 1

    @staticmethod
    def _handle(url: str, body: bytes) -> pycurl.Curl:
        handle = pycurl.Curl()
        handle.setopt(pycurl.URL, url)
        handle.setopt(pycurl.PROXY, "")
        handle.setopt(pycurl.POSTFIELDS, body)
        handle.setopt(pycurl.HTTPHEADER, ["Content-Type: application/json", "Expect:"])
        handle.setopt(pycurl.TIMEOUT, 10)
        handle.setopt(pycurl.NOSIGNAL, 1)
        handle.setopt(pycurl.WRITEDATA, BytesIO())
        return handle


# Servers


def ours(folder: Path, database_url: str, broker: str) -> dict[str, str]:
    """Return what configures the service for a measurement, and nothing of this machine's."""
    return clean_environment() | {
        "NOTIFICATIONS_CONFIG": str(folder / "absent.ini"),
        "NOTIFICATIONS_CPCONFIG": str(folder / "absent.conf"),
        "PEEWEE_URL": database_url,
        "BROKER_URL": broker,
    }


@contextmanager
def cheroot(environment: dict[str, str], folder: Path) -> Iterator[int]:
    """Run the service under its own server."""
    port = free_port()
    command = [BIN / "pacifica-notifications", "-a", "127.0.0.1", "-p", str(port)]
    with running(command, environment, folder, port, signal.SIGTERM):
        yield port


@contextmanager
def uwsgi(environment: dict[str, str], folder: Path) -> Iterator[int]:
    """Run the service under uWSGI, two processes with eight threads each."""
    port = free_port()
    command = [BIN / "uwsgi", "--http11-socket", f"127.0.0.1:{port}", "--master"]
    command += ["--processes", "2", "--threads", "8", "--module", "pacifica.notifications.wsgi"]
    with running(command, environment, folder, port, signal.SIGINT):
        yield port


def old_environment(folder: Path, database_url: str) -> dict[str, str]:
    """Return what configures 0.5.2."""
    return clean_environment() | {
        "PEEWEE_URL": database_url,
        "BROKER_URL": REDIS,
        "BACKEND_URL": "rpc://",
        "POLICY_URL": "http://127.0.0.1:9",
        "NOTIFICATIONS_CPCONFIG": str(folder / "old.conf"),
    }


def installed_old(folder: Path) -> Path:
    """Install 0.5.2 into a virtual environment, unless it is there."""
    if not (folder / "bin" / "pacifica-notifications").exists():
        venv.create(folder, with_pip=True, clear=folder.exists())
        for requirements in OLD:
            pip = [folder / "bin" / "python", "-m", "pip", "install", "-q", *requirements]
            run(pip, clean_environment(), folder, INSTALLATION)
    return folder


@contextmanager
def old_server(bin_folder: Path, environment: dict[str, str], folder: Path) -> Iterator[int]:
    """Run 0.5.2 under its own server."""
    port = free_port()
    configuration = Path(environment["NOTIFICATIONS_CPCONFIG"])
    configuration.write_text(OLD_CHERRYPY.format(port=port))
    command = [bin_folder / "pacifica-notifications", "--cpconfig", configuration]
    with running(command, environment, folder, port, signal.SIGTERM):
        yield port


@contextmanager
def running(
    command: Sequence[str | Path], environment: dict[str, str], folder: Path, port: int, end: int
) -> Iterator[None]:
    """Run a server for the block, its output in a file, from when it answers on its port."""
    with (folder / "output.log").open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        try:
            await_answer(process, port, folder / "output.log")
            yield
            process.send_signal(end)
            process.wait(PATIENCE)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE)
            with closing(redis.Redis.from_url(REDIS, socket_timeout=5)) as client:
                client.flushdb()


def await_answer(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
                connection.request("GET", "/")
                connection.getresponse()
                return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"a server does not answer:\n{log.read_text(errors='replace')[-2000:]}")


def run(
    command: Sequence[str | Path],
    environment: dict[str, str],
    folder: Path,
    timeout: float = PATIENCE,
) -> None:
    """Run a command to its end; what it says is shown when it fails."""
    result = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environment,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
    )
    if result.returncode:
        raise SystemExit(f"{command[0]} failed:\n{result.stdout.decode(errors='replace')[-2000:]}")


# Databases


@contextmanager
def database(engine: str, folder: Path) -> Iterator[str]:
    """Create an empty database for the block; gives its URL."""
    url = databases.unused_url(engine, folder)
    databases.create(url)
    try:
        yield url
    finally:
        databases.drop(url)


def recorded(url: str) -> int:
    """Return how many events are on record."""
    return databases.execute(url, "SELECT COUNT(*) FROM eventlog")[0][0]


if __name__ == "__main__":
    sys.exit(main())
