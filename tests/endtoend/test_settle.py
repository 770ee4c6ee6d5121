"""Events of Metadata wait until it shows what they tell of, with the commands of operators."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deployments import Service, deployments, prepared
from tests.support.scraping import scrape
from tests.support.servers import AnswerTriple, Received, RecordingServer, eventually

INGEST = (Path(__file__).parents[1] / "captures" / "ingest.json").read_bytes()
#: By messages alone: no sweep finds what they do not tell.
UNSWEPT = {
    "CELERY_SWEEP_INTERVAL": "3600",
    # On a busy machine nothing is to be given up because it took too long.
    "DELIVERY_TIMEOUT": "20",
    "SETTLE_TIMEOUT": "10",
}
#: Short enough that a killed worker's work is taken up while a test waits.
SHORT = {"CELERY_LEASE": "25", "CELERY_SWEEP_INTERVAL": "0.3", "SETTLE_TIMEOUT": "1"}
#: So often Metadata does not show a transaction yet.
ABSENT_ANSWERS = 3


@pytest.fixture
def policy() -> Iterator[RecordingServer]:
    with RecordingServer(lambda _: (200, {}, b"{}")) as server:
        yield server


@pytest.fixture
def metadata() -> Iterator[RecordingServer]:
    with RecordingServer(lambda _: (404, {}, b"")) as server:
        yield server


@pytest.fixture
def target() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


@pytest.fixture
def service(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    policy: RecordingServer,
    metadata: RecordingServer,
) -> Iterator[Service]:
    """Give a deployment that waits for Metadata, with its web server."""
    settings = {"POLICY_URL": policy.url, "SETTLE_METADATA_URL": metadata.url}
    settings["CELERY_PUBLISH_TIMEOUT"] = "10"
    with prepared(request.param, tmp_path, **settings) as service, service.web_server():
        yield service


@pytest.mark.parametrize("service", deployments(), indirect=True)
def test_event_is_delivered_soon_after_metadata_shows_it_and_not_before(
    service: Service, metadata: RecordingServer, target: RecordingServer
) -> None:
    shown_at: list[float] = []

    def show_late(_received: Received) -> AnswerTriple:
        assert not target.requests
        if len(metadata.requests) <= ABSENT_ANSWERS:
            return 404, {}, b""
        shown_at.append(time.monotonic())
        return 200, {}, b"{}"

    metadata.answer = show_late
    service.subscribe(target.url)
    with service.told(**UNSWEPT).worker():
        event = service.receive(INGEST)
        target.wait_for(1, timeout=60)
        arrived = time.monotonic()
        eventually(lambda: service.is_delivered(event), timeout=10)
    asked = [each.path for each in metadata.requests]
    assert asked == ["/transactioninfo/by_id/2001"] * (ABSENT_ANSWERS + 1)
    assert arrived - shown_at[0] < 5


@pytest.mark.parametrize(
    "service", deployments("sqlite-filesystem", "postgresql-amqp", "mariadb-redis"), indirect=True
)
def test_event_is_delivered_once_when_the_worker_is_killed_that_waits_for_metadata(
    service: Service, metadata: RecordingServer, target: RecordingServer
) -> None:
    metadata.answer = lambda _: (200, {}, b"{}") if metadata.over.wait(30) else (500, {}, b"")
    service.subscribe(target.url)
    with service.told(**SHORT).worker() as worker:
        event = service.receive(INGEST)
        metadata.wait_for(1, timeout=15)
        worker.kill_group()
        worker.wait()
    metadata.answer = lambda _: (200, {}, b"{}")
    with service.told(**SHORT).worker():
        target.wait_for(1, timeout=30)
        eventually(lambda: service.is_delivered(event), timeout=10)
    (delivered,) = target.requests
    assert json.loads(delivered.body)["extensions"] == {}


@pytest.mark.parametrize("service", deployments("sqlite-filesystem"), indirect=True)
def test_event_that_metadata_never_shows_is_shown_to_operators_who_may_dispatch_it(
    service: Service, target: RecordingServer
) -> None:
    service.subscribe(target.url)
    with service.told(**SHORT, SETTLE_MAX_WAIT="0.5").worker():
        event = service.receive(INGEST)
        eventually(lambda: unsettled(service) == 1, timeout=20)
        assert "  unsettled: not dispatched until Metadata shows it" in service.command(
            "eventget", event
        )
        (found,) = json.loads(service.command("eventget", "--json", event))
        assert (found["settlement"], found["dispatched"]) == ("unsettled", False)
        assert "1 events kept" in service.command("eventpurge", "--older-than", "0s")
        assert target.requests == []
        service.command("eventretry", event)
        target.wait_for(1, timeout=15)
        assert unsettled(service) == 0


def unsettled(service: Service) -> int:
    """Return how many unsettled events the metrics count."""
    return int(scrape(service.port)["events_settling{state=unsettled}"])
