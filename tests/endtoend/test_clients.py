"""Clients at their most: 200 at once beside a busy worker, and events that are very large."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from tests.support import databases
from tests.support.deployments import EVENT, Service, environment_of, migrated_database
from tests.support.processes import Program
from tests.support.servers import RecordingServer, free_port

pytestmark = pytest.mark.endtoend

CLIENTS = 200
#: Seconds within which /receive answers, as the service promises.
BOUND = 5
#: Seconds within which the worker has delivered what all of them have sent.
SETTLES = 60


@dataclass(frozen=True)
class Busy:
    """A service whose worker delivers while its clients work."""

    service: Service
    web: Program
    worker: Program
    target: RecordingServer

    @property
    def output(self) -> str:
        return f"{self.web.output}\n{self.worker.output}"


@pytest.fixture(params=databases.ENGINES)
def busy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Busy]:
    with (
        migrated_database(request.param, tmp_path) as database,
        RecordingServer(lambda _: (200, {}, b"[]")) as policy,
        RecordingServer() as target,
    ):
        environment = environment_of(tmp_path, database, POLICY_URL=policy.url)
        service = Service(tmp_path, free_port(), environment)
        with service.web_server() as web, service.worker(processes=2) as worker:
            yield Busy(service, web, worker, target)


@dataclass(frozen=True)
class Answer:
    """What a client got for one request, and after how many seconds."""

    request: str
    status: int
    body: bytes
    seconds: float


class Client:
    """A user who makes each request on a connection of its own."""

    def __init__(self, port: int, user: str) -> None:
        self._port = port
        self._headers = {"Http-Remote-User": user, "Content-Type": "application/json"}
        self.answers: list[Answer] = []

    def call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        began = time.monotonic()
        with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)) as client:
            client.request(method, path, body, self._headers)
            response = client.getresponse()
            content = response.read()
        kind = f"{method} /{path.split('/')[1]}"
        self.answers.append(Answer(kind, response.status, content, time.monotonic() - began))
        return content


def live(client: Client, target: str, together: threading.Barrier) -> None:
    """Make, read, change and delete a subscription, and send an event; check every answer."""
    body = {"name": "mine", "jsonpath": "$.nothing", "target_url": target}
    together.wait(20)
    made = json.loads(client.call("POST", "/eventmatch", json.dumps(body).encode()))
    mine = f"/eventmatch/{made['uuid']}"
    assert json.loads(client.call("GET", mine)) == made
    changed = json.loads(client.call("PUT", mine, b'{"name": "changed"}'))
    assert changed == {**made, "name": "changed", "updated": changed["updated"]}
    assert UUID(client.call("POST", "/receive", EVENT).decode())
    assert client.call("DELETE", mine) == b""
    assert json.loads(client.call("GET", "/eventmatch")) == []


def test_each_of_many_clients_is_answered_rightly_when_a_worker_writes_at_the_same_time(
    busy: Busy,
) -> None:
    busy.service.subscribe(busy.target.url)
    together = threading.Barrier(CLIENTS)
    clients = [Client(busy.service.port, f"user-{number}") for number in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as lives:
        for life in [lives.submit(live, each, busy.target.url, together) for each in clients]:
            life.result()
    answers = [answer for client in clients for answer in client.answers]
    slowest = {
        kind: max(each.seconds for each in answers if each.request == kind)
        for kind in {each.request for each in answers}
    }
    print(", ".join(f"{kind} {seconds:.2f} s" for kind, seconds in sorted(slowest.items())))
    assert {each.status for each in answers} == {200}
    assert max(slowest.values()) < BOUND
    busy.target.wait_for(CLIENTS, timeout=SETTLES)
    assert "database is locked" not in busy.output, busy.output
    assert "Traceback" not in busy.output, busy.output


@pytest.mark.service
def test_event_is_refused_for_good_when_it_is_larger_than_mariadb_takes(tmp_path: Path) -> None:
    with migrated_database("mariadb", tmp_path) as database:
        most = databases.execute(database, "SELECT @@max_allowed_packet")[0][0]
        service = Service(tmp_path, free_port(), environment_of(tmp_path, database))
        if most > 32 * 2**20:
            pytest.skip(f"max_allowed_packet is {most}: what /receive reads is never larger")
        with service.web_server() as web:
            event = json.loads(EVENT)
            status, answer = service.call(
                "POST", "/receive", json.dumps({**event, "data": "x" * most}).encode()
            )
            assert status == 413, answer
            assert str(most) in json.loads(answer)["message"]
            # One that is nearly as large is taken, and so is the next one on that connection.
            service.receive(json.dumps({**event, "data": "x" * (most - 2**16)}).encode())
            service.receive()
            assert "Traceback" not in web.output, web.output
