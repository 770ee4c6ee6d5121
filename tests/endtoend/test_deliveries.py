"""What owners and operators read of deliveries, and have sent again, on the real stack."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.support.deployments import CAPTURES, Service, deployments, prepared
from tests.support.jobs import request
from tests.support.servers import Received, RecordingServer, eventually, free_port

INGEST = json.loads(next(each for each in CAPTURES if each.stem == "ingest").read_text())
OPERATOR = "operator"
NOTHING = {"status": "403 Forbidden", "message": "there is nothing of yours here"}


@dataclass
class Stack:
    """A service with its worker, and what its Policy says of which event to whom."""

    service: Service
    policy: RecordingServer
    denied: set[tuple[str, str]]

    def call(
        self, method: str, path: str, user: str = "alice", body: Any = None
    ) -> tuple[int, Any]:
        """Call the API; returns the status and the JSON that it answers."""
        sent = None if body is None else json.dumps(body).encode()
        status, answer = self.service.call(method, path, sent, user)
        return status, json.loads(answer)

    def deliver(self, event_id: str, subscription: str, user: str = "alice") -> dict[str, Any]:
        """Send an event, wait until its delivery is over, and return it as its owner reads it."""
        self.service.receive(json.dumps({**INGEST, "eventID": event_id}).encode())
        found: list[dict[str, Any]] = []

        def is_over() -> bool:
            _, page = self.call("GET", f"/eventmatch/{subscription}/deliveries", user)
            found[:] = [each for each in page["items"] if each["event"]["id"] == event_id]
            return bool(found) and found[0]["state"] in ("delivered", "failed")

        eventually(is_over, timeout=20)
        return found[0]


@pytest.fixture(scope="module", params=deployments("sqlite-filesystem", "postgresql-redis"))
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    denied: set[tuple[str, str]] = set()

    def answer(asked: Received) -> tuple[int, dict[str, str], bytes]:
        user = asked.path.rpartition("/")[2]
        pair = user, json.loads(asked.body)["eventID"]
        return (412 if pair in denied else 200), {}, b'{"status": "success"}'

    with RecordingServer(answer) as policy:
        settings = {
            "POLICY_URL": policy.url,
            "WEB_OPERATORS": OPERATOR,
            "CELERY_SWEEP_INTERVAL": "0.3",
            "DELIVERY_RETRY_FIRST": "0.1",
        }
        folder = tmp_path_factory.mktemp("stack")
        with (
            prepared(request.param, folder, **settings) as service,
            service.web_server(),
            service.worker(),
        ):
            yield Stack(service, policy, denied)


@pytest.fixture
def target() -> Iterator[RecordingServer]:
    with RecordingServer(lambda _: (200, {"X-Answer": "yes"}, b"taken")) as server:
        yield server


def test_delivery_is_shown_with_its_attempts_as_they_happened(
    stack: Stack, target: RecordingServer
) -> None:
    answers = iter([(503, {}, b"not yet"), (200, {"X-Answer": "yes"}, b"taken")])
    target.answer = lambda _: next(answers)
    subscription = stack.service.subscribe(f"{target.url}/hook")
    delivery = stack.deliver("two-attempts", subscription)
    assert (delivery["state"], delivery["reason"]) == ("delivered", "delivered")
    assert (delivery["attempts"], delivery["status"]) == (2, 200)
    assert 100 <= delivery["latency"] < 20_000
    assert delivery["event"]["type"] == INGEST["eventType"]
    assert delivery["event"]["transaction"] == 2001

    path = f"/eventmatch/{subscription}/deliveries/{delivery['uuid']}"
    status, whole = stack.call("GET", path)
    assert status == 200
    assert whole["content"] == {**INGEST, "eventID": "two-attempts"}
    first, second = whole["attempts"]
    assert (first["number"], first["status"], first["body"]) == (1, 503, "not yet")
    assert (first["outcome"], first["trigger"]) == ("retrying", "automatic")
    assert first["next_attempt"] is not None
    assert (second["number"], second["status"], second["body"]) == (2, 200, "taken")
    assert (second["outcome"], second["next_attempt"]) == ("delivered", None)
    assert ["X-Answer", "yes"] in second["response_headers"]
    assert second["url"] == f"{target.url}/hook"
    assert second["address"] == f"127.0.0.1:{target.port}"
    sent = dict(second["request_headers"])
    assert sent["Pacifica-Notifications-Delivery"] == delivery["uuid"]
    assert sent["Pacifica-Notifications-Attempt"] == "2"


def test_credentials_are_masked_and_headers_that_could_repeat_them_are_not_kept(
    stack: Stack, target: RecordingServer
) -> None:
    auth = {"type": "header", "header": {"type": "Bearer", "credentials": "s3cr3t-t0k3n"}}
    target.answer = lambda asked: (200, {"X-Echo": asked.headers["Authorization"]}, b"")
    subscription = stack.service.subscribe(f"{target.url}/hook?key=s3cr3t-k3y", auth=auth)
    delivery = stack.deliver("secrets", subscription)
    path = f"/eventmatch/{subscription}/deliveries/{delivery['uuid']}"
    _, whole = stack.call("GET", path)
    (attempt,) = whole["attempts"]
    assert dict(attempt["request_headers"])["Authorization"] == "***"
    assert attempt["response_headers"] is None
    assert attempt["url"] == f"{target.url}/hook"
    assert "s3cr3t" not in json.dumps(whole)


def test_delivered_one_is_sent_again_with_its_id_after_policy_was_asked_again(
    stack: Stack, target: RecordingServer
) -> None:
    subscription = stack.service.subscribe(target.url)
    delivery = stack.deliver("again", subscription)
    asked = len(stack.policy.requests)
    path = f"/eventmatch/{subscription}/deliveries/{delivery['uuid']}"
    status, resent = stack.call("POST", f"{path}/resend")
    assert (status, resent["uuid"]) == (202, delivery["uuid"])
    first, second = target.wait_for(2, timeout=15)
    ids = {each.headers["Pacifica-Notifications-Delivery"] for each in (first, second)}
    assert ids == {delivery["uuid"]}
    assert "Pacifica-Notifications-Trigger" not in first.headers
    assert second.headers["Pacifica-Notifications-Trigger"] == "resend"
    assert len(stack.policy.requests) > asked

    def is_on_record() -> bool:
        attempts = stack.call("GET", path)[1]["attempts"]
        return [each["trigger"] for each in attempts] == ["automatic", "resend"]

    eventually(is_on_record, timeout=10)


def test_resend_is_refused_while_the_subscription_is_disabled(
    stack: Stack, target: RecordingServer
) -> None:
    subscription = stack.service.subscribe(target.url)
    delivery = stack.deliver("disabled", subscription)
    body = {"disabled": "2026-01-01T00:00:00"}
    assert stack.call("PUT", f"/eventmatch/{subscription}", body=body)[0] == 200
    path = f"/eventmatch/{subscription}/deliveries/{delivery['uuid']}"
    assert stack.call("POST", f"{path}/resend")[0] == 409
    assert len(target.requests) == 1


def test_denied_unknown_and_others_deliveries_are_answered_alike(
    stack: Stack, target: RecordingServer
) -> None:
    subscription = stack.service.subscribe(target.url, "bob")
    others = stack.service.subscribe(target.url, "carol")
    delivery = stack.deliver("revoked", others, "carol")
    stack.denied |= {("bob", "denied"), ("dave", "revoked")}
    denied = stack.service.receive(json.dumps({**INGEST, "eventID": "denied"}).encode())
    eventually(lambda: ("denied", "412") in stack.service.deliveries(denied), timeout=15)
    rows = stack.call("GET", f"/eventmatch/{subscription}/deliveries", "bob")[1]
    assert "denied" not in [each["event"]["id"] for each in rows["items"]]
    for whose, uuid in ((subscription, str(uuid4())), (others, delivery["uuid"])):
        for method, below in (("GET", ""), ("POST", "/resend")):
            path = f"/eventmatch/{whose}/deliveries/{uuid}{below}"
            assert stack.call(method, path, "bob") == (403, NOTHING)
    assert stack.call("GET", f"/eventmatch/{others}/deliveries", "bob") == (403, NOTHING)


def test_filters_and_pages_show_what_they_name(stack: Stack, target: RecordingServer) -> None:
    subscription = stack.service.subscribe(target.url, "erin")
    target.answer = lambda asked: (508 if b"page-2" in asked.body else 200, {}, b"")
    for number in range(5):
        stack.deliver(f"page-{number}", subscription, "erin")
    path = f"/eventmatch/{subscription}/deliveries"

    def listed(query: str) -> tuple[list[str], str | None]:
        status, page = stack.call("GET", f"{path}?{query}", "erin")
        assert status == 200, page
        return [each["event"]["id"] for each in page["items"]], page["next"]

    ids, cursor = listed("limit=2")
    assert ids == ["page-4", "page-3"]
    ids, cursor = listed(f"limit=2&cursor={cursor}")
    assert ids == ["page-2", "page-1"]
    assert listed(f"limit=2&cursor={cursor}") == (["page-0"], None)
    assert listed("status=5xx") == (["page-2"], None)
    assert listed("state=failed") == (["page-2"], None)
    assert listed("type=nothing") == ([], None)
    assert listed("to=2020-01-01") == ([], None)
    assert len(listed(f"type={INGEST['eventType']}&from=2020-01-01")[0]) == 5
    _, page = stack.call("GET", f"{path}?state=failed", "erin")
    assert page["items"][0]["reason"] == "loop"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("cursor=x", "cursor"),
        ("from=yesterday", "from"),
        ("from=2026-01-02&to=2026-01-01", "to"),
        ("state=denied", "state"),
        ("status=6xx", "status"),
        ("status=4xx&status=5xx", "status"),
        ("type=", "type"),
    ],
)
def test_parameter_that_is_wrong_is_refused_with_its_name(
    stack: Stack, target: RecordingServer, query: str, field: str
) -> None:
    subscription = stack.service.subscribe(target.url)
    status, answer = stack.call("GET", f"/eventmatch/{subscription}/deliveries?{query}")
    assert (status, [each["field"] for each in answer["fields"]]) == (400, [field])


def test_operator_reads_states_without_content_and_is_audited(
    stack: Stack, target: RecordingServer
) -> None:
    subscription = stack.service.subscribe(target.url, "frank")
    delivery = stack.deliver("private", subscription, "frank")
    path = f"/eventmatch/{subscription}/deliveries"
    _, page = stack.call("GET", path, OPERATOR)
    assert [each["state"] for each in page["items"]] == ["delivered"]
    assert page["items"][0]["event"]["id"] == ""
    _, whole = stack.call("GET", f"{path}/{delivery['uuid']}", OPERATOR)
    assert (whole["withheld"], whole["content"]) == (True, None)
    assert [each["body"] for each in whole["attempts"]] == [None]
    assert stack.call("POST", f"{path}/{delivery['uuid']}/resend", OPERATOR) == (403, NOTHING)
    _, log = stack.call("GET", "/audit?limit=5", OPERATOR)
    looked = [
        (each["actor"], each["action"], each["owner"])
        for each in log["items"]
        if each["subscription"] == subscription
    ]
    assert looked[:2] == [
        (OPERATOR, "delivery read", "frank"),
        (OPERATOR, "deliveries read", "frank"),
    ]
    assert stack.call("GET", "/audit", "frank") == (403, NOTHING)


def test_revisions_tell_who_changed_what(stack: Stack, target: RecordingServer) -> None:
    subscription = stack.service.subscribe(target.url)
    path = f"/eventmatch/{subscription}"
    stack.call("PUT", path, body={"jsonpath": "$.source"})
    stack.call("PUT", path, body={"disabled": "2026-01-01T00:00:00"})
    stack.call("PUT", path, body={"disabled": None})
    _, page = stack.call("GET", f"{path}/revisions")
    told = [(each["action"], each["by"], each["jsonpath"]) for each in page["items"]]
    assert told == [
        ("enabled", "alice", "$.source"),
        ("disabled", "alice", "$.source"),
        ("changed", "alice", "$.source"),
        ("created", "alice", "$.data"),
    ]
    assert page["items"][2]["fields"] == ["jsonpath"]
    _, older = stack.call("GET", f"{path}/revisions?limit=1&cursor={page['items'][1]['revision']}")
    assert [each["action"] for each in older["items"]] == ["changed"]


def test_target_is_tried_while_its_owner_waits_and_nothing_changes(
    stack: Stack, target: RecordingServer
) -> None:
    target.answer = lambda _: (404, {}, b"no such hook")
    subscription = stack.service.subscribe(target.url, "gina")
    before = stack.call("GET", f"/eventmatch/{subscription}", "gina")
    status, attempt = stack.call("POST", f"/eventmatch/{subscription}/test", "gina", {})
    assert status == 200
    assert (attempt["event"], attempt["trigger"]) == ("made up", "test")
    assert (attempt["status"], attempt["body"]) == (404, "no such hook")
    (sent,) = target.wait_for(1)
    assert sent.headers["Pacifica-Notifications-Trigger"] == "test"
    given = {**INGEST, "eventID": "given"}
    _, attempt = stack.call("POST", f"/eventmatch/{subscription}/test", "gina", {"event": given})
    assert attempt["event"] == "given"
    assert json.loads(target.wait_for(2)[1].body) == given
    assert stack.call("GET", f"/eventmatch/{subscription}", "gina") == before
    assert stack.call("GET", f"/eventmatch/{subscription}/deliveries", "gina")[1]["items"] == []

    target.answer = lambda _: (200, {}, b"")
    stack.deliver("newest", subscription, "gina")
    _, attempt = stack.call("POST", f"/eventmatch/{subscription}/test", "gina", {})
    assert (attempt["event"], attempt["outcome"]) == ("recorded", "delivered")
    assert json.loads(target.requests[-1].body)["eventID"] == "newest"


def test_list_stays_while_policy_is_away_and_content_does_not(
    stack: Stack, target: RecordingServer, tmp_path: Path
) -> None:
    subscription = stack.service.subscribe(target.url, "hugo")
    delivery = stack.deliver("before", subscription, "hugo")
    usual = stack.policy.answer
    stack.policy.answer = lambda _: (500, {}, b"")
    try:
        # A web server that has no verdict in memory.
        other = Service(tmp_path, free_port(), stack.service.environment)
        with other.web_server():
            path = f"/eventmatch/{subscription}/deliveries"
            status, answer = other.call("GET", path, user="hugo")
            (item,) = json.loads(answer)["items"]
            assert (status, item["state"], item["withheld"]) == (200, "delivered", True)
            assert item["event"]["id"] == ""
            status, answer = other.call("GET", f"{path}/{delivery['uuid']}", user="hugo")
            assert json.loads(answer)["content"] is None
            resend = f"{path}/{delivery['uuid']}/resend"
            status, _, headers = request(other, "POST", resend, user="hugo")
            assert (status, "Retry-After" in headers) == (503, True)
    finally:
        stack.policy.answer = usual
