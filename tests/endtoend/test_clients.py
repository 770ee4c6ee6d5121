"""Two hundred clients at once, while a worker writes: nobody is reset, refused or misanswered."""

import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.support import databases
from tests.support.deployments import Service, environment_of
from tests.support.processes import Program
from tests.support.servers import RecordingServer, free_port
from tests.support.templates import migrated_database
from tests.support.uwsgi import uwsgi_server

CLIENTS = 200
#: Seconds that a client waits for an answer before it gives up.
TIMEOUT = 30


class Client:
    """A user with a subscription of their own, on one connection that is kept or one each time."""

    def __init__(self, port: int, number: int, *, keeps: bool) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        self._keeps = keeps
        self.name = f"client_{number}"

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Return what the answer's JSON says, None for an empty one; it must be a 200."""
        headers = {"Http-Remote-User": self.name, "Content-Type": "application/json"}
        if not self._keeps:
            headers["Connection"] = "close"
        content = None if body is None else json.dumps(body).encode()
        self._connection.request(method, path, content, headers)
        response = self._connection.getresponse()
        text = response.read()
        if not self._keeps:
            self._connection.close()
        assert response.status == 200, (method, path, text)
        return text.decode() if path == "/receive" else json.loads(text or b"null")

    def work(self, target: str) -> None:
        """Subscribe, change, send two events and end the subscription; check each answer."""
        body = {"name": "first", "jsonpath": f"$.{self.name}", "target_url": target}
        created = self.call("POST", "/eventmatch", body)
        mine = f"/eventmatch/{created['uuid']}"
        assert body.items() <= created.items()
        assert self.call("GET", mine) == created
        UUID(self.call("POST", "/receive", {self.name: 1}))
        changed = self.call("PUT", mine, {"name": "second"})
        assert changed == {**created, "name": "second", "updated": changed["updated"]}
        UUID(self.call("POST", "/receive", {self.name: 2}))
        assert self.call("GET", "/eventmatch") == [changed]
        assert self.call("DELETE", mine) is None
        assert self.call("GET", "/eventmatch") == []

    def close(self) -> None:
        self._connection.close()


@dataclass(frozen=True)
class Busy:
    """A service whose web server and worker run, and the target of all subscriptions."""

    service: Service
    worker: Program
    target: RecordingServer


def web_server(kind: str, service: Service) -> AbstractContextManager[Program]:
    if kind == "own":
        return service.web_server()
    return uwsgi_server(service.environment, service.folder, service.port)


@pytest.fixture(scope="module", params=databases.ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module", params=["own", "uwsgi"])
def busy(
    request: pytest.FixtureRequest, engine: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Busy]:
    folder: Path = tmp_path_factory.mktemp("clients")
    with ExitStack() as stack:
        database = stack.enter_context(migrated_database(engine, folder))
        policy = stack.enter_context(RecordingServer())
        target = stack.enter_context(RecordingServer())
        environment = environment_of(folder, database, POLICY_URL=policy.url)
        service = Service(folder, free_port(), environment)
        web = stack.enter_context(web_server(request.param, service))
        worker = stack.enter_context(service.worker(processes=2))
        yield Busy(service, worker, target)
        for program in (web, worker):
            assert "Traceback" not in program.output
            assert "locked" not in program.output
            assert "the database did not answer" not in program.output


def test_everybody_is_answered_right_when_200_clients_work_at_once(busy: Busy) -> None:
    together = threading.Barrier(CLIENTS)

    def visit(number: int) -> None:
        with closing(Client(busy.service.port, number, keeps=number % 2 == 0)) as client:
            together.wait(TIMEOUT)
            client.work(busy.target.url)

    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(visit, range(CLIENTS)))
