"""What old versions or other programs left in a database, or answer, hurts nobody else."""

import json
from collections.abc import Iterator
from uuid import UUID

import pytest

from tests.support.deployments import EVENT, deployments
from tests.support.isolation import BAD, Healthy, Isolation, allow, isolation_of
from tests.support.servers import AnswerTriple, Received, RecordingServer, eventually

isolation = isolation_of(deployments("sqlite-filesystem", "postgresql-redis"))


@pytest.fixture
def target() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


# What others answer


@pytest.mark.parametrize("status", [200, 404])
def test_answer_of_a_target_is_on_record_when_it_has_a_nul(
    isolation: Isolation, healthy: Healthy, target: RecordingServer, status: int
) -> None:
    target.answer = lambda _: (status, {}, b"a\0b\xff")
    bad = isolation.subscribe(target.url)
    healthy.gets()
    answers = "SELECT target_status_code, target_resp_body FROM eventlogmatch"
    eventually(lambda: (str(status), "a\ufffdb\ufffd") in isolation.rows(answers))
    healthy.gets()
    if status == 404:
        isolation.wait_for_error(bad, "404")


@pytest.mark.parametrize("status", [200, 412, 500])
def test_answer_of_policy_is_on_record_when_it_has_a_nul(
    isolation: Isolation, healthy: Healthy, target: RecordingServer, status: int
) -> None:
    def policy(received: Received) -> AnswerTriple:
        if received.path.endswith(f"/events/{BAD}"):
            return status, {}, b"p\0q"
        return allow(received)

    isolation.policy.answer = policy
    isolation.subscribe(target.url)
    healthy.gets()
    answers = "SELECT policy_status_code, policy_resp_body FROM eventlogmatch"
    eventually(lambda: (str(status), "p\ufffdq") in isolation.rows(answers))
    healthy.gets()


def test_event_arrives_when_it_has_a_nul(isolation: Isolation, healthy: Healthy) -> None:
    isolation.subscribe("http://127.0.0.1:9", jsonpath='$.data[?(@.a = "b")]')
    event = {**json.loads(EVENT), "data": {"\0": "a\0b"}}
    assert json.loads(healthy.gets(json.dumps(event).encode()).body) == event


# What is stored


def stored(isolation: Isolation, uuid: str, **columns: str) -> None:
    """Write columns of a row as SQL, and have workers read the row again."""
    pairs = ", ".join(f"{name} = {value}" for name, value in columns.items())
    key = f"'{UUID(uuid)}'" if "postgresql" in isolation.service.database else f"'{UUID(uuid).hex}'"
    number = "(SELECT value FROM notificationcounter WHERE name = 'subscriptions')"
    advance = "UPDATE notificationcounter SET value = value + 1 WHERE name = 'subscriptions'"
    change = f"UPDATE eventmatch SET {pairs}, revision = {number} WHERE uuid = {key}"  # noqa: S608
    isolation.rows(f"{advance}; {change};")


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        ({"extensions": "'{\"broken'"}, "broken JSON"),
        ({"extensions": "'[1]'"}, "broken JSON"),
        ({"auth": "'{\"broken'"}, "broken JSON"),
        ({"auth": "'\"text\"'"}, "broken JSON"),
        ({"auth": '\'{"type": "basic"}\''}, "auth"),
        ({"auth": '\'{"type": "basic", "basic": {"username": 1}}\''}, "auth"),
        ({"auth": '\'{"type": "header", "header": {"type": "a\\nb", "credentials": "c"}}\''}, ""),
        ({"jsonpath": "'$['"}, "JSONPath"),
        ({"jsonpath": "''"}, "JSONPath"),
        ({"target_url": "'no url'"}, "URL"),
        ({"target_url": "'file:///etc/passwd'"}, "URL"),
        ({"target_url": "'http://[::1/'"}, "URL"),
        ({"target_url": "'http://host:99999/'"}, "URL"),
        ({"target_url": "'http://h/\u00e9'"}, "URL"),
        ({"target_url": "''"}, "URL"),
    ],
    ids=lambda value: "=".join(*value.items()) if isinstance(value, dict) else "",
)
def test_subscription_alone_is_disabled_when_its_row_is_wrong(
    isolation: Isolation,
    healthy: Healthy,
    target: RecordingServer,
    columns: dict[str, str],
    error: str,
) -> None:
    bad = isolation.subscribe(target.url)
    stored(isolation, bad, **columns)
    healthy.gets()
    isolation.wait_for_error(bad, error)
    healthy.gets()
    assert not target.requests


def test_subscription_is_served_when_its_auth_is_null(
    isolation: Isolation, healthy: Healthy, target: RecordingServer
) -> None:
    bad = isolation.subscribe(target.url)
    stored(isolation, bad, auth="NULL")
    healthy.gets()
    target.wait_for(1)
    assert isolation.subscription(bad)["auth"] == {}


@pytest.mark.parametrize("text", ["{broken", "", "[1]", "7", "[" * 5000])
def test_events_arrive_soon_when_the_record_of_another_is_not_an_object(
    isolation: Isolation, healthy: Healthy, text: str
) -> None:
    healthy.gets()
    undispatched = "SELECT count(*) FROM eventlog WHERE due IS NOT NULL"
    eventually(lambda: isolation.rows(undispatched) == [(0,)])
    newest = "SELECT uuid FROM (SELECT uuid FROM eventlog ORDER BY created DESC LIMIT 1) AS newest"
    isolation.rows(
        f"UPDATE eventlog SET jsondata = '{text}', due = created WHERE uuid = ({newest})"  # noqa: S608
    )
    for _ in range(3):
        healthy.gets()
    # It is taken up once, and not again and again.
    eventually(lambda: isolation.rows(undispatched) == [(0,)])
