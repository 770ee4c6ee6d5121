"""Pacifica's own Metadata: what an event tells of is committed, or it is not delivered."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.support import databases
from tests.support.deployments import Service, deployments, prepared
from tests.support.pacifica import Metadata, running_metadata
from tests.support.servers import AnswerTriple, Received, RecordingServer, eventually

pytestmark = pytest.mark.server

CAPTURE = json.loads((Path(__file__).parents[1] / "captures" / "ingest.json").read_text())
INGESTS = 50
LATE_INGESTS = 5
#: Seconds for which a commit is held back, by what the target is to find.
HELD = {404: 30.0, 200: 1.0}
ANSWER = 30
#: Only the events of ingests have such records.
JSONPATH = "$.data[*].destinationTable"
USER = "dmlb2001"


@dataclass
class Peers:
    """Metadata and Policy, and a target that asks Metadata at once for each event's transaction.

    `statuses` are what Metadata answered, by the transaction.
    """

    metadata: Metadata
    policy: str
    target: RecordingServer
    statuses: dict[int, int] = field(default_factory=dict)
    last: int = 5000

    def ask(self, received: Received) -> AnswerTriple:
        number = transaction_of(json.loads(received.body))
        self.statuses[number] = self.status_of(number)
        return 200, {}, b""

    def status_of(self, transaction: int) -> int:
        return status(f"{self.metadata.url}/transactioninfo/by_id/{transaction}")

    def ingest(self) -> tuple[int, int]:
        """Ingest one more transaction; return its number and what Metadata answers."""
        self.last += 1
        records = [
            each
            for each in CAPTURE["data"]
            if each["destinationTable"].startswith(("Transactions.", "TransactionKeyValue"))
        ]
        records[0] = {**records[0], "value": self.last}
        file = next(each for each in CAPTURE["data"] if each["destinationTable"] == "Files")
        body = json.dumps([*records, {**file, "_id": 10 * self.last}]).encode()
        return self.last, status(f"{self.metadata.url}/ingest", "PUT", body)


def transaction_of(event: dict[str, Any]) -> int:
    (record,) = (each for each in event["data"] if each["destinationTable"] == "Transactions._id")
    return record["value"]


def status(url: str, method: str = "GET", body: bytes | None = None) -> int:
    request = Request(url, body, {"Content-Type": "application/json"}, method=method)  # noqa: S310 our own
    try:
        with urlopen(request, timeout=ANSWER) as answer:  # noqa: S310
            answer.read()
            return answer.status
    except HTTPError as error:
        with error:
            return error.code


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    with (
        running_metadata(tmp_path_factory.mktemp("pacifica")) as (metadata, policy),
        RecordingServer() as target,
    ):
        found = Peers(metadata, policy, target)
        target.answer = found.ask
        yield found


@pytest.fixture
def service(
    request: pytest.FixtureRequest, tmp_path: Path, peers: Peers, waits: bool
) -> Iterator[Service]:
    """Give a service that waits for the real Metadata, and asks the real Policy."""
    settings = {"POLICY_URL": peers.policy, "SETTLE_MAX_WAIT": "3"}
    if waits:
        settings["SETTLE_METADATA_URL"] = peers.metadata.url
    peers.statuses.clear()
    with (
        prepared(request.param, tmp_path, **settings) as service,
        service.web_server(),
        service.worker(processes=2),
    ):
        service.subscribe(peers.target.url, USER, jsonpath=JSONPATH)
        peers.metadata.notify(f"http://127.0.0.1:{service.port}/receive")
        yield service
        peers.metadata.notify(None)


@pytest.fixture
def waits() -> bool:
    """Tell whether the service waits for Metadata."""
    return True


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("service", deployments("postgresql-redis"), indirect=True)
def test_target_that_asks_at_once_finds_the_transaction_of_every_ingest(peers: Peers) -> None:
    ingested = dict(peers.ingest() for _ in range(INGESTS))
    assert set(ingested.values()) == {200}
    eventually(lambda: len(peers.statuses) == INGESTS, timeout=60)
    assert peers.statuses == dict.fromkeys(ingested, 200)


@pytest.mark.parametrize(("waits", "found"), [(False, 404), (True, 200)])
@pytest.mark.parametrize("service", deployments("postgresql-redis"), indirect=True)
def test_target_finds_the_transaction_of_a_late_commit_only_where_the_event_waits_for_it(
    service: Service, peers: Peers, found: int
) -> None:
    def hold(received: Received) -> AnswerTriple:
        """Take an event; keep Metadata from its commit until the target asks, or for a while."""
        service.receive(received.body)
        event = json.loads(received.body)
        if event["eventType"].endswith(".ingest"):
            with suppress(AssertionError):
                eventually(lambda: transaction_of(event) in peers.statuses, timeout=HELD[found])
        return 200, {}, b""

    with RecordingServer(hold) as between:
        peers.metadata.notify(between.url)
        ingested = dict(peers.ingest() for _ in range(LATE_INGESTS))
        assert set(ingested.values()) == {200}
        eventually(lambda: len(peers.statuses) == LATE_INGESTS, timeout=60)
    assert peers.statuses == dict.fromkeys(ingested, found)


@pytest.mark.parametrize("service", deployments("postgresql-redis"), indirect=True)
def test_ingest_that_is_rolled_back_after_it_sent_is_never_delivered(
    service: Service, peers: Peers
) -> None:
    rolled_back: list[int] = []

    def take_and_roll_back(received: Received) -> AnswerTriple:
        """Take an event, and end the transaction that waits for this answer."""
        service.receive(received.body)
        event = json.loads(received.body)
        if event["eventType"].endswith(".ingest"):
            rolled_back.append(transaction_of(event))
            databases.hang_up(peers.metadata.database)
        return 200, {}, b""

    with RecordingServer(take_and_roll_back) as between:
        peers.metadata.notify(between.url)
        failed, answer = peers.ingest()
    assert (rolled_back, answer) == ([failed], 500)
    assert peers.status_of(failed) == 404
    peers.metadata.notify(f"http://127.0.0.1:{service.port}/receive")
    later, answer = peers.ingest()
    assert answer == 200
    eventually(lambda: later in peers.statuses, timeout=30)
    # Those of the ORM, of which its transaction consists, and its own.
    eventually(lambda: unsettled(service) >= 2, timeout=30)
    assert peers.statuses == {later: 200}


def unsettled(service: Service) -> int:
    (((count),),) = databases.execute(
        service.database, "SELECT COUNT(*) FROM eventlog WHERE settlement = 'unsettled'"
    )
    return count
