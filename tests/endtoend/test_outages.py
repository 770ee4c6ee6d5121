"""A database that is away, hangs or is locked: who waits how long, and what goes on afterwards."""

import http.client
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support import databases, processes
from tests.support.deployments import EVENT, USER, Service, environment_of, link_to
from tests.support.links import Link
from tests.support.processes import Program
from tests.support.servers import RecordingServer, eventually, free_port
from tests.support.templates import migrated_database
from tests.support.uwsgi import uwsgi_server

#: Seconds within which each client has its answer, as the service promises.
BOUND = 5
#: More than three times as many as the web server has threads.
CROWD = 50
#: Seconds after an outage within which requests work again.
RECOVERS = 2
#: What a worker says when its database is away.
GIVEN_UP = "the database fails: "
RECEIVE = ("POST", "/receive", EVENT)
LIST = ("GET", "/eventmatch", None)

Request = tuple[str, str, bytes | None]


@dataclass(frozen=True)
class Answer:
    """What one client got, and after how many seconds."""

    status: int
    retry_after: str | None
    seconds: float


def ask(port: int, request: Request) -> Answer:
    method, path, body = request
    began = time.monotonic()
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as client:
        client.request(method, path, body, USER)
        response = client.getresponse()
        response.read()
    seconds = time.monotonic() - began
    return Answer(response.status, response.headers.get("Retry-After"), seconds)


def ask_at_once(port: int, *requests: Request) -> list[Answer]:
    with ThreadPoolExecutor(len(requests)) as clients:
        return list(clients.map(lambda request: ask(port, request), requests))


def crowd(*requests: Request) -> list[Request]:
    return [requests[number % len(requests)] for number in range(CROWD)]


def assert_refused_in_time(answers: list[Answer]) -> None:
    print(f"slowest of {len(answers)}: {max(each.seconds for each in answers):.2f} s")
    assert {each.status for each in answers} == {503}
    assert all(each.retry_after and int(each.retry_after) > 0 for each in answers)
    assert max(each.seconds for each in answers) < BOUND


def assert_works_again(port: int) -> None:
    began = time.monotonic()
    for request in (RECEIVE, LIST):
        eventually(lambda request=request: ask(port, request).status == 200, RECOVERS)
    print(f"works again after {time.monotonic() - began:.2f} s")


@dataclass(frozen=True)
class Linked:
    """A service whose web server reaches its database through a link."""

    service: Service
    program: Program
    link: Link

    @property
    def port(self) -> int:
        return self.service.port

    def warm_up(self) -> None:
        """Have the web server's threads connected, as they are in the middle of a day."""
        assert {each.status for each in ask_at_once(self.port, *crowd(RECEIVE, LIST))} == {200}


@pytest.fixture(scope="module", params=["", "+pool"], ids=["plain", "pool"])
def suffix(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module", params=databases.ON_SERVERS)
def linked(
    request: pytest.FixtureRequest, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Linked]:
    folder = tmp_path_factory.mktemp("outages")
    with linked_service(request.param, suffix, folder, Service.web_server) as linked:
        yield linked


@pytest.fixture(scope="module")
def linked_uwsgi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Linked]:
    def web_server(service: Service) -> AbstractContextManager[Program]:
        return uwsgi_server(service.environment, service.folder, service.port)

    folder = tmp_path_factory.mktemp("uwsgi")
    with linked_service("postgresql", "", folder, web_server) as linked:
        yield linked


@contextmanager
def linked_service(
    engine: str,
    suffix: str,
    folder: Path,
    web_server: Callable[[Service], AbstractContextManager[Program]],
) -> Iterator[Linked]:
    with migrated_database(engine, folder) as database, link_to(database) as link:
        assert link is not None
        scheme, _, place = link.url_of(database).partition("://")
        environment = environment_of(folder, f"{scheme}{suffix}://{place}")
        service = Service(folder, free_port(), environment)
        with web_server(service) as program:
            yield Linked(service, program, link)
        assert "Traceback" not in program.output, program.output


@contextmanager
def outage(link: Link, kind: str) -> Iterator[None]:
    getattr(link, kind)()
    try:
        yield
    finally:
        link.restore()


@pytest.mark.parametrize("kind", ["cut", "freeze"])
def test_requests_are_refused_in_time_when_the_database_is_away(linked: Linked, kind: str) -> None:
    linked.warm_up()
    with outage(linked.link, kind):
        assert_refused_in_time(ask_at_once(linked.port, RECEIVE, LIST))
    assert_works_again(linked.port)


@pytest.mark.parametrize("kind", ["cut", "freeze"])
def test_each_of_many_clients_is_refused_in_time_when_the_database_is_away(
    linked: Linked, kind: str
) -> None:
    linked.warm_up()
    with outage(linked.link, kind):
        assert_refused_in_time(ask_at_once(linked.port, *crowd(RECEIVE, LIST)))
        # Those who come later meet the threads that the first ones have left waiting.
        assert_refused_in_time(ask_at_once(linked.port, *crowd(RECEIVE, LIST)))
    assert_works_again(linked.port)


@pytest.mark.server
@pytest.mark.parametrize("kind", ["cut", "freeze"])
def test_each_of_many_clients_is_refused_in_time_under_uwsgi_when_the_database_is_away(
    linked_uwsgi: Linked, kind: str
) -> None:
    linked_uwsgi.warm_up()
    with outage(linked_uwsgi.link, kind):
        assert_refused_in_time(ask_at_once(linked_uwsgi.port, *crowd(RECEIVE)))
    assert_works_again(linked_uwsgi.port)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("embedded")
    with migrated_database("sqlite", folder) as database:
        service = Service(folder, free_port(), environment_of(folder, database))
        with service.web_server() as program:
            yield service
        assert "Traceback" not in program.output, program.output


@contextmanager
def locked(database: str) -> Iterator[None]:
    """Let another program write into an SQLite file for the time of the block."""
    with closing(sqlite3.connect(urlsplit(database).path[1:], isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")


@pytest.mark.parametrize("clients", [12, CROWD])
def test_events_are_refused_in_time_when_sqlite_is_locked(embedded: Service, clients: int) -> None:
    with locked(embedded.database):
        assert_refused_in_time(ask_at_once(embedded.port, *[RECEIVE] * clients))
        assert_refused_in_time(ask_at_once(embedded.port, *[RECEIVE] * clients))
    assert_works_again(embedded.port)


def test_subscriptions_can_be_read_at_once_when_sqlite_is_locked(embedded: Service) -> None:
    with locked(embedded.database), ThreadPoolExecutor(1) as writers:
        writer = writers.submit(ask, embedded.port, RECEIVE)
        while not writer.done():
            read = ask(embedded.port, LIST)
            assert read.status == 200
            assert read.seconds < 1
        assert_refused_in_time([writer.result()])
        assert ask(embedded.port, LIST).status == 200
    assert_works_again(embedded.port)


@pytest.mark.parametrize("engine", databases.ON_SERVERS)
def test_worker_goes_on_without_a_restart_when_its_database_was_away(
    engine: str, tmp_path: Path
) -> None:
    with (
        migrated_database(engine, tmp_path) as database,
        link_to(database) as link,
        RecordingServer(lambda _: (200, {}, b"[]")) as policy,
        RecordingServer() as target,
    ):
        assert link is not None
        environment = environment_of(tmp_path, database, POLICY_URL=policy.url)
        service = Service(tmp_path, free_port(), environment)
        linked = service.told(PEEWEE_URL=link.url_of(database))
        with service.web_server(), linked.worker(processes=2) as worker:
            service.subscribe(target.url)
            service.receive()
            target.wait_for(1, timeout=15)

            def goes_on_after(kind: str) -> None:
                arrived, given_up = len(target.requests), worker.output.count(GIVEN_UP)
                with outage(link, kind):
                    event = service.receive()  # the web server's way to the database is another one
                    eventually(lambda: worker.output.count(GIVEN_UP) > given_up, timeout=30)
                began = time.monotonic()
                target.wait_for(arrived + 1, timeout=15)
                print(f"delivered {time.monotonic() - began:.2f} s after the outage")
                eventually(lambda: service.is_delivered(event), timeout=15)
                assert processes.is_alive(worker.pid)
                assert "Traceback" not in worker.output, worker.output

            goes_on_after("cut")
            goes_on_after("freeze")
