"""Subscriptions that are pulled, on the real stack: fetched, acknowledged, waited for, bounded."""

import json
import re
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent
from typing import Any
from uuid import UUID, uuid4

import pytest
import requests

from pacifica.notifications.clock import utcnow
from pacifica.notifications.reasons import Reason
from tests.endtoend.stage import DENIED, Stage, whole_service
from tests.support.processes import Program
from tests.support.servers import eventually

PAGE = (Path(__file__).parents[2] / "docs" / "pull.rst").read_text()
PULL = "pull:"
# Seconds in which an event is fetched that somebody waits for.
SOON = 5.0
WAITING = 4


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with whole_service(tmp_path_factory.mktemp("pull")) as stage:
        yield stage


@pytest.fixture
def stage(whole: Stage) -> Stage:
    whole.verdicts.clear()
    return whole.cleared()


Body = dict[str, Any]


def call(
    stage: Stage, subscription: str, action: str = "", user: str = "alice", **body: Any
) -> Any:
    """Call the resource and return the JSON that it answers with 200."""
    status, answer = post(stage, subscription, action, user, **body)
    assert status == 200, answer
    return json.loads(answer)


def post(
    stage: Stage, subscription: str, action: str = "", user: str = "alice", **body: Any
) -> tuple[int, bytes]:
    path = f"/eventmatch/{subscription}/pull{action}"
    return stage.service.call("POST", path, json.dumps(body).encode(), user)


def fetched(stage: Stage, subscription: str, count: int, **body: Any) -> list[Body]:
    """Fetch until there are so many."""
    found: list[Body] = []

    def has_all() -> bool:
        found.extend(call(stage, subscription, max=100, **body)["items"])
        return len(found) >= count

    eventually(has_all, 20)
    assert len(found) == count
    return found


def locks_of(items: list[Body]) -> list[str]:
    return [each["lock"] for each in items]


def test_event_is_fetched_as_it_would_have_been_sent_and_acknowledged(stage: Stage) -> None:
    service = stage.service
    wanted = {"extensions": {"color": "blue"}}
    hook = service.subscribe(stage.target.url, **wanted)
    pulled = service.subscribe(PULL, **wanted)
    for each in (hook, pulled):
        service.call("PUT", f"/eventmatch/{each}/delivery", b'{"specversion": "1.0"}')
    begun = len(stage.target.requests)
    event = stage.receive()
    stage.explanation(pulled, event, Reason.AWAITING_FETCH)
    (item,) = fetched(stage, pulled, 1)
    (sent,) = stage.target.wait_for(begun + 1, 20)[begun:]
    assert item["event"] == json.loads(sent.body)
    assert (item["attempt"], item["trigger"]) == (1, "automatic")
    stage.explanation(pulled, event, Reason.FETCHED)
    assert call(stage, pulled, max=100)["items"] == []
    answer = call(stage, pulled, "/acknowledge", locks=[item["lock"]])
    assert answer == {"items": [{"lock": item["lock"], "result": "acknowledged"}]}
    steps = stage.explanation(pulled, event, Reason.DELIVERED)["steps"]
    assert steps[-1]["delivery"] == item["delivery"]
    status, page = service.call("GET", f"/eventmatch/{pulled}/deliveries/{item['delivery']}")
    (attempt,) = json.loads(page)["attempts"]
    assert (status, attempt["outcome"], attempt["url"]) == (200, "delivered", PULL)


def test_oldest_come_first_and_many_are_acknowledged_at_once(stage: Stage) -> None:
    pulled = stage.service.subscribe(PULL)
    ids = []
    for _ in range(3):
        ids.append(stage.receive())
        stage.explanation(pulled, ids[-1], Reason.AWAITING_FETCH)
    items = fetched(stage, pulled, 3)
    assert [each["event"]["eventID"] for each in items] == ids
    answer = call(stage, pulled, "/acknowledge", locks=locks_of(items))
    assert [each["result"] for each in answer["items"]] == ["acknowledged"] * 3


def test_policy_decides_who_fetches_what(stage: Stage) -> None:
    alice, bob = stage.service.subscribe(PULL), stage.service.subscribe(PULL, user="bob")
    secret = uuid4().hex
    stage.verdicts[secret] = DENIED
    stage.receive(secret)
    shown = stage.receive()
    for subscription, user in ((alice, "alice"), (bob, "bob")):
        (item,) = fetched(stage, subscription, 1, user=user)
        assert item["event"]["eventID"] == shown
        assert call(stage, subscription, user=user)["items"] == []


def test_released_renewed_and_resent(stage: Stage) -> None:
    pulled = stage.service.subscribe(PULL)
    stage.receive()
    (first,) = fetched(stage, pulled, 1)
    renewed = call(stage, pulled, "/renew", locks=[first["lock"]], lock=3600)
    assert renewed["items"][0]["result"] == "renewed"
    released = call(stage, pulled, "/release", locks=[first["lock"]])
    assert released["items"][0]["result"] == "released"
    (second,) = fetched(stage, pulled, 1)
    assert (second["delivery"], second["attempt"]) == (first["delivery"], 2)
    late = call(stage, pulled, "/acknowledge", locks=[first["lock"], second["lock"]])
    assert [each["result"] for each in late["items"]] == ["lock_expired", "acknowledged"]
    stage.resend(pulled, first["delivery"])
    (again,) = fetched(stage, pulled, 1)
    assert (again["delivery"], again["trigger"]) == (first["delivery"], "resend")


def test_replayed_comes_again(stage: Stage) -> None:
    pulled = stage.service.subscribe(PULL)
    begun = utcnow()
    event = stage.receive()
    call(stage, pulled, "/acknowledge", locks=locks_of(fetched(stage, pulled, 1)))
    answer = requests.post(
        f"http://127.0.0.1:{stage.service.port}/eventmatch/{pulled}/replays",
        json={"from": begun.isoformat(), "mode": "all"},
        headers={"Http-Remote-User": "alice", "Idempotency-Key": uuid4().hex},
        timeout=SOON,
    )
    assert answer.status_code == 202, answer.text
    items = fetched(stage, pulled, 1)
    assert (items[0]["event"]["eventID"], items[0]["trigger"]) == (event, "replay")


def test_who_waits_gets_an_event_as_soon_as_it_is_there(stage: Stage) -> None:
    pulled = stage.service.subscribe(PULL)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(call, stage, pulled, wait=20)
        event = stage.receive()
        answer = waiting.result(SOON)
    assert [each["event"]["eventID"] for each in answer["items"]] == [event]
    assert answer["retry_after"] == 0


def test_what_comes_for_a_client_that_hung_up_is_handed_to_the_next_one(stage: Stage) -> None:
    pulled = stage.service.subscribe(PULL)
    body = b'{"wait": 20, "lock": 3600}'
    head = f"POST /eventmatch/{pulled}/pull HTTP/1.1\r\nHost: s\r\nHttp-Remote-User: alice\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", stage.service.port), SOON) as client:
            client.sendall(head.encode() + body)
            # It waits, and has not been answered.
            client.settimeout(1.0)
            with pytest.raises(TimeoutError):
                client.recv(1)
    stage.receive()
    (item,) = fetched(stage, pulled, 1)
    assert item["attempt"] == 1


@pytest.mark.parametrize("call_", ["", "/acknowledge", "/release", "/renew"])
def test_nobody_learns_of_other_peoples_subscriptions(stage: Stage, call_: str) -> None:
    theirs = stage.service.subscribe(PULL, user="bob")
    deleted = stage.service.subscribe(PULL)
    stage.service.call("DELETE", f"/eventmatch/{deleted}")
    body = {"locks": [f"{UUID(int=1).hex}.{UUID(int=2).hex}"]} if call_ else {}
    answers = {post(stage, uuid, call_, **body) for uuid in (theirs, deleted, str(uuid4()))}
    ((status, answer),) = answers
    assert status == 403
    assert json.loads(answer)["message"] == "there is nothing of yours here"


LOCK = f"{UUID(int=1).hex}.{UUID(int=2).hex}"


@pytest.mark.parametrize(
    ("action", "body", "field"),
    [
        ("", {"max": 0}, "max"),
        ("", {"max": 101}, "max"),
        ("", {"max": "1"}, "max"),
        ("", {"lock": 9}, "lock"),
        ("", {"lock": 3601}, "lock"),
        ("", {"wait": 21}, "wait"),
        ("", {"wait": -1}, "wait"),
        ("", {"locks": []}, "body"),
        ("/acknowledge", {}, "locks"),
        ("/acknowledge", {"locks": []}, "locks"),
        ("/acknowledge", {"locks": [LOCK, LOCK]}, "locks"),
        ("/acknowledge", {"locks": [f"{LOCK}\n"]}, "locks.0"),
        ("/acknowledge", {"locks": [1]}, "locks.0"),
        ("/release", {"locks": [LOCK], "delay": 3601}, "delay"),
        ("/renew", {"locks": [LOCK], "lock": 1}, "lock"),
    ],
)
def test_bad_body_is_refused_with_its_field(
    stage: Stage, action: str, body: Body, field: str
) -> None:
    pulled = stage.service.subscribe(PULL)
    status, answer = post(stage, pulled, action, **body)
    assert (status, [each["field"] for each in json.loads(answer)["fields"]]) == (400, [field])


def test_absent_body_fetches_one(stage: Stage) -> None:
    pulled = stage.service.subscribe(PULL)
    stage.receive()
    event = stage.receive()
    stage.explanation(pulled, event, Reason.AWAITING_FETCH)
    status, answer = stage.service.call("POST", f"/eventmatch/{pulled}/pull")
    assert (status, len(json.loads(answer)["items"])) == (200, 1)


def test_what_is_not_pulled_or_is_disabled_answers_409(stage: Stage) -> None:
    hook, pulled = stage.service.subscribe(stage.target.url), stage.service.subscribe(PULL)
    event = stage.receive()
    stage.explanation(pulled, event, Reason.AWAITING_FETCH)
    assert post(stage, hook)[0] == post(stage, hook, "/renew", locks=[LOCK])[0] == 409
    assert stage.service.call("POST", f"/eventmatch/{pulled}/test", b"{}")[0] == 409
    stage.change(pulled, disabled="2026-11-24T00:00:00")
    status, answer = post(stage, pulled)
    assert (status, json.loads(answer)["message"]) == (
        409,
        "the subscription is disabled: enable it first",
    )
    stage.change(pulled, disabled=None)
    (item,) = fetched(stage, pulled, 1)
    assert item["event"]["eventID"] == event


@pytest.mark.parametrize("url", ["pull:alice", "PULL:", "pull://host/", "pull:?x"])
def test_pull_url_has_nothing_more(stage: Stage, url: str) -> None:
    body = {"name": "n", "jsonpath": "$", "target_url": url}
    status, answer = stage.service.call("POST", "/eventmatch", json.dumps(body).encode())
    assert status == 400
    (field,) = json.loads(answer)["fields"]
    assert field["field"] == "target_url"
    assert "pull:" in field["reason"]


def test_event_that_its_format_does_not_allow_is_given_up_and_others_come(stage: Stage) -> None:
    pulled = stage.service.subscribe(PULL, extensions={"Not_Allowed": 1})
    modern = {"specversion": "1.0", "id": uuid4().hex, "source": "/s", "type": "t", "data": 1}
    stage.service.receive(json.dumps(modern).encode())
    stage.explanation(pulled, modern["id"], Reason.AWAITING_FETCH)
    event = stage.receive()
    (item,) = fetched(stage, pulled, 1)
    assert item["event"]["eventID"] == event
    stage.explanation(pulled, modern["id"], Reason.UNDELIVERABLE)


def test_only_some_wait_and_all_others_are_answered_at_once(stage: Stage) -> None:
    users = [f"waiter{number}" for number in range(WAITING + 3)]
    subscriptions = {user: stage.service.subscribe(PULL, user=user) for user in users}
    with ThreadPoolExecutor(WAITING) as threads:
        waiting = [
            threads.submit(wait_for_event, stage, subscriptions[user], user)
            for user in users[:WAITING]
        ]
        eventually(lambda: is_refused(stage, subscriptions[users[-1]], users[-1]), 20)
        for user in users[WAITING:]:
            began = time.monotonic()
            answer = call(stage, subscriptions[user], user=user, wait=20)
            assert time.monotonic() - began < SOON
            assert answer["items"] == []
            assert 1 < answer["retry_after"] < 60
        # Nor do those that wait take the threads of other requests.
        began = time.monotonic()
        for _ in range(20):
            assert stage.service.call("GET", "/eventmatch")[0] == 200
        assert time.monotonic() - began < SOON
        stage.receive()
        for future in waiting:
            assert len(future.result(SOON)) == 1


def wait_for_event(stage: Stage, subscription: str, user: str) -> list[Body]:
    """Wait for events, also where others take the places at first."""
    while not (items := call(stage, subscription, user=user, wait=20)["items"]):
        pass
    return items


def is_refused(stage: Stage, subscription: str, user: str) -> bool:
    """Tell whether there is no place to wait."""
    return call(stage, subscription, user=user, wait=1)["retry_after"] > 0


@pytest.mark.parametrize(("caption", "program"), [("pull.py", sys.executable), ("pull.sh", "sh")])
def test_program_of_the_documentation_prints_each_event_and_acknowledges_it(
    stage: Stage, tmp_path: Path, caption: str, program: str
) -> None:
    (text,) = re.findall(rf"   :caption: {re.escape(caption)}\n\n((?:   .*\n|\n)+)", PAGE)
    file = tmp_path / caption
    file.write_text(dedent(text))
    pulled = stage.service.subscribe(PULL)
    url = f"http://127.0.0.1:{stage.service.port}"
    with Program([program, file, url, "alice", pulled], {}, tmp_path) as printing:
        for _ in range(2):
            event = stage.receive()
            printing.wait_for_line(f'"{event}"', 20)
            stage.explanation(pulled, event, Reason.DELIVERED)
