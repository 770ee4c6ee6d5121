"""The whole way of an event, by the commands that operators start, on each kind of deployment."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import uuid4

import kombu
import pytest
import redis
from kombu.exceptions import OperationalError

from tests.support import databases, processes
from tests.support.processes import BIN, Program, is_alive
from tests.support.servers import (
    RawServer,
    Received,
    RecordingServer,
    eventually,
    free_port,
    hanging,
)

pytestmark = pytest.mark.endtoend

CAPTURES = sorted((Path(__file__).parents[1] / "captures").glob("*.json"))
EVENT = CAPTURES[0].read_bytes()
USER = {"Http-Remote-User": "alice", "Content-Type": "application/json"}
QUEUE = "pacifica-notifications"
BROKERS = {
    "redis": ("TEST_REDIS_URL", "redis://127.0.0.1:6379"),
    "amqp": ("TEST_AMQP_URL", "pyamqp://guest:guest@127.0.0.1:5672//"),
}
#: Seconds after which the claim on a Redis database ends that a killed run of the tests left.
CLAIM = 600
SERVICE = pytest.mark.service
ALL = [
    pytest.param(("sqlite", "filesystem"), id="sqlite-filesystem"),
    pytest.param(("postgresql", "amqp"), id="postgresql-amqp", marks=SERVICE),
    pytest.param(("postgresql", "redis"), id="postgresql-redis", marks=SERVICE),
    pytest.param(("mariadb", "redis"), id="mariadb-redis", marks=SERVICE),
]


def some(*ids: str) -> list[Any]:
    return [deployment for deployment in ALL if deployment.id in ids]


#: Short enough that a killed worker's work is taken up while a test waits.
LEASE = 2
#: Seconds that /receive may take, whatever is away (the producer waits inside a user's request).
BOUND = 5


@dataclass(frozen=True)
class Service:
    """A deployment whose web server runs; each test starts its workers."""

    folder: Path
    port: int
    environment: dict[str, str]

    def call(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.request(method, path, body, USER)
            response = connection.getresponse()
            return response.status, response.read()

    def subscribe(self, target: str, **body: Any) -> str:
        body = {"name": "all", "jsonpath": "$.data", "target_url": target, **body}
        status, answer = self.call("POST", "/eventmatch", json.dumps(body).encode())
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

    def is_delivered(self, *events: str) -> bool:
        """Tell whether each event is on record as delivered to one subscription."""
        record = self.command("eventget", *events)
        return record.count(": delivered") == len(events) and "policy: 200" in record

    @contextmanager
    def worker(
        self, policy: RecordingServer, *, alone: bool = True, **more: str
    ) -> Iterator[Program]:
        environment = {**self.environment, "POLICY_URL": policy.url, **more}
        with processes.worker(environment, self.folder, alone=alone) as worker:
            yield worker


@pytest.fixture(scope="module")
def broker_urls() -> Iterator[Callable[[str, Path], str]]:
    """Give a function that returns the URL of a broker which no other program uses.

    An absent broker skips the test; where CI is 'true' that is a failure.
    """
    with ExitStack() as stack:
        urls: dict[str, str] = {}

        def url(kind: str, folder: Path) -> str:
            if kind == "filesystem":
                return f"filesystem://localhost{folder}/queue"
            if kind not in urls:
                variable, default = BROKERS[kind]
                given = os.environ.get(variable, default)
                own = {"redis": redis_database, "amqp": virtual_host}[kind]
                try:
                    urls[kind] = stack.enter_context(own(given))
                except (redis.RedisError, OperationalError, OSError) as error:
                    absent = f"{kind} ({variable}={given}) cannot be used: {error}"
                    if os.environ.get("CI") == "true":
                        pytest.fail(absent)
                    pytest.skip(absent)
            return urls[kind]

        yield url


@contextmanager
def redis_database(url: str) -> Iterator[str]:
    """Take one of a Redis server's numbered databases that is empty, the last first."""
    claim = f"{QUEUE}-tests"
    for number in range(15, 0, -1):
        own = urlsplit(url)._replace(path=f"/{number}").geturl()
        with closing(redis.Redis.from_url(own, socket_timeout=5)) as client:
            if not client.dbsize() and client.set(claim, os.getpid(), nx=True, ex=CLAIM):
                break
    else:
        raise redis.RedisError("none of its databases is empty")
    try:
        empty_queue(own)
        yield own
    finally:
        with closing(redis.Redis.from_url(own, socket_timeout=5)) as client:
            client.flushdb()


@contextmanager
def virtual_host(url: str) -> Iterator[str]:
    """Make a virtual host of RabbitMQ where its server runs on this machine; else use the URL's.

    Any worker on a shared one would take the tests' messages.
    """
    with kombu.Connection(url, connect_timeout=5) as connection:
        connection.ensure_connection(max_retries=1)
    if shutil.which("rabbitmqctl") is None:
        empty_queue(url)
        yield url
        return
    name = f"notifications_test_{uuid4().hex}"
    rabbitmqctl("add_vhost", name)
    try:
        rabbitmqctl("set_permissions", "-p", name, urlsplit(url).username or "guest", *[".*"] * 3)
        yield urlsplit(url)._replace(path=f"/{name}").geturl()
    finally:
        rabbitmqctl("delete_vhost", name)


def rabbitmqctl(*arguments: str) -> None:
    command = ["rabbitmqctl", *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


def empty_queue(url: str) -> None:
    """Lose every message that a broker has for the service."""
    if url.startswith("filesystem"):
        for message in Path(urlsplit(url).path, "messages").glob("*.msg"):
            message.unlink(missing_ok=True)
        return
    if url.startswith("redis"):
        with closing(redis.Redis.from_url(url, socket_timeout=5)) as client:
            for key in client.scan_iter():
                if key != f"{QUEUE}-tests".encode():
                    client.delete(key)
        return
    with kombu.Connection(url, connect_timeout=5) as connection, connection.channel() as channel:
        channel.queue_declare(QUEUE, durable=True, auto_delete=False)
        channel.queue_purge(QUEUE)


@pytest.fixture(scope="module", params=ALL)
def service(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    broker_urls: Callable[[str, Path], str],
) -> Iterator[Service]:
    engine, broker = request.param
    folder = tmp_path_factory.mktemp("service")
    environment = {
        "NOTIFICATIONS_CONFIG": str(folder / "absent.ini"),
        "NOTIFICATIONS_CPCONFIG": str(folder / "absent.conf"),
        "BROKER_URL": broker_urls(broker, folder),
        "CELERY_LEASE": str(LEASE),
        "CELERY_SWEEP_INTERVAL": "0.3",
        "DELIVERY_TIMEOUT": "1.5",
    }
    with migrated_database(engine, folder) as url:
        port = free_port()
        environment["PEEWEE_URL"] = url
        with processes.web_server(environment, folder, port):
            yield Service(folder, port, environment)
    empty_queue(environment["BROKER_URL"])


@contextmanager
def migrated_database(engine: str, folder: Path) -> Iterator[str]:
    url = databases.unused_url(engine, folder)
    databases.create(url)
    try:
        environment = {"PEEWEE_URL": url, "NOTIFICATIONS_CONFIG": str(folder / "absent.ini")}
        command = [BIN / "pacifica-notifications-cmd", "dbsync"]
        with Program(command, environment, folder) as dbsync:
            assert dbsync.wait() == 0, dbsync.output
        yield url
    finally:
        databases.drop(url)


@pytest.fixture(autouse=True)
def forgotten_subscriptions(request: pytest.FixtureRequest) -> Iterator[None]:
    """Delete what a test subscribed, so that the next one's events go to its own target alone."""
    yield
    if "service" in request.fixturenames:
        service: Service = request.getfixturevalue("service")
        for each in json.loads(service.call("GET", "/eventmatch")[1]):
            assert service.call("DELETE", f"/eventmatch/{each['uuid']}") == (200, b"")


@pytest.fixture
def policy() -> Iterator[RecordingServer]:
    with RecordingServer(lambda _: (200, {}, b'{"status": "success"}')) as server:
        yield server


@pytest.fixture
def target() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


def test_every_captured_event_arrives_as_it_was_sent_and_is_on_record(
    service: Service, policy: RecordingServer, target: RecordingServer
) -> None:
    service.subscribe(target.url)
    half = len(CAPTURES) // 2
    events = [service.receive(capture.read_bytes()) for capture in CAPTURES[:half]]
    # By messages alone: no sweep finds what they do not tell.
    with service.worker(policy, alone=False, CELERY_SWEEP_INTERVAL="3600"):
        events += [service.receive(capture.read_bytes()) for capture in CAPTURES[half:]]
        received = target.wait_for(len(CAPTURES), timeout=15)
        eventually(lambda: service.is_delivered(*events), timeout=10)
    sent = sorted(capture.read_text() for capture in CAPTURES)
    assert sorted(as_text(each.body) for each in received) == [as_text(text) for text in sent]
    assert {each.path for each in policy.requests} == {"/events/alice"}
    assert len(policy.requests) == len(CAPTURES)


def as_text(body: bytes | str) -> str:
    """Return a JSON text with the spacing of `json.dumps` and its members in their own order."""
    return json.dumps(json.loads(body))


@pytest.mark.parametrize(
    "service", some("sqlite-filesystem", "postgresql-amqp", "mariadb-redis"), indirect=True
)
def test_delivery_in_flight_is_made_again_when_its_worker_was_killed(
    service: Service, policy: RecordingServer, target: RecordingServer
) -> None:
    service.subscribe(target.url)
    target.answer = lambda _received: (200, {}, b"") if target.over.wait(30) else (500, {}, b"")
    with service.worker(policy) as worker:
        event = service.receive()
        target.wait_for(1, timeout=15)
        worker.kill_group()
        worker.wait()
    target.answer = lambda _received: (200, {}, b"")
    with service.worker(policy):
        target.wait_for(2, timeout=LEASE + 15)
        eventually(lambda: service.is_delivered(event), timeout=10)


def test_event_is_delivered_when_a_worker_starts_and_the_queue_was_lost(
    service: Service, policy: RecordingServer, target: RecordingServer
) -> None:
    service.subscribe(target.url)
    service.receive()
    empty_queue(service.environment["BROKER_URL"])
    with service.worker(policy):
        target.wait_for(1, timeout=15)


@pytest.mark.parametrize("service", some("postgresql-amqp"), indirect=True)
def test_worker_records_a_late_answer_and_ends_soon_when_it_is_told_to_stop(
    service: Service, policy: RecordingServer, target: RecordingServer
) -> None:
    def late(_received: Received) -> tuple[int, dict[str, str], bytes]:
        target.over.wait(1.2)
        return 200, {}, b"late"

    target.answer = late
    service.subscribe(target.url)
    # The task does not wait for the answer, which the worker then has outstanding.
    with service.worker(policy, DELIVERY_BATCH_BUDGET="0") as worker:
        pool = processes.descendants(worker.pid)
        event = service.receive()
        target.wait_for(1, timeout=15)
        worker.signal(signal.SIGTERM)
        assert worker.wait(10) == 0
    assert pool
    eventually(lambda: not any(map(is_alive, pool)))
    assert len(target.requests) == 1
    assert service.is_delivered(event)


def test_embedded_worker_outlives_a_message_that_cannot_be_read(
    tmp_path: Path, policy: RecordingServer, target: RecordingServer
) -> None:
    port = free_port()
    with ExitStack() as stack:
        url = stack.enter_context(migrated_database("sqlite", tmp_path))
        environment = environment_of(tmp_path, url, CELERY_SWEEP_INTERVAL="3600")
        service = Service(tmp_path, port, environment)
        stack.enter_context(processes.web_server(environment, tmp_path, port))
        worker = stack.enter_context(service.worker(policy))
        (tmp_path / "queue" / "messages" / f"0_empty.{QUEUE}.msg").touch()
        worker.wait_for_line("cannot be read")
        service.subscribe(target.url)
        service.receive()
        target.wait_for(1, timeout=10)


def test_web_server_ends_soon_when_it_is_told_to_stop(tmp_path: Path) -> None:
    port = free_port()
    with (
        migrated_database("sqlite", tmp_path) as url,
        processes.web_server(environment_of(tmp_path, url), tmp_path, port) as web,
        closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as kept,
    ):
        kept.request("GET", "/eventmatch", headers=USER)
        assert kept.getresponse().read() == b"[]"
        web.signal(signal.SIGTERM)
        assert web.wait(10) == 0


def environment_of(folder: Path, database: str, **more: str) -> dict[str, str]:
    return {
        "NOTIFICATIONS_CONFIG": str(folder / "absent.ini"),
        "NOTIFICATIONS_CPCONFIG": str(folder / "absent.conf"),
        "PEEWEE_URL": database,
        "BROKER_URL": f"filesystem://localhost{folder}/queue",
        **more,
    }


@pytest.mark.parametrize("scheme", ["redis", "pyamqp"])
@pytest.mark.parametrize("broker", ["hangs", "is not there"])
def test_receive_answers_soon_when_the_broker_is_away(
    tmp_path: Path, scheme: str, broker: str
) -> None:
    port = free_port()
    with ExitStack() as stack:
        away = stack.enter_context(RawServer(hanging)).port if broker == "hangs" else free_port()
        url = stack.enter_context(migrated_database("sqlite", tmp_path))
        environment = environment_of(tmp_path, url, BROKER_URL=f"{scheme}://127.0.0.1:{away}//")
        stack.enter_context(processes.web_server(environment, tmp_path, port))
        service = Service(tmp_path, port, environment)
        for _ in range(3):
            began = time.monotonic()
            service.receive()
            assert time.monotonic() - began < BOUND


@pytest.mark.service
@pytest.mark.parametrize("kind", ["redis", "amqp"])
def test_receive_answers_soon_when_the_broker_freezes_and_goes_on_when_it_thaws(
    tmp_path: Path,
    policy: RecordingServer,
    target: RecordingServer,
    broker_urls: Callable[[str, Path], str],
    kind: str,
) -> None:
    real = broker_urls(kind, tmp_path)
    port = free_port()
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy(real))
        url = stack.enter_context(migrated_database("sqlite", tmp_path))
        # No sweep: what arrives was published.
        more = {"CELERY_SWEEP_INTERVAL": "3600", "CELERY_PUBLISH_PAUSE": "0.1"}
        environment = environment_of(tmp_path, url, BROKER_URL=real, **more)
        service = Service(tmp_path, port, environment)
        stack.enter_context(
            processes.web_server({**environment, "BROKER_URL": proxy.url}, tmp_path, port)
        )
        stack.enter_context(service.worker(policy))
        service.subscribe(target.url)
        service.receive()
        target.wait_for(1, timeout=15)
        with proxy.frozen():
            for _ in range(2):
                began = time.monotonic()
                service.receive()
                assert time.monotonic() - began < BOUND

        def goes_on() -> bool:
            before = len(target.requests)
            service.receive()
            return arrives(target, before + 1)

        eventually(goes_on, timeout=15)


def arrives(target: RecordingServer, count: int) -> bool:
    """Tell whether a target has so many requests within a second."""
    try:
        return len(target.wait_for(count, timeout=1)) >= count
    except AssertionError:
        return False


class Proxy:
    """A TCP proxy in front of a broker that can stop passing bytes on, as a frozen server does."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._there = (parts.hostname or "127.0.0.1", parts.port or 0)
        self._flowing = threading.Event()
        self._flowing.set()
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._run(self._accept)
        user = "".join(parts.netloc.rpartition("@")[:2])
        here = f"{user}127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = parts._replace(netloc=here).geturl()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        self._flowing.clear()
        try:
            yield
        finally:
            self._flowing.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._flowing.set()
        for each in (self._listener, *self._sockets):
            with each, suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def _run(self, function: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._there, timeout=5)
            except OSError:
                return
            far.settimeout(None)
            self._sockets += [near, far]
            self._run(self._pass_on, near, far)
            self._run(self._pass_on, far, near)

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self._flowing.wait()
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return
