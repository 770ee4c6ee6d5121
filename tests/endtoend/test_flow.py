"""The whole way of an event, by the commands that operators start, on each kind of deployment."""

import http.client
import json
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from tests.support import brokers, databases, processes
from tests.support.deployments import (
    CAPTURES,
    USER,
    Service,
    deployments,
    environment_of,
    link_to,
    prepared,
)
from tests.support.processes import is_alive
from tests.support.servers import (
    RawServer,
    Received,
    RecordingServer,
    eventually,
    free_port,
    hanging,
)
from tests.support.templates import migrated_database

#: Short enough that a killed worker's work is taken up while a test waits.
LEASE = 2
#: Seconds that /receive may take, whatever is away (the producer waits inside a user's request).
BOUND = 5
#: For a worker that is to try nothing again because it took too long on a busy machine.
PATIENT = {
    "CELERY_LEASE": "60",
    "POLICY_TIMEOUT": "10",
    "DELIVERY_CONNECT_TIMEOUT": "10",
    "DELIVERY_TIMEOUT": "20",
}


@pytest.fixture(scope="module", params=deployments())
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """Give a deployment whose web server runs; each test starts its workers."""
    settings = {
        "CELERY_LEASE": str(LEASE),
        "CELERY_SWEEP_INTERVAL": "0.3",
        "POLICY_TIMEOUT": "0.9",
        "DELIVERY_CONNECT_TIMEOUT": "0.4",
        "DELIVERY_TIMEOUT": "1.5",
    }
    folder = tmp_path_factory.mktemp("service")
    with prepared(request.param, folder, **settings) as service:
        databases.empty(service.database)
        service.command("dbsync")  # as operators make it
        with service.web_server():
            yield service


@contextmanager
def embedded(folder: Path, **more: str) -> Iterator[Service]:
    """Give a service on SQLite, and without a server for a broker unless told otherwise."""
    with migrated_database("sqlite", folder) as url:
        yield Service(folder, free_port(), environment_of(folder, url, **more))


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
    with asking(service, policy, **PATIENT, CELERY_SWEEP_INTERVAL="3600").worker(alone=False):
        events += [service.receive(capture.read_bytes()) for capture in CAPTURES[half:]]
        received = target.wait_for(len(CAPTURES), timeout=15)
        eventually(lambda: service.is_delivered(*events), timeout=10)
    record = service.command("eventget", *events)
    assert record.count(": delivered") == record.count("policy: 200") == len(events)
    sent = sorted(capture.read_text() for capture in CAPTURES)
    assert sorted(as_text(each.body) for each in received) == [as_text(text) for text in sent]
    assert {each.path for each in policy.requests} == {"/events/alice"}
    assert len(policy.requests) == len(CAPTURES)


def asking(service: Service, policy: RecordingServer, **more: str) -> Service:
    """Give the same service, whose workers ask this Policy."""
    return service.told(POLICY_URL=policy.url, **more)


def as_text(body: bytes | str) -> str:
    """Return a JSON text with the spacing of `json.dumps` and its members in their own order."""
    return json.dumps(json.loads(body))


@pytest.mark.parametrize(
    "service", deployments("sqlite-filesystem", "postgresql-amqp", "mariadb-redis"), indirect=True
)
def test_delivery_in_flight_is_made_again_when_its_worker_was_killed(
    service: Service, policy: RecordingServer, target: RecordingServer
) -> None:
    service.subscribe(target.url)
    target.answer = lambda _received: (200, {}, b"") if target.over.wait(30) else (500, {}, b"")
    with asking(service, policy).worker() as worker:
        event = service.receive()
        target.wait_for(1, timeout=15)
        worker.kill_group()
        worker.wait()
    target.answer = lambda _received: (200, {}, b"")
    with asking(service, policy).worker():
        target.wait_for(2, timeout=LEASE + 15)
        eventually(lambda: service.is_delivered(event), timeout=10)


def test_event_is_delivered_when_a_worker_starts_and_the_queue_was_lost(
    service: Service, policy: RecordingServer, target: RecordingServer
) -> None:
    service.subscribe(target.url)
    service.receive()
    brokers.empty_queue(service.broker)
    with asking(service, policy).worker():
        target.wait_for(1, timeout=15)


@pytest.mark.parametrize("service", deployments("postgresql-amqp"), indirect=True)
def test_worker_records_a_late_answer_and_ends_soon_when_it_is_told_to_stop(
    service: Service, policy: RecordingServer, target: RecordingServer
) -> None:
    def late(_received: Received) -> tuple[int, dict[str, str], bytes]:
        target.over.wait(1.2)
        return 200, {}, b"late"

    target.answer = late
    service.subscribe(target.url)
    # The task does not wait for the answer, which the worker then has outstanding.
    with asking(service, policy, **PATIENT).worker() as worker:
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
    with (
        embedded(tmp_path, CELERY_SWEEP_INTERVAL="3600") as service,
        service.web_server(),
        asking(service, policy).worker() as worker,
    ):
        (tmp_path / "queue" / "messages" / f"0_empty.{brokers.QUEUE}.msg").touch()
        worker.wait_for_line("cannot be read")
        service.subscribe(target.url)
        service.receive()
        target.wait_for(1, timeout=10)


def test_web_server_ends_soon_when_it_is_told_to_stop(tmp_path: Path) -> None:
    with (
        embedded(tmp_path) as service,
        service.web_server() as web,
        closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)) as kept,
    ):
        kept.request("GET", "/eventmatch", headers=USER)
        assert kept.getresponse().read() == b"[]"
        web.signal(signal.SIGTERM)
        assert web.wait(10) == 0


@pytest.mark.parametrize("scheme", ["redis", "pyamqp"])
@pytest.mark.parametrize("broker", ["hangs", "is not there"])
def test_receive_answers_soon_when_the_broker_is_away(
    tmp_path: Path, scheme: str, broker: str
) -> None:
    with ExitStack() as stack:
        away = stack.enter_context(RawServer(hanging)).port if broker == "hangs" else free_port()
        service = stack.enter_context(embedded(tmp_path))
        service = service.told(BROKER_URL=f"{scheme}://127.0.0.1:{away}//")
        stack.enter_context(service.web_server())
        for _ in range(3):
            began = time.monotonic()
            service.receive()
            assert time.monotonic() - began < BOUND


@pytest.mark.server
@pytest.mark.parametrize("kind", ["redis", "amqp"])
def test_receive_answers_soon_when_the_broker_freezes_and_goes_on_when_it_thaws(
    tmp_path: Path,
    policy: RecordingServer,
    target: RecordingServer,
    kind: str,
) -> None:
    # No sweep: what arrives was published.
    settings = {"CELERY_SWEEP_INTERVAL": "3600", "CELERY_PUBLISH_PAUSE": "0.1"}
    with (
        brokers.unused(kind, tmp_path) as real,
        link_to(real) as link,
        embedded(tmp_path, BROKER_URL=real, **settings) as service,
        service.told(BROKER_URL=link.url_of(real)).web_server(),
        asking(service, policy).worker(),
    ):
        service.subscribe(target.url)
        service.receive()
        target.wait_for(1, timeout=15)
        link.freeze()
        for _ in range(2):
            began = time.monotonic()
            service.receive()
            assert time.monotonic() - began < BOUND
        link.restore()

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
