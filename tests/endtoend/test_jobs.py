"""Backtests and replays on the real stack: web server, workers, a Policy and a target."""

import json
from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.support import databases
from tests.support.deployments import Service, deployments, prepared
from tests.support.jobs import begin_backtest, begin_replay, ended, moment, request
from tests.support.servers import Received, RecordingServer, eventually

EVENTS = 8
#: What Policy denies: events of this transaction and later ones.
DENIED_FROM = 6
_SETTINGS = {
    "CELERY_LEASE": "10",
    "CELERY_SWEEP_INTERVAL": "0.3",
    "POLICY_TIMEOUT": "2",
    "DELIVERY_CONNECT_TIMEOUT": "1",
    "DELIVERY_TIMEOUT": "3",
    "DELIVERY_ATTEMPTS": "1",
    "RECOVERY_WAITS": "3600",
}


@pytest.fixture(scope="module", params=deployments())
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """Give a deployment whose web server and worker run, with a Policy that denies some events."""
    folder = tmp_path_factory.mktemp("jobs")
    with (
        RecordingServer(verdict) as policy,
        prepared(request.param, folder, **_SETTINGS, POLICY_URL=policy.url) as service,
        service.web_server(),
        service.worker(),
    ):
        yield service


def verdict(asked: Received) -> tuple[int, dict[str, str], bytes]:
    """Answer as Policy does: what has a transaction from `DENIED_FROM` on is denied."""
    if asked.method == "GET":
        return 200, {}, b'[{"_id": 10}]'
    records = json.loads(asked.body)["data"]
    is_denied = any(
        each["destinationTable"] == "Transactions._id" and each["value"] >= DENIED_FROM
        for each in records
    )
    return (412 if is_denied else 200), {}, b"{}"


def event(tag: str, number: int) -> bytes:
    """Return an ingest of a transaction."""
    return json.dumps(
        {
            "cloudEventsVersion": "0.1",
            "eventType": "org.pacifica.metadata.ingest",
            "source": "http://metadata.pacifica.org/transactions",
            "eventID": f"{tag}.{number}",
            "eventTime": "2026-01-31T12:00:00",
            "data": [
                {"destinationTable": "Transactions._id", "value": number},
                {"destinationTable": "Tag", "value": tag},
            ],
        }
    ).encode()


def of(tag: str) -> str:
    """Return the JSONPath of what has a tag."""
    return f'$.data[*][?(@.value = "{tag}")]'


@pytest.fixture
def tag() -> str:
    """Name events that no other test has."""
    return f"tag{uuid4().hex}"


def received(stack: Service, tag: str, count: int = EVENTS) -> list[str]:
    """Have events received and dispatched; the last ones are denied."""
    uuids = [stack.receive(event(tag, number)) for number in range(count)]
    waiting = "SELECT COUNT(*) FROM eventlog WHERE due IS NOT NULL"
    eventually(lambda: databases.execute(stack.database, waiting)[0][0] == 0, 20)
    return uuids


def rows(stack: Service, subscription: str) -> list[tuple[str, str]]:
    """Return the state and the cause of each delivery of a subscription."""
    found = databases.execute(
        stack.database, "SELECT event_match_id, state, cause FROM eventlogmatch"
    )
    wanted = subscription.replace("-", "")
    return sorted((s, c) for uuid, s, c in found if str(uuid).replace("-", "") == wanted)


def test_backtest_counts_what_its_user_may_see_and_nothing_else(stack: Service, tag: str) -> None:
    uuids = received(stack, tag)
    answer = ended(stack, begin_backtest(stack, jsonpath=of(tag)))
    assert (answer["state"], answer["progress"], answer["stopped_by"]) == ("finished", 1.0, None)
    assert (answer["matched"], answer["errors"]) == (DENIED_FROM, 0)
    assert (answer["gained"], answer["lost"], answer["withheld"]) == (None, None, False)
    assert sum(day["matched"] for day in answer["days"]) == DENIED_FROM
    assert [each["uuid"] for each in answer["examples"]] == uuids[:DENIED_FROM][::-1]
    assert [each["transaction"] for each in answer["examples"]] == list(range(DENIED_FROM))[::-1]
    assert answer["covered_until"] == answer["to"]


def test_backtest_compares_with_the_stored_expression(stack: Service, tag: str) -> None:
    with RecordingServer() as target:
        kept = f'$.data[*][?(@.value = 3 and @.destinationTable = "Transactions._id")]'  # noqa: F541
        subscription = stack.subscribe(target.url, jsonpath=kept)
        uuids = received(stack, tag)
        whole = {"jsonpath": of(tag), "subscription": subscription}
        answer = ended(stack, begin_backtest(stack, **whole))
        stack.call("DELETE", f"/eventmatch/{subscription}")
    assert answer["matched"] == DENIED_FROM
    assert answer["gained"] == DENIED_FROM - 1
    newest = {each["uuid"]: each["gained"] for each in answer["examples"]}
    assert [newest[uuid] for uuid in uuids[:DENIED_FROM]] == [True, True, True, False, True, True]


def test_backtests_of_others_are_as_unknown_ones_and_one_runs_for_a_user(
    stack: Service, tag: str
) -> None:
    received(stack, tag, 1)
    path = begin_backtest(stack, jsonpath=of(tag))
    ended(stack, path)
    unknown = f"/backtests/{uuid4()}"
    answers = [
        request(stack, method, where, user=user)[:2]
        for method in ("GET", "DELETE")
        for where, user in ((path, "bob"), (unknown, "alice"))
    ]
    assert answers == [answers[0]] * 4
    assert answers[0][0] == 403
    listed = request(stack, "GET", "/backtests?limit=1")[1]
    assert [each["uuid"] for each in listed["items"]] == [path.rpartition("/")[2]]


def test_replay_of_what_is_missing_adds_each_delivery_once(stack: Service, tag: str) -> None:
    uuids = received(stack, tag)
    with RecordingServer() as target:
        subscription = stack.subscribe(target.url, jsonpath=of(tag))
        then = ended(stack, begin_replay(stack, subscription, "missing", dry_run=True))
        assert then["deliveries"] == 0  # the subscription did not exist then
        now = {"match": "now"}
        dry = ended(stack, begin_replay(stack, subscription, "missing", dry_run=True, **now))
        assert (dry["deliveries"], rows(stack, subscription)) == (DENIED_FROM, [])
        for count in (DENIED_FROM, 0):
            answer = ended(stack, begin_replay(stack, subscription, "missing", **now))
            assert (answer["state"], answer["deliveries"]) == ("finished", count)
        target.wait_for(DENIED_FROM, timeout=10)
        eventually(lambda: rows(stack, subscription) == [("delivered", "replay")] * DENIED_FROM, 10)
        headers = [dict(each.headers) for each in target.requests]
        stack.call("DELETE", f"/eventmatch/{subscription}")
    named = [{name.lower(): value for name, value in each.items()} for each in headers]
    assert [each.get("pacifica-notifications-trigger") for each in named] == [
        "replay"
    ] * DENIED_FROM
    assert len(uuids) == EVENTS


def test_replay_of_all_sends_what_arrived_again_with_the_same_id(stack: Service, tag: str) -> None:
    with RecordingServer() as target:
        subscription = stack.subscribe(target.url, jsonpath=of(tag))
        received(stack, tag)
        target.wait_for(DENIED_FROM, timeout=10)
        eventually(lambda: len(rows(stack, subscription)) == EVENTS, 10)
        path = begin_replay(stack, subscription, "all")
        assert ended(stack, path)["deliveries"] == DENIED_FROM
        target.wait_for(2 * DENIED_FROM, timeout=10)
        assert len(rows(stack, subscription)) == EVENTS
        ids = [header(each, "Pacifica-Notifications-Delivery") for each in target.requests]
        marks = [header(each, "Pacifica-Notifications-Trigger") for each in target.requests]
        stack.call("DELETE", f"/eventmatch/{subscription}")
    assert sorted(ids[:DENIED_FROM]) == sorted(ids[DENIED_FROM:])
    assert marks == [None] * DENIED_FROM + ["replay"] * DENIED_FROM


def header(received: Received, name: str) -> str | None:
    """Return the value of a header of a request."""
    found = {key.lower(): value for key, value in received.headers.items()}
    return found.get(name.lower())


def test_replay_of_what_failed_leaves_the_rest_alone(stack: Service, tag: str) -> None:
    with RecordingServer() as target:
        subscription = stack.subscribe(target.url, jsonpath=of(tag))
        received(stack, tag, 4)
        target.wait_for(4, timeout=10)
        eventually(lambda: rows(stack, subscription) == [("delivered", "automatic")] * 4, 10)
        uuid = subscription.replace("-", "") if not is_postgresql(stack) else subscription
        databases.execute(
            stack.database,
            "UPDATE eventlogmatch SET state = 'expired' WHERE uuid = "  # noqa: S608
            "(SELECT uuid FROM (SELECT uuid FROM eventlogmatch WHERE event_match_id = "
            f"'{uuid}' ORDER BY created LIMIT 1) AS first)",
        )
        answer = ended(stack, begin_replay(stack, subscription, "failed"))
        assert answer["deliveries"] == 1
        target.wait_for(5, timeout=10)
        expected = [("delivered", "automatic")] * 3 + [("delivered", "replay")]
        eventually(lambda: rows(stack, subscription) == expected, 10)
        stack.call("DELETE", f"/eventmatch/{subscription}")


def is_postgresql(stack: Service) -> bool:
    """Tell whether the database has a type for UUIDs."""
    return stack.database.startswith("postgresql")


def test_the_same_key_gives_the_same_replay_and_another_body_is_refused(
    stack: Service, tag: str
) -> None:
    with RecordingServer() as target:
        subscription = stack.subscribe(target.url, jsonpath=of(tag))
        path = f"/eventmatch/{subscription}/replays"
        body = {"from": moment(hours=1), "mode": "failed"}
        first = request(stack, "POST", path, body, key="one")
        again = request(stack, "POST", path, body, key="one")
        assert (first[0], again[0], again[1]["uuid"]) == (202, 202, first[1]["uuid"])
        other = request(stack, "POST", path, {**body, "mode": "all"}, key="one")
        assert (other[0], "Idempotency-Key" in other[1]["message"]) == (422, True)
        assert request(stack, "POST", path, body)[0] == 400
        assert len(request(stack, "GET", path)[1]["items"]) == 1
        ended(stack, f"{path}/{first[1]['uuid']}")
        disabled = b'{"disabled": "2026-01-01T00:00:00"}'
        assert stack.call("PUT", f"/eventmatch/{subscription}", disabled)[0] == 200
        assert request(stack, "POST", path, body, key="two")[0] == 409
        assert request(stack, "POST", path, body, key="one")[1]["uuid"] == first[1]["uuid"]
        stack.call("DELETE", f"/eventmatch/{subscription}")


def test_a_cancelled_replay_makes_no_other_delivery(stack: Service, tag: str) -> None:
    count = 60  # more than one batch
    received(stack, "x" + tag, 1)
    for number in range(count):
        stack.receive(event(tag, number % DENIED_FROM))
    received(stack, "y" + tag, 1)
    with RecordingServer() as target:
        target.answer = lambda _received: (200, {}, b"") if target.over.wait(2) else (503, {}, b"")
        subscription = stack.subscribe(target.url, jsonpath=of(tag))
        path = begin_replay(stack, subscription, "missing", match="now")
        eventually(lambda: bool(rows(stack, subscription)), 20)
        begun = len(rows(stack, subscription))
        assert begun < count
        cancelled = request(stack, "DELETE", path)[1]
        assert (cancelled["state"], cancelled["deliveries"]) == ("cancelled", begun)
        target.over.set()
        eventually(lambda: {s for s, _ in rows(stack, subscription)} <= {"delivered", "held"}, 20)
        again = ended(
            stack, begin_replay(stack, subscription, "missing", match="now", dry_run=True)
        )
        assert again["deliveries"] == count - begun
        assert len(rows(stack, subscription)) == begun
        stack.call("DELETE", f"/eventmatch/{subscription}")
