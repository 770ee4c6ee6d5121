"""Dispatching, authorising and delivering in one process, with real HTTP servers around."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.config import load_settings
from pacifica.notifications.events import parse_event
from pacifica.notifications.orm import Counter, EventLog, EventLogMatch, EventMatch
from pacifica.notifications.orm.transaction import reading, writing
from pacifica.notifications.settings import Settings
from pacifica.notifications.stages.pipeline import Pipeline
from pacifica.notifications.store import events, subscriptions
from pacifica.notifications.store.events import LoggedMatch
from pacifica.notifications.subscriptions import new_subscription
from tests.support.servers import (
    AnswerTriple,
    RawServer,
    Received,
    RecordingServer,
    eventually,
    free_port,
    hanging,
)

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)

EVENT = {
    "cloudEventsVersion": "0.1",
    "eventType": "org.pacifica.metadata.ingest",
    "source": "http://metadata.pacifica.org/transactions?_id=1234",
    "eventID": "metadata.ingest.1234",
    "eventTime": "2026-01-31T12:00:00",
    "extensions": {"color": "red", "kept": 1},
    "contentType": "application/json",
    "data": [{"destinationTable": "Transactions._id", "value": 1234}],
}


class Flow:
    """The stages of one worker, with a Policy and a target that a test can speak for."""

    def __init__(self, settings: Settings, policy: RecordingServer, target: RecordingServer):
        self.settings = settings
        self.policy = policy
        self.target = target
        self.pipeline = Pipeline(settings)

    def subscribe(self, user: str = "alice", jsonpath: str = "$.data", **body: Any) -> UUID:
        body = {"name": "n", "jsonpath": jsonpath, "target_url": self.target.url, **body}
        return UUID(subscriptions.create(new_subscription(body, user, 4096))["uuid"])

    def receive(self, document: Any = EVENT) -> UUID:
        event = parse_event(json.dumps(document).encode(), 100)
        events.record(event)
        return event.uuid

    def run(self, *ids: UUID) -> None:
        """Take events all the way, as far as it goes at the first try."""
        self.deliver(self.authorise(self.pipeline.dispatcher.dispatch(ids)))

    def authorise(self, ids: list[UUID]) -> list[UUID]:
        return self.pipeline.authoriser.authorise(ids)

    def deliver(self, deliveries: list[UUID]) -> None:
        self.pipeline.deliverer.deliver(deliveries)

    def send(self) -> UUID:
        """Receive one event and take it all the way."""
        event = self.receive()
        self.run(event)
        return event

    def go_on(self, event: UUID) -> None:
        """Take up what an event has still to do, as if its time had come."""
        make_due()
        self.deliver(self.authorise([event]) or [match.uuid for match in matches(event)])


@writing
def make_due() -> None:
    EventLogMatch.update(due=utcnow()).where(EventLogMatch.due.is_null(False)).execute()


@writing
def change_row(subscription: UUID, **columns: Any) -> None:
    """Write into a subscription's row what the API would refuse, as older versions did."""
    EventMatch.update(**columns).where(EventMatch.uuid == subscription).execute()


@reading
def row(subscription: UUID) -> EventMatch:
    return EventMatch.get_by_id(subscription)


@reading
def wait_of(match: LoggedMatch) -> timedelta | None:
    """Return how long a delivery waits from now on; None where nothing is to do."""
    due = EventLogMatch.get_by_id(match.uuid).due
    return None if due is None else due - utcnow()


def matches(event: UUID) -> tuple[LoggedMatch, ...]:
    return events.logged([event], start=None, end=None, limit=1)[0].matches


def match_of(event: UUID) -> LoggedMatch:
    (match,) = matches(event)
    return match


def state_of(event: UUID, subscription: UUID) -> str:
    return next(m.state for m in matches(event) if m.subscription == subscription)


def enable(subscription: UUID, user: str = "alice") -> None:
    enabled = {"disabled": None, "error": None}
    assert subscriptions.update(user, subscription, lambda _stored: enabled)


def answering(status: int, body: bytes = b"", **headers: str) -> Callable[[Received], AnswerTriple]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _received: (status, named, body)


def policy_of_users(
    status: int, user_status: int, body: bytes = b"{}"
) -> Callable[[Received], AnswerTriple]:
    """Answer one status to the question about an event, another to the one about the user."""
    return lambda received: (status if received.method == "POST" else user_status, {}, body)


@pytest.fixture
def policy() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


@pytest.fixture
def target() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


@pytest.fixture
def other_target() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


@pytest.fixture
def configured(database: str) -> Settings:  # noqa: ARG001 (the settings name that database)
    return replace(
        load_settings(),
        policy_timeout=0.4,
        delivery_timeout=2.0,
        delivery_attempts=3,
        delivery_batch_budget=0.3,
    )


@pytest.fixture
def make_flow(
    configured: Settings, policy: RecordingServer, target: RecordingServer
) -> Iterator[Callable[..., Flow]]:
    made: list[Flow] = []

    def make(**changes: Any) -> Flow:
        settings = replace(configured, **{"policy_url": policy.url, **changes})
        made.append(Flow(settings, policy, target))
        return made[-1]

    yield make
    for flow in made:
        policy.over.set()
        target.over.set()
        flow.pipeline.close()


@pytest.fixture
def flow(make_flow: Callable[..., Flow]) -> Flow:
    return make_flow()


# Matching


def test_dispatch_matches_enabled_subscriptions_only(flow: Flow) -> None:
    matching = flow.subscribe(jsonpath='$.data[*][?(@["value"] = 1234)]')
    flow.subscribe(jsonpath='$.data[*][?(@["value"] = 1)]')
    flow.subscribe(jsonpath="$.absent")
    assert match_of(flow.send()).subscription == matching


def test_dispatch_records_event_without_matches(flow: Flow) -> None:
    event = flow.send()
    (logged,) = events.logged([event], start=None, end=None, limit=1)
    assert (logged.dispatched, logged.matches) == (True, ())


def test_dispatch_sees_what_changed_since_the_last_event(flow: Flow) -> None:
    flow.send()
    first, second = flow.subscribe(), flow.subscribe()
    assert {m.subscription for m in matches(flow.send())} == {first, second}
    subscriptions.update("alice", first, lambda _stored: {"jsonpath": "$.absent"})
    subscriptions.delete("alice", second)
    assert matches(flow.send()) == ()


def test_dispatch_does_nothing_when_event_was_dispatched(flow: Flow) -> None:
    flow.subscribe()
    event = flow.send()
    assert flow.pipeline.dispatcher.dispatch([event]) == []
    assert len(matches(event)) == 1


@pytest.mark.parametrize("stored", ["$.data[::0]", "not a jsonpath [", "$.data.length("])
def test_dispatch_disables_only_subscription_whose_jsonpath_fails(flow: Flow, stored: str) -> None:
    before, bad, after = flow.subscribe(), flow.subscribe(), flow.subscribe()
    change_row(bad, jsonpath=stored)
    event = flow.send()
    assert state_of(event, before) == state_of(event, after) == "delivered"
    assert "its JSONPath failed" in (row(bad).error or "")
    assert row(bad).disabled is not None
    assert row(before).disabled is row(after).disabled is None


@pytest.mark.parametrize("expensive", ["$..*..*..*", "$.data[0:100000000]", "$..*..*[?(@.x = 1)]"])
def test_dispatch_takes_bounded_time_when_a_jsonpath_is_expensive(
    flow: Flow, expensive: str
) -> None:
    flow.subscribe(jsonpath=expensive)
    good = flow.subscribe()
    event = flow.receive({**EVENT, "data": [[{"a": number} for number in range(100)]] * 300})
    began = time.monotonic()
    flow.run(event)
    assert time.monotonic() - began < 5
    assert state_of(event, good) == "delivered"
    assert row(good).disabled is None


def test_dispatch_disables_only_subscription_that_exceeds_the_budget(
    make_flow: Callable[..., Flow],
) -> None:
    flow = make_flow(matching_budget=1000)
    bad, good = flow.subscribe(jsonpath="$..*[?(@.x = 1)]"), flow.subscribe()
    event = flow.receive({**EVENT, "data": list(range(10_000))})
    flow.run(event)
    assert state_of(event, good) == "delivered"
    assert row(good).disabled is None
    assert (row(bad).disabled is not None, row(bad).holding) == (True, False)
    # It is not evaluated again, and so nothing is held for it, until its owner changes it.
    assert {m.subscription for m in matches(flow.send())} == {good}
    changes = {"jsonpath": "$.data", "disabled": None, "error": None}
    subscriptions.update("alice", bad, lambda _stored: changes)
    assert {m.subscription for m in matches(flow.send())} == {bad, good}


def test_dispatch_matches_other_events_when_one_on_record_is_not_json(flow: Flow) -> None:
    subscription = flow.subscribe()
    broken, good = flow.receive(), flow.receive()
    cut_off(broken)
    flow.run(broken, good)
    assert state_of(good, subscription) == "delivered"
    assert matches(broken) == ()
    assert events.due_events(10) == []


@writing
def cut_off(event: UUID) -> None:
    """Leave half of an event, as MariaDB did to large ones when nobody made it strict."""
    text = EventLog.get_by_id(event).jsondata
    EventLog.update(jsondata=text[:100]).where(EventLog.uuid == event).execute()


# Policy


@pytest.mark.parametrize("status", [200, 204])
def test_policy_2xx_lets_the_event_through(flow: Flow, status: int) -> None:
    flow.policy.answer = answering(status, b'{"status": "success"}' if status == 200 else b"")
    flow.subscribe()
    match = match_of(flow.send())
    assert (match.state, match.policy_status, match.target_status) == (
        "delivered",
        f"{status}",
        "200",
    )


@pytest.mark.parametrize("status", [400, 401, 403, 404, 412, 429])
def test_policy_4xx_is_recorded_and_nothing_is_delivered(flow: Flow, status: int) -> None:
    flow.policy.answer = answering(status, b'{"message": "no"}')
    subscription = flow.subscribe()
    match = match_of(flow.send())
    assert (match.state, match.policy_status) == ("denied", str(status))
    assert (match.policy_body, match.target_status) == ('{"message": "no"}', "")
    assert wait_of(match) is None
    assert flow.target.requests == []
    assert row(subscription).disabled is None
    assert [received.method for received in flow.policy.requests] == ["POST"]


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (answering(500, b'{"message": "boom"}'), "500"),
        (answering(502, b"<html>bad gateway</html>", Content_Type="text/html"), "502"),
        (answering(503), "503"),
        (answering(302, Location="http://127.0.0.1:9/elsewhere"), "302"),
        (policy_of_users(500, 200), "500"),
        (policy_of_users(500, 412), "500"),
    ],
)
def test_policy_without_a_verdict_is_asked_again_and_disables_nothing(
    flow: Flow, answer: Callable[[Received], AnswerTriple], status: str
) -> None:
    flow.policy.answer = answer
    subscription = flow.subscribe()
    event = flow.send()
    match = match_of(event)
    assert (match.state, match.policy_status, match.target_status) == ("matched", status, "")
    assert timedelta(0) < (wait_of(match) or timedelta(0)) <= timedelta(seconds=1)
    assert flow.authorise([event]) == []  # its time has not come
    assert row(subscription).disabled is None
    flow.policy.answer = answering(200)
    flow.go_on(event)
    assert match_of(event).state == "delivered"
    assert row(subscription).disabled is None


def test_policy_that_is_not_there_or_does_not_answer_disables_nothing(
    make_flow: Callable[..., Flow],
) -> None:
    with (
        RawServer(hanging) as hung,
        RawServer(lambda connection, _over: connection.close()) as shut,
    ):
        reasons = []
        for url in (hung.url, shut.url, f"http://127.0.0.1:{free_port()}"):
            flow = make_flow(policy_url=url)
            subscription = flow.subscribe()
            event = flow.send()
            match = next(m for m in matches(event) if m.subscription == subscription)
            assert (match.state, match.policy_status) == ("matched", "")
            assert row(subscription).disabled is None
            reasons.append(match.policy_body)
    assert reasons == ["no answer within 0.4 s", "connection broken off", "no connection"]


def test_policy_is_asked_again_after_waits_that_double_up_to_a_bound(
    make_flow: Callable[..., Flow],
) -> None:
    flow = make_flow(policy_retry_first=1.0, policy_retry_most=5.0)
    flow.policy.answer = answering(503)
    flow.subscribe()
    event = flow.send()
    waits = []
    for _ in range(5):
        waits.append((wait_of(match_of(event)) or timedelta(0)).total_seconds())
        flow.go_on(event)
    for wait, expected in zip(waits, [1, 2, 4, 5, 5], strict=True):
        assert expected - 0.9 < wait <= expected


def test_user_that_policy_does_not_know_is_disabled_and_held(flow: Flow) -> None:
    flow.policy.answer = policy_of_users(500, 404)
    unknown, elsewhere = flow.subscribe("nobody"), flow.subscribe("nobody", "$.absent")
    event = flow.send()
    assert row(unknown).error == "Policy does not know the user nobody"
    assert row(unknown).disabled is not None
    assert row(elsewhere).disabled is None  # nothing was asked for it
    assert match_of(event).state == "held"
    assert flow.policy.requests[-1].path == "/status/users/search/nobody/simple"
    flow.policy.answer = answering(200)
    enable(unknown, "nobody")
    flow.go_on(event)
    assert match_of(event).state == "delivered"


def test_policy_is_asked_once_for_each_event_and_user(flow: Flow) -> None:
    for user in ("alice", "alice", "alice", "bob", "bob"):
        flow.subscribe(user)
    first, second = flow.receive(), flow.receive()
    flow.run(first, second)
    asked = sorted(received.path for received in flow.policy.requests)
    assert asked == ["/events/alice"] * 2 + ["/events/bob"] * 2
    assert len(flow.target.requests) == 10


def test_policy_is_asked_with_the_event_as_json(flow: Flow) -> None:
    flow.subscribe(extensions={"color": "green"})
    flow.send()
    (asked,) = flow.policy.requests
    assert (asked.method, asked.headers["Content-Type"]) == ("POST", "application/json")
    assert json.loads(asked.body) == EVENT


@pytest.mark.parametrize(
    ("user", "quoted"),
    [("anna müller", "anna%20m%C3%BCller"), ("..", ".."), ("a+b@c;d", "a%2Bb%40c%3Bd")],
)
def test_policy_is_asked_about_the_user_percent_encoded(flow: Flow, user: str, quoted: str) -> None:
    flow.policy.answer = policy_of_users(500, 200)
    flow.subscribe(user)
    flow.send()
    assert [received.path for received in flow.policy.requests] == [
        f"/events/{quoted}",
        f"/status/users/search/{quoted}/simple",
    ]


# Delivery


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_target_2xx_is_delivered(flow: Flow, status: int) -> None:
    flow.target.answer = answering(status, b"" if status == 204 else b"thanks \xc3\xa9")
    subscription = flow.subscribe()
    match = match_of(flow.send())
    assert (match.state, match.target_status) == ("delivered", str(status))
    assert match.target_body == ("" if status == 204 else "thanks é")
    assert wait_of(match) is None
    assert row(subscription).disabled is None


def test_target_gets_the_event_as_it_came(flow: Flow) -> None:
    flow.subscribe()
    flow.send()
    (received,) = flow.target.requests
    assert (received.method, received.headers["Content-Type"]) == ("POST", "application/json")
    assert "Authorization" not in received.headers
    assert json.loads(received.body) == EVENT


def test_target_gets_the_subscriptions_extensions_over_the_events_own(flow: Flow) -> None:
    flow.subscribe(extensions={"color": "green", "own": {"deep": [1]}})
    flow.send()
    (received,) = flow.target.requests
    merged = {"color": "green", "kept": 1, "own": {"deep": [1]}}
    assert json.loads(received.body) == {**EVENT, "extensions": merged}


def test_target_gets_extensions_when_the_event_has_none(flow: Flow) -> None:
    flow.subscribe()
    flow.run(flow.receive({k: v for k, v in EVENT.items() if k != "extensions"}))
    (received,) = flow.target.requests
    assert json.loads(received.body)["extensions"] == {}


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        (
            {"type": "basic", "basic": {"username": "bob", "password": "pä:ss"}},
            "Basic Ym9iOnDDpDpzcw==",
        ),
        ({"type": "header", "header": {"type": "Bearer", "credentials": "t0k"}}, "Bearer t0k"),
    ],
)
def test_target_gets_the_subscriptions_credentials(flow: Flow, auth: Any, header: str) -> None:
    flow.subscribe(auth=auth)
    flow.send()
    (received,) = flow.target.requests
    assert received.headers["Authorization"] == header


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
def test_target_is_tried_again_and_then_disabled_when_it_fails_for_now(
    flow: Flow, status: int
) -> None:
    flow.target.answer = answering(status, b"overloaded")
    subscription = flow.subscribe()
    event = flow.send()
    for attempt in (1, 2):
        match = match_of(event)
        assert (match.state, match.target_status) == ("allowed", str(status))
        assert timedelta(0) < (wait_of(match) or timedelta(0)) < timedelta(seconds=2 * attempt)
        assert row(subscription).disabled is None
        flow.go_on(event)
    assert len(flow.target.requests) == 3
    assert row(subscription).disabled is not None
    assert f"after 3 attempts: status {status}: overloaded" in (row(subscription).error or "")
    assert match_of(event).state == "held"


@pytest.mark.parametrize("behaviour", ["closed port", "hangs", "breaks off"])
def test_target_is_tried_again_and_then_disabled_when_it_does_not_answer(
    make_flow: Callable[..., Flow], behaviour: str
) -> None:
    flow = make_flow(delivery_timeout=0.2, delivery_attempts=2)
    behave = hanging if behaviour == "hangs" else lambda connection, _over: connection.close()
    with RawServer(behave) as server:
        url = f"http://127.0.0.1:{free_port()}" if behaviour == "closed port" else server.url
        subscription = flow.subscribe(target_url=url + "/x?key=secret")
        event = flow.send()
        assert match_of(event).state == "allowed"
        assert row(subscription).disabled is None
        flow.go_on(event)
    reason = {
        "closed port": "no connection",
        "hangs": "no answer within 0.2 s",
        "breaks off": "connection broken off",
    }[behaviour]
    error = row(subscription).error or ""
    assert error.endswith(f" to {url}/x failed after 2 attempts: {reason}")
    assert "secret" not in error
    assert match_of(event).target_body == reason


def test_target_that_recovers_is_delivered_and_stays_enabled(flow: Flow) -> None:
    flow.target.answer = answering(503)
    subscription = flow.subscribe()
    event = flow.send()
    flow.target.answer = answering(200)
    flow.go_on(event)
    match = match_of(event)
    assert (match.state, match.target_status) == ("delivered", "200")
    assert row(subscription).disabled is None


@pytest.mark.parametrize(("asked", "most", "expected"), [("7", 300, 7), ("9999999999", 60, 60)])
def test_target_is_tried_again_when_its_retry_after_says_so(
    make_flow: Callable[..., Flow], asked: str, most: float, expected: float
) -> None:
    flow = make_flow(delivery_retry_after_most=most)
    flow.target.answer = answering(429, Retry_After=asked)
    flow.subscribe()
    wait = wait_of(match_of(flow.send()))
    assert wait is not None
    assert expected - 1 < wait.total_seconds() <= expected


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 403, 404, 410, 422])
def test_target_is_disabled_at_once_when_it_refuses_for_good(
    flow: Flow, other_target: RecordingServer, status: int
) -> None:
    flow.target.answer = answering(status, b"gone\r\naway", Location=other_target.url)
    subscription = flow.subscribe(target_url=f"{flow.target.url}/there?secret=1")
    event = flow.send()
    assert len(flow.target.requests) == 1
    assert other_target.requests == []
    error = row(subscription).error or ""
    assert error.endswith(f"/there failed after 1 attempt: status {status}: gone away")
    assert str(event) in error
    match = match_of(event)
    assert (match.state, match.target_status) == ("held", str(status))
    assert match.target_body == "gone\r\naway"


def test_error_of_one_subscription_is_none_of_others_to_the_same_target(flow: Flow) -> None:
    flow.target.answer = lambda received: (404 if received.path == "/bad" else 200, {}, b"")
    bad = flow.subscribe(target_url=flow.target.url + "/bad")
    good = flow.subscribe(target_url=flow.target.url + "/good")
    event = flow.send()
    assert (state_of(event, bad), state_of(event, good)) == ("held", "delivered")
    assert row(good).disabled is None


def test_what_matched_while_an_error_disabled_is_delivered_once_enabled(flow: Flow) -> None:
    flow.target.answer = answering(404)
    subscription = flow.subscribe()
    held = [flow.send() for _ in range(3)]
    assert len(flow.target.requests) == 1
    assert [match_of(event).state for event in held] == ["held"] * 3
    flow.target.answer = answering(200)
    enable(subscription)
    asked_before = len(flow.policy.requests)
    for event in held:
        flow.go_on(event)
    assert [match_of(event).state for event in held] == ["delivered"] * 3
    assert len(flow.policy.requests) == asked_before + 3
    assert len(flow.target.requests) == 4


def test_enabled_subscription_has_all_its_attempts_again(flow: Flow) -> None:
    flow.target.answer = answering(500)
    subscription = flow.subscribe()
    event = flow.send()
    flow.go_on(event)
    flow.go_on(event)
    assert row(subscription).disabled is not None
    enable(subscription)
    flow.go_on(event)
    assert row(subscription).disabled is None
    assert match_of(event).state == "allowed"


def test_what_matches_while_the_owner_disabled_is_not_kept(flow: Flow) -> None:
    subscription = flow.subscribe()
    subscriptions.update("alice", subscription, lambda _stored: {"disabled": utcnow()})
    event = flow.send()
    assert matches(event) == ()
    enable(subscription)
    assert matches(event) == ()


def test_what_was_under_way_when_the_owner_disabled_is_held(flow: Flow) -> None:
    subscription = flow.subscribe()
    event = flow.receive()
    dispatched = flow.pipeline.dispatcher.dispatch([event])
    subscriptions.update("alice", subscription, lambda _stored: {"disabled": utcnow()})
    assert flow.authorise(dispatched) == []
    assert flow.policy.requests == []
    assert match_of(event).state == "held"
    enable(subscription)
    flow.go_on(event)
    assert match_of(event).state == "delivered"


@pytest.mark.parametrize("stage", ["matched", "allowed"])
def test_what_was_under_way_when_the_owner_deleted_is_dropped(flow: Flow, stage: str) -> None:
    subscription = flow.subscribe()
    event = flow.receive()
    ids = flow.pipeline.dispatcher.dispatch([event])
    allowed = flow.authorise(ids) if stage == "allowed" else []
    subscriptions.delete("alice", subscription)
    flow.authorise(ids)
    flow.deliver(allowed)
    assert match_of(event).state == "dropped"
    assert flow.target.requests == []


def test_change_of_target_is_followed_by_what_is_under_way(
    flow: Flow, other_target: RecordingServer
) -> None:
    subscription = flow.subscribe()
    event = flow.receive()
    allowed = flow.authorise(flow.pipeline.dispatcher.dispatch([event]))
    changes = {"target_url": other_target.url}
    subscriptions.update("alice", subscription, lambda _stored: changes)
    flow.deliver(allowed)
    assert (len(flow.target.requests), len(other_target.requests)) == (0, 1)


def test_failure_does_not_disable_what_the_owner_changed_meanwhile(flow: Flow) -> None:
    subscription = flow.subscribe()

    def changed_and_refused(_received: Received) -> AnswerTriple:
        subscriptions.update("alice", subscription, lambda _stored: {"name": "changed"})
        return 404, {}, b""

    flow.target.answer = changed_and_refused
    event = flow.send()
    assert row(subscription).disabled is None
    flow.target.answer = answering(200)
    flow.go_on(event)
    assert match_of(event).state == "delivered"


# What is on record, or answered, that must not hurt


def test_nul_and_bytes_that_are_not_utf_8_are_recorded_replaced(flow: Flow) -> None:
    flow.policy.answer = answering(200, b"ok\0\xff")
    flow.target.answer = answering(404, b"no\0\xfe")
    subscription = flow.subscribe()
    match = match_of(flow.send())
    assert (match.policy_body, match.target_body) == ("ok\ufffd\ufffd", "no\ufffd\ufffd")
    assert "\0" not in (row(subscription).error or "\0")


def test_bodies_are_recorded_up_to_a_bound(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow(delivery_response_bytes=100)
    flow.policy.answer = answering(200, b"p" * 5000)
    flow.target.answer = answering(200, b"t" * 5000)
    flow.subscribe()
    match = match_of(flow.send())
    assert (match.policy_body, match.target_body) == ("p" * 100, "t" * 100)


def test_subscription_without_auth_on_record_is_delivered(flow: Flow) -> None:
    change_row(flow.subscribe(), auth=None)
    assert match_of(flow.send()).state == "delivered"


@pytest.mark.parametrize(
    "columns",
    [
        {"extensions": "{broken"},
        {"extensions": "[1]"},
        {"extensions": '{"a": NaN}'},
        {"extensions": '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"},
        {"auth": "{broken"},
        {"auth": '{"type": "basic"}'},
        {"auth": '{"type": "basic", "basic": {"username": "a"}}'},
        {"auth": '{"type": "basic", "basic": null}'},
        {"auth": '{"type": "header"}'},
        {"auth": '{"type": "header", "header": {"type": "A", "credentials": "b\\r\\nX: y"}}'},
        {"target_url": "http://[::1"},
        {"target_url": "nonsense"},
        {"target_url": "http://127.0.0.1:99999/"},
        {"target_url": "http://münchen.invalid/"},
    ],
    ids=lambda columns: " ".join(f"{k}={v[:40]}" for k, v in columns.items()),
)
def test_subscription_that_cannot_be_used_is_disabled_and_no_other_one(
    make_flow: Callable[..., Flow], columns: dict[str, str]
) -> None:
    flow = make_flow(delivery_attempts=1)
    before, bad, after = flow.subscribe(), flow.subscribe(), flow.subscribe()
    change_row(bad, **columns)
    event = flow.send()
    states = [state_of(event, each) for each in (before, bad, after)]
    assert states == ["delivered", "held", "delivered"]
    assert row(bad).disabled is not None
    assert row(bad).error
    assert row(before).disabled is row(after).disabled is None


@pytest.mark.parametrize(
    "value",
    [
        "Fri, 31 Dec 9999 23:59:59 -0100",
        "Mon, 01 Jan 0001 00:00:00 +0100",
        "Sat, 99 Foo 2026 99:99:99 +9999",
        "soon",
        "-5",
        "",
    ],
)
def test_odd_retry_after_of_a_target_is_no_reason_to_lose_its_answer(
    flow: Flow, value: str
) -> None:
    flow.target.answer = answering(503, Retry_After=value)
    flow.subscribe()
    match = match_of(flow.send())
    assert (match.state, match.target_status) == ("allowed", "503")


# Slow targets


def test_hanging_target_does_not_delay_another_ones_delivery(
    make_flow: Callable[..., Flow], other_target: RecordingServer
) -> None:
    flow = make_flow(delivery_timeout=5.0, delivery_connections_per_host=2)
    with RawServer(hanging) as hung:
        for _ in range(5):
            flow.subscribe(target_url=hung.url)
        flow.subscribe(target_url=other_target.url)
        began = time.monotonic()
        flow.send()
        assert other_target.wait_for(1)
        event = flow.send()
        assert len(other_target.wait_for(2)) == 2
        assert time.monotonic() - began < 1.5
        assert {m.state for m in matches(event)} == {"delivered", "allowed"}


def test_answer_after_the_batchs_budget_is_recorded_when_it_comes(flow: Flow) -> None:
    def late(_received: Received) -> AnswerTriple:
        flow.target.over.wait(0.6)
        return 200, {}, b"late"

    flow.target.answer = late
    flow.subscribe()
    event = flow.send()
    assert match_of(event).state == "allowed"
    eventually(lambda: match_of(event).state == "delivered")
    assert match_of(event).target_body == "late"


def test_close_waits_for_answers_that_are_late(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow()

    def late(_received: Received) -> AnswerTriple:
        flow.target.over.wait(0.6)
        return 404, {}, b"late"

    flow.target.answer = late
    subscription = flow.subscribe()
    event = flow.send()
    flow.pipeline.close()
    assert match_of(event).state == "held"
    assert row(subscription).disabled is not None


def test_answer_that_a_worker_did_not_wait_for_at_its_end_is_no_attempt(
    make_flow: Callable[..., Flow],
) -> None:
    ending, flow = make_flow(delivery_attempts=1), make_flow(delivery_attempts=1)
    ending.target.answer = lambda _received: (200, {}, str(ending.target.over.wait(10)).encode())
    subscription = ending.subscribe()
    event = ending.send()
    ending.pipeline.settings = replace(ending.settings, delivery_timeout=0.0)
    ending.pipeline.close()
    assert match_of(event).target_body == "transport closed"
    assert row(subscription).disabled is None
    assert attempts_of(event) == 0
    flow.target.answer = answering(200)
    flow.go_on(event)
    assert match_of(event).state == "delivered"


def test_target_with_more_deliveries_than_can_wait_is_not_disabled_for_it(
    make_flow: Callable[..., Flow], monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = make_flow(
        delivery_attempts=1, delivery_connections_per_host=1, delivery_batch_budget=0.0
    )
    transport = flow.pipeline.deliverer._transport
    monkeypatch.setattr(transport, "_limits", replace(transport._limits, queue=1))

    def slow(_received: Received) -> AnswerTriple:
        flow.target.over.wait(0.05)
        return 200, {}, b""

    flow.target.answer = slow
    for _ in range(6):
        flow.subscribe()
    event = flow.send()

    def all_delivered() -> bool:
        flow.deliver([match.uuid for match in matches(event)])
        return {match.state for match in matches(event)} == {"delivered"}

    eventually(all_delivered)
    assert len(flow.target.requests) == 6


def test_slow_target_gets_nothing_twice_when_deliveries_wait_longer_than_their_lease(
    make_flow: Callable[..., Flow],
) -> None:
    flow = make_flow(
        lease=0.8,
        delivery_connect_timeout=0.1,
        delivery_timeout=0.3,
        delivery_connections_per_host=1,
        delivery_batch_budget=0.05,
    )

    def slow(_received: Received) -> AnswerTriple:
        flow.target.over.wait(0.15)
        return 200, {}, b""

    flow.target.answer = slow
    for _ in range(10):
        flow.subscribe()
    event = flow.send()

    def all_delivered() -> bool:
        flow.deliver([match.uuid for match in matches(event)])
        return {match.state for match in matches(event)} == {"delivered"}

    eventually(all_delivered, timeout=10)
    assert len(flow.target.requests) == 10


@reading
def attempts_of(event: UUID) -> int:
    return EventLogMatch.get(EventLogMatch.event_log == event).attempts


# More than one worker


def test_two_workers_deliver_what_there_is_once(make_flow: Callable[..., Flow]) -> None:
    first, second = make_flow(), make_flow()
    first.subscribe()
    ids = [first.receive() for _ in range(20)]
    for flow in (first, second, first):
        flow.deliver(flow.authorise(flow.pipeline.dispatcher.dispatch(ids)))
    assert [match_of(event).state for event in ids] == ["delivered"] * 20
    assert len(first.target.requests) == 20


def test_worker_notes_that_the_database_is_another_one(flow: Flow) -> None:
    flow.subscribe()
    flow.subscribe()
    flow.send()
    rewind_revisions()
    fresh = flow.subscribe()
    assert state_of(flow.send(), fresh) == "delivered"


@writing
def rewind_revisions() -> None:
    """Put the counter of revisions back, as restoring a backup does."""
    Counter.update(value=0).execute()
    EventMatch.update(revision=0).execute()
