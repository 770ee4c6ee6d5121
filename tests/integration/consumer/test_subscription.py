"""A consumer's subscription: taken up again or replaced after a kill, and watched."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from pacifica.notifications.consumer.policy import lacks_user
from pacifica.notifications.consumer.producer import Producer
from pacifica.notifications.consumer.subscription import (
    Seen,
    Subscription,
    SubscriptionWatch,
    Terms,
)
from pacifica.notifications.consumer.workfolder import WorkFolder
from pacifica.notifications.errors import ConsumerError
from tests.support.consuming import Subscriptions
from tests.support.servers import AnswerTriple, RecordingServer, eventually, free_port

ID = UUID(int=7)
WHEN = "2026-01-01T00:00:00"


TERMS = Terms("consumer.zip", "digest", "$.data", "http://me/")


@pytest.fixture
def work(tmp_path: Path) -> WorkFolder:
    return WorkFolder(tmp_path)


@pytest.fixture
def producer() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


@pytest.fixture
def kept(producer: RecordingServer) -> Subscriptions:
    subscriptions = Subscriptions()
    producer.answer = subscriptions.answer
    return subscriptions


@pytest.fixture
def left(producer: RecordingServer, kept: Subscriptions, work: WorkFolder) -> UUID:
    """Return the subscription that a killed command left."""
    Subscription(work, Producer(producer.url, "alice"), print).begin(TERMS, "old")
    (only,) = kept.kept
    return only


def test_begin_goes_on_with_the_subscription_that_was_left(
    producer: RecordingServer, kept: Subscriptions, work: WorkFolder, left: UUID, said: list[str]
) -> None:
    again = Subscription(work, Producer(producer.url, "alice"), said.append)
    again.find_left()
    again.begin(replace(TERMS, target_url="http://new/", archive="renamed.zip"), "new")
    (uuid, found), *others = kept.kept.items()
    assert (uuid, others) == (left, [])
    assert (found["target_url"], found["auth"]["header"]["credentials"]) == ("http://new/", "new")
    assert said == ["the last command's subscription goes on, with what was held for it"]
    again.end()
    assert (kept.kept, work.noted()) == ({}, {})


def test_begin_finds_by_its_name_what_a_command_left_before_it_knew_the_id(
    producer: RecordingServer, kept: Subscriptions, work: WorkFolder, left: UUID, said: list[str]
) -> None:
    work.note(uuid=None)
    again = Subscription(work, Producer(producer.url, "alice"), said.append)
    take_up(again)
    assert list(kept.kept) == [left]


@pytest.mark.parametrize(
    ("user", "terms", "difference"),
    [
        ("bob", TERMS, "another user"),
        ("alice", replace(TERMS, jsonpath="$.other"), "another JSONPath"),
        ("alice", replace(TERMS, digest="other"), "another archive"),
    ],
    ids=["user", "JSONPath", "archive"],
)
def test_begin_replaces_a_subscription_that_differs_and_says_what_is_given_up(
    producer: RecordingServer,
    kept: Subscriptions,
    work: WorkFolder,
    left: UUID,
    said: list[str],
    user: str,
    terms: Terms,
    difference: str,
) -> None:
    again = Subscription(work, Producer(producer.url, user), said.append)
    again.find_left()
    again.begin(terms, "new")
    assert said == [
        f"the last command's subscription had {difference}: "
        "what the producer holds for it is given up"
    ]
    assert left not in kept.kept
    assert len(kept.kept) == 1
    (deleted,) = [each for each in producer.requests if each.method == "DELETE"]
    assert deleted.headers["Http-Remote-User"] == "alice"


def test_begin_deletes_what_was_left_with_another_producer_without_this_ones_credentials(
    producer: RecordingServer, kept: Subscriptions, work: WorkFolder, left: UUID, said: list[str]
) -> None:
    elsewhere = Subscriptions()
    with RecordingServer(elsewhere.answer) as other:
        again = Subscription(work, Producer(other.url, "alice", authorization="x"), said.append)
        again.find_left()
        again.begin(TERMS, "new")
        assert "another producer" in said[0]
        assert (kept.kept, len(elsewhere.kept)) == ({}, 1)
    assert not [each for each in producer.requests if "Authorization" in each.headers]
    assert left


def test_begin_subscribes_anew_and_says_so_when_what_was_left_is_gone(
    producer: RecordingServer, kept: Subscriptions, work: WorkFolder, left: UUID, said: list[str]
) -> None:
    kept.kept.clear()
    again = Subscription(work, Producer(producer.url, "alice"), said.append)
    take_up(again)
    assert said == ["the last command's subscription is gone, and with it what was held for it"]
    assert len(kept.kept) == 1
    assert left not in kept.kept


def take_up(subscription: Subscription) -> None:
    subscription.find_left()
    subscription.begin(TERMS, "new")


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_subscription_stays_noted_when_it_cannot_be_taken_up_now(
    producer: RecordingServer, kept: Subscriptions, work: WorkFolder, left: UUID, method: str
) -> None:
    before = work.noted()
    producer.answer = lambda request: (
        (503, {}, b"later") if request.method == method else kept.answer(request)
    )
    again = Subscription(work, Producer(producer.url, "alice"), print)
    with pytest.raises(ConsumerError, match="503 later"):
        take_up(again)
    again.end()
    assert (work.noted(), list(kept.kept)) == (before, [left])


def test_subscription_stays_noted_when_it_cannot_be_deleted(
    producer: RecordingServer, kept: Subscriptions, work: WorkFolder, left: UUID
) -> None:
    before = work.noted()
    again = Subscription(work, Producer(producer.url, "alice"), print)
    take_up(again)
    producer.answer = lambda _: (503, {}, b"later")
    with pytest.raises(ConsumerError, match="503 later"):
        again.end()
    assert (work.noted(), list(kept.kept)) == (before, [left])


def test_begin_leaves_nothing_when_the_response_was_not_understood(
    producer: RecordingServer, kept: Subscriptions, work: WorkFolder
) -> None:
    producer.answer = lambda request: (
        (kept.answer(request)[0], {}, b"?") if request.method == "POST" else kept.answer(request)
    )
    with pytest.raises(ConsumerError, match="answered with no subscription"):
        Subscription(work, Producer(producer.url, "alice"), print).begin(TERMS, "new")
    assert (kept.kept, work.noted()) == ({}, {})


def having(**changes: Any) -> AnswerTriple:
    fields = {"uuid": str(ID), "jsonpath": "$", "disabled": None, "error": None}
    return 200, {}, json.dumps({**fields, **changes}).encode()


def looks(server: RecordingServer, more: int) -> None:
    """Wait for some more looks at the subscription."""
    server.wait_for(len(server.requests) + more)


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    with RecordingServer(lambda _: having()) as server:
        yield server


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def watch(server: RecordingServer, said: list[str]) -> Iterator[SubscriptionWatch]:
    producer = Producer(server.url, "alice")
    watch = SubscriptionWatch(producer, ID, said.append, lambda: False, interval=0.02)
    watch.start()
    yield watch
    watch.close()


@pytest.mark.parametrize(
    ("answer", "seen", "line"),
    [
        (
            having(disabled=WHEN, error="Policy does not know the user alice"),
            Seen("disabled", "Policy does not know the user alice"),
            "the producer disabled the subscription: Policy does not know the user alice",
        ),
        (
            having(disabled=WHEN),
            Seen("disabled"),
            "the subscription was disabled by its owner: nothing is sent here",
        ),
        (
            (403, {}, b"{}"),
            Seen("missing"),
            "the producer has no such subscription any more: nothing is sent here",
        ),
        (
            (503, {}, b"later"),
            Seen("unknown", "{url} did not show the subscription: 503 later"),
            "the state of the subscription is unknown: {url} did not show the subscription: "
            "503 later",
        ),
    ],
    ids=["an error", "its owner", "missing", "unknown"],
)
def test_watch_says_once_when_a_subscription_is_not_enabled_and_when_it_is_again(
    server: RecordingServer,
    watch: SubscriptionWatch,
    said: list[str],
    answer: AnswerTriple,
    seen: Seen,
    line: str,
) -> None:
    looks(server, 2)
    assert (watch.seen, said) == (Seen("enabled"), [])
    server.answer = lambda _: answer
    wanted = Seen(seen.state, seen.error and seen.error.format(url=server.url))
    eventually(lambda: watch.seen == wanted)
    looks(server, 2)
    assert said == [line.format(url=server.url)]
    server.answer = lambda _: having()
    eventually(lambda: len(said) > 1)
    assert said[1:] == ["the subscription is enabled"]


def test_watch_looks_ever_more_rarely_while_the_producer_fails(
    server: RecordingServer, watch: SubscriptionWatch
) -> None:
    server.answer = lambda _: (503, {}, b"")
    waits: list[float] = []
    waiting = watch._closed.wait

    def counted(timeout: float) -> bool:
        waits.append(timeout)
        return waiting(0)

    watch._closed.wait = counted  # type: ignore[assignment, method-assign]
    eventually(lambda: len(waits) > 20)
    watch.close()
    grown = waits[waits.index(0.04) :]
    assert grown[:3] == [0.04, 0.08, 0.16]
    assert grown[-1] == 300


def test_watch_says_nothing_when_it_is_closed(server: RecordingServer, said: list[str]) -> None:
    producer = Producer(server.url, "alice")
    watch = SubscriptionWatch(producer, ID, said.append, lambda: False, interval=0.01)

    def ended(_: object) -> AnswerTriple:
        watch.close()
        return 403, {}, b""

    server.answer = ended
    watch.start()
    watch._thread.join(5)
    assert said == []


def test_watch_says_once_that_policy_does_not_know_the_user_until_it_does(
    server: RecordingServer, said: list[str]
) -> None:
    unknown = iter([True, True, True])
    producer = Producer(server.url, "alice")
    watch = SubscriptionWatch(
        producer, ID, said.append, lambda: next(unknown, False), interval=0.01
    )
    watch.start()
    eventually(lambda: len(said) == 2)
    watch.close()
    reason = "Policy does not know the user alice"
    assert said == [f"nothing will be sent here: {reason}", "the subscription is enabled"]
    assert watch.seen == Seen("enabled")


def test_watch_asks_policy_no_more_when_it_knows_the_user(
    server: RecordingServer, said: list[str]
) -> None:
    asked: list[None] = []
    producer = Producer(server.url, "alice")
    watch = SubscriptionWatch(
        producer, ID, said.append, lambda: bool(asked.append(None)), interval=0.01
    )
    watch.start()
    looks(server, 5)
    watch.close()
    assert (asked, said) == ([None], [])


@pytest.mark.parametrize(
    ("answer", "lacks"),
    [
        ((200, {}, b"[]"), True),
        ((200, {}, b" [] \n"), True),
        ((200, {}, b'[{"_id": 10}]'), False),
        ((200, {}, b""), False),
        ((500, {}, b"[]"), False),
        ((302, {"Location": "http://127.0.0.1:9/"}, b"[]"), False),
    ],
    ids=str,
)
def test_user_is_unknown_to_policy_when_it_lists_nobody_of_exactly_that_name(
    server: RecordingServer, answer: AnswerTriple, lacks: bool
) -> None:
    server.answer = lambda _: answer
    assert lacks_user(f"{server.url}/", "dml", "Bearer token") is lacks
    (asked,) = server.requests
    assert (asked.method, asked.path) == ("POST", "/uploader")
    assert asked.headers["Authorization"] == "Bearer token"
    assert json.loads(asked.body)["where"] == {"network_id": "dml"}


def test_user_may_be_known_when_policy_does_not_answer() -> None:
    assert not lacks_user(f"http://127.0.0.1:{free_port()}", "alice", None)
