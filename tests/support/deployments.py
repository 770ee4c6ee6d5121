"""The service as operators deploy it: on each engine and broker, with the installed commands."""

import http.client
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from tests.support import brokers, databases, processes
from tests.support.links import Link
from tests.support.processes import BIN, Program
from tests.support.servers import free_port
from tests.support.templates import migrated_database

USER = {"Http-Remote-User": "alice", "Content-Type": "application/json"}
CAPTURES = sorted((Path(__file__).parents[1] / "captures").glob("*.json"))
EVENT = CAPTURES[0].read_bytes()
_DELIVERIES = "SELECT event_log_id, state, policy_status_code FROM eventlogmatch"
_PORTS = {"postgresql": 5432, "mysql": 3306, "redis": 6379, "pyamqp": 5672, "amqp": 5672}


@dataclass(frozen=True)
class Deployment:
    """What one kind of deployment keeps its rows and its messages in."""

    engine: str
    broker: str

    @property
    def name(self) -> str:
        return f"{self.engine}-{self.broker}"

    @property
    def is_embedded(self) -> bool:
        """Tell whether it needs no server."""
        return self.name == "sqlite-filesystem"


DEPLOYMENTS = (
    Deployment("sqlite", "filesystem"),
    Deployment("postgresql", "amqp"),
    Deployment("postgresql", "redis"),
    Deployment("mariadb", "redis"),
)


def deployments(*names: str) -> list[Any]:
    """Give the deployments of these names, or all, as parameters of a test."""
    return [
        pytest.param(each, id=each.name, marks=[] if each.is_embedded else pytest.mark.server)
        for each in DEPLOYMENTS
        if not names or each.name in names
    ]


@dataclass(frozen=True)
class Service:
    """The service of one deployment: where it listens, and what its programs are told."""

    folder: Path
    port: int
    environment: dict[str, str]

    @property
    def database(self) -> str:
        return self.environment["PEEWEE_URL"]

    @property
    def broker(self) -> str:
        return self.environment["BROKER_URL"]

    def told(self, **more: str) -> "Service":
        """Give the same service, with programs that are told something more or else."""
        return replace(self, environment={**self.environment, **more})

    def web_server(self) -> AbstractContextManager[Program]:
        return processes.web_server(self.environment, self.folder, self.port)

    def worker(self, **options: Any) -> AbstractContextManager[Program]:
        """Run a worker; the options are those of `processes.worker`."""
        return processes.worker(self.environment, self.folder, **options)

    def call(
        self, method: str, path: str, body: bytes | None = None, user: str = "alice"
    ) -> tuple[int, bytes]:
        headers = {**USER, "Http-Remote-User": user}
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()

    def subscribe(self, target: str, user: str = "alice", **body: Any) -> str:
        body = {"name": "all", "jsonpath": "$.data", "target_url": target, **body}
        status, answer = self.call("POST", "/eventmatch", json.dumps(body).encode(), user)
        assert status == 200, answer
        return json.loads(answer)["uuid"]

    def receive(self, event: bytes = EVENT) -> str:
        status, answer = self.call("POST", "/receive", event)
        assert status == 200, answer
        return answer.decode()

    def command(self, *arguments: str) -> str:
        command = [BIN / "pacifica-notifications-cmd", *arguments]
        with Program(command, self.environment, self.folder) as program:
            assert program.wait() == 0, program.output
            return program.output

    def deliveries(self, *events: str) -> list[tuple[str, str]]:
        """Give the state of each delivery of these events, and what Policy had answered.

        The database is asked, since a command to ask takes most of a second to start.
        """
        ids = {UUID(event) for event in events}
        rows = databases.execute(self.database, _DELIVERIES)
        return [(state, policy) for event, state, policy in rows if UUID(str(event)) in ids]

    def is_delivered(self, *events: str) -> bool:
        """Tell whether each event is on record as delivered to one subscription."""
        return self.deliveries(*events) == [("delivered", "200")] * len(events)


@contextmanager
def prepared(deployment: Deployment, folder: Path, **settings: str) -> Iterator[Service]:
    """Give a service with a database and a broker of its own, of which no program runs yet.

    An absent server skips the test; where CI is 'true' that is a failure.
    """
    with (
        brokers.unused(deployment.broker, folder) as broker,
        migrated_database(deployment.engine, folder) as database,
    ):
        environment = environment_of(folder, database, BROKER_URL=broker, **settings)
        yield Service(folder, free_port(), environment)
        brokers.empty_queue(broker)


def environment_of(folder: Path, database: str, **more: str) -> dict[str, str]:
    """Give what programs are told that use a database and, unless told otherwise, no server."""
    return {
        "NOTIFICATIONS_CONFIG": str(folder / "absent.ini"),
        "NOTIFICATIONS_CPCONFIG": str(folder / "absent.conf"),
        "PEEWEE_URL": database,
        "BROKER_URL": f"filesystem://localhost{folder}/queue",
        **more,
    }


def link_to(url: str) -> AbstractContextManager[Link | None]:
    """Give a link to the server that a URL names; nothing where it names a file or a folder."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS:
        return nullcontext()
    return Link(parts.hostname or "127.0.0.1", parts.port or _PORTS[parts.scheme])
