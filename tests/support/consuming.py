"""A consumer command as a process, and a producer that remembers who subscribed."""

import http.client
import json
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psutil

from tests.support.processes import BIN, Program
from tests.support.servers import AnswerTriple, Received, RecordingServer, eventually, free_port

COMMAND = BIN / "start-pacifica-notifications-consumer"
#: Seconds that a start may take: creating the environment is most of it.
STARTS = 60.0
ENDS = 30.0


class Subscriptions:
    """What a producer answers: subscriptions are made, listed, shown, changed and ended."""

    def __init__(self) -> None:
        self.kept: dict[UUID, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def answer(self, request: Received) -> AnswerTriple:
        with self._lock:
            if request.method == "POST":
                uuid = uuid4()
                state = {"uuid": str(uuid), "disabled": None, "error": None}
                self.kept[uuid] = json.loads(request.body) | state
                return self._shown(self.kept[uuid])
            if request.path == "/eventmatch":
                return self._shown(list(self.kept.values()))
            uuid = UUID(request.path.rpartition("/")[2])
            if uuid not in self.kept:
                return 403, {}, b""
            if request.method == "DELETE":
                del self.kept[uuid]
                return 200, {}, b""
            if request.method == "PUT":
                self.kept[uuid] |= json.loads(request.body)
            return self._shown(self.kept[uuid])

    def _shown(self, document: object) -> AnswerTriple:
        return 200, {}, json.dumps(document).encode()


@dataclass
class Site:
    """Where a consumer's command is run: its work folder, its port, its producer."""

    folder: Path
    producer: RecordingServer
    subscriptions: Subscriptions
    port: int

    @property
    def work(self) -> Path:
        return self.folder / "work"

    def command(self, archive: bytes, *options: str) -> list[str | Path]:
        """Return the command that starts an archive."""
        (self.folder / "consumer.zip").write_bytes(archive)
        return [
            COMMAND,
            self.folder / "consumer.zip",
            *("--producer", self.producer.url, "--user", "alice"),
            *("--port", str(self.port), "--work", str(self.work), "--grace", "5"),
            *options,
        ]

    @contextmanager
    def running(
        self, archive: bytes, *options: str, environment: Mapping[str, str] | None = None
    ) -> Iterator[Program]:
        """Start an archive and go on when it is subscribed."""
        command = self.command(archive, *options)
        with Program(command, environment or {}, self.folder) as program:
            program.wait_for_line("ready: ", STARTS)
            yield program

    def subscription(self) -> dict[str, Any]:
        """Return the only subscription there is."""
        (only,) = self.subscriptions.kept.values()
        return only

    def notify(self, event: object) -> str:
        """Send a notification as the producer would, and return its id."""
        header = self.subscription()["auth"]["header"]
        headers = {"Authorization": f"{header['type']} {header['credentials']}"}
        status, answer = self.call("POST", json.dumps(event).encode(), headers)
        assert status == 200, answer
        return answer["id"]

    def call(
        self, method: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, "/", body, dict(headers or {}))
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        return response.status, answer

    def shown(self) -> dict[str, Any]:
        """Return what the endpoint shows to who may see the runs."""
        token = (self.work / "status-token").read_text()
        return self.call("GET", headers={"Authorization": f"Bearer {token}"})[1]

    def run(self, uuid: str) -> dict[str, Any]:
        """Return what the endpoint shows of a run."""
        (found,) = [run for run in self.shown()["runs"] if run["id"] == uuid]
        return found

    def ended(self, uuid: str, timeout: float = ENDS) -> dict[str, Any]:
        """Wait for a run to end and return what the endpoint shows of it."""
        eventually(lambda: self.run(uuid)["ended"] is not None, timeout)
        return self.run(uuid)

    def wait_until(self, uuid: str, state: str, timeout: float = ENDS) -> dict[str, Any]:
        """Wait for a run to be in a state."""
        eventually(lambda: self.run(uuid)["state"] == state, timeout)
        return self.run(uuid)

    def failure(self, archive: bytes, *options: str) -> str:
        """Start an archive that cannot be started, and return the line that says why."""
        with Program(self.command(archive, *options), {}, self.folder) as program:
            status = program.wait(STARTS)
            assert status == 1, program.output
            return program.lines[-1]

    def left(self) -> set[str]:
        """Return what is in the work folder that a command should have removed."""
        stays = re.compile(r"runs|ledger\.sqlite3(-\w+)?|lock|start\.log")
        return {path.name for path in self.work.iterdir() if not stays.fullmatch(path.name)}


@contextmanager
def site(folder: Path) -> Iterator[Site]:
    """Give a place for a consumer, with its producer."""
    subscriptions = Subscriptions()
    with RecordingServer(subscriptions.answer) as producer:
        yield Site(folder, producer, subscriptions, free_port())


def listening(pid: int) -> list[Any]:
    """Return the sockets on which a process or one that it started takes connections."""
    program = psutil.Process(pid)
    return [
        each
        for process in (program, *program.children(recursive=True))
        for each in process.net_connections()
        if each.status == psutil.CONN_LISTEN or (each.type == socket.SOCK_DGRAM and not each.raddr)
    ]
