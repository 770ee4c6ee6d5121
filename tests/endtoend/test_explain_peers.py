"""Explanations and searches with Pacifica's own Metadata and Policy: who may see an ingest."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.endtoend.test_settle_peers import CAPTURE, status
from tests.support.deployments import Service, deployments, prepared
from tests.support.pacifica import Metadata, add_user, running_metadata
from tests.support.servers import RecordingServer, eventually

pytestmark = pytest.mark.server

MEMBER, STRANGER, ADMIN = "dmlb2001", "stranger", "admin1"
TRANSACTION = 6001
TIMEOUT = 60


@dataclass(frozen=True)
class Asked:
    """An ingest that was dispatched, with a subscription of each user to it."""

    service: Service
    policy: str
    subscriptions: dict[str, str]
    event: dict[str, Any]

    def call(self, path: str, user: str) -> tuple[int, Any]:
        code, body = self.service.call("GET", path, user=user)
        return code, json.loads(body)

    def explain(self, user: str, event: str = str(TRANSACTION)) -> tuple[int, Any]:
        return self.call(f"/eventmatch/{self.subscriptions[user]}/explain/{event}", user)


def ingest(metadata: Metadata) -> None:
    """Ingest a transaction of the member."""
    kept = ("Transactions.", "TransactionKeyValue")
    records = [each for each in CAPTURE["data"] if each["destinationTable"].startswith(kept)]
    records[0] = {**records[0], "value": TRANSACTION}
    file = next(each for each in CAPTURE["data"] if each["destinationTable"] == "Files")
    body = json.dumps([*records, {**file, "_id": 10 * TRANSACTION}]).encode()
    assert status(f"{metadata.url}/ingest", "PUT", body) == 200


@pytest.fixture(scope="module", params=deployments("postgresql-redis"))
def asked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Asked]:
    folder = tmp_path_factory.mktemp("peers")
    with (
        running_metadata(tmp_path_factory.mktemp("pacifica")) as (metadata, policy),
        RecordingServer() as target,
        prepared(request.param, folder, POLICY_URL=policy) as service,
        service.web_server(),
        service.worker(),
    ):
        add_user(metadata.url, 11, STRANGER)
        add_user(metadata.url, 12, ADMIN, is_admin=True)
        subscriptions = {
            user: service.subscribe(target.url, user, jsonpath="$.data[*].destinationTable")
            for user in (MEMBER, STRANGER, ADMIN)
        }
        metadata.notify(f"http://127.0.0.1:{service.port}/receive")
        ingest(metadata)
        target.wait_for(2, TIMEOUT)
        found = Asked(service, policy, subscriptions, json.loads(target.requests[0].body))
        eventually(lambda: found.explain(MEMBER)[1].get("reason") == "delivered", TIMEOUT)
        yield found


@pytest.mark.parametrize(("user", "answer"), [(MEMBER, 200), (STRANGER, 412), (ADMIN, 200)])
def test_policy_allows_a_member_of_the_project_and_an_administrator(
    asked: Asked, user: str, answer: int
) -> None:
    body = json.dumps(asked.event).encode()
    assert status(f"{asked.policy}/events/{user}", "POST", body) == answer


@pytest.mark.parametrize("user", [MEMBER, ADMIN])
def test_ingest_is_explained_to_whom_policy_allows(asked: Asked, user: str) -> None:
    code, found = asked.explain(user)
    assert (code, found["outcome"], found["reason"]) == (200, "delivered", "delivered")
    assert found["event"]["transaction"] == TRANSACTION
    assert found["event"]["id"] == asked.event["eventID"]
    assert found["steps"][3]["status"] == 200
    code, page = asked.call(f"/events?type={asked.event['eventType']}", user)
    assert (code, [each["transaction"] for each in page["items"]]) == (200, [TRANSACTION])


def test_ingest_is_as_unknown_to_a_stranger_as_one_that_never_was(asked: Asked) -> None:
    denied, unknown = asked.explain(STRANGER), asked.explain(STRANGER, "6002")
    assert denied == unknown
    assert denied[0] == 403
    empty = (200, {"items": [], "next": None})
    assert asked.call(f"/events?q={TRANSACTION}", STRANGER) == empty
    assert asked.call("/events", STRANGER) == empty
    assert asked.call(f"/events/{TRANSACTION}", STRANGER) == unknown


def test_policy_does_not_know_whoever_metadata_does_not(asked: Asked) -> None:
    """Policy answers 500 for a user whom it does not know, for whatever event."""
    body = json.dumps(asked.event).encode()
    assert status(f"{asked.policy}/events/nobody", "POST", body) == 500
    assert asked.call(f"/events/{TRANSACTION}", "nobody")[0] == 503
    assert asked.call("/events/unknown", "nobody")[0] == 503
