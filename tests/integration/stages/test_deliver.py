"""Delivering: what targets get, and what their answers lead to."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.events import HOPS_HEADER, parse_event
from pacifica.notifications.store import events, subscriptions
from tests.integration.stages.flow import (
    EVENT,
    Flow,
    answering,
    due_of,
    due_within,
    enable,
    failing_since,
    match_of,
    matches,
    row,
    state_of,
)
from tests.support.servers import (
    AnswerTriple,
    RawServer,
    Received,
    RecordingServer,
    free_port,
    hanging,
)

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_target_2xx_is_delivered(flow: Flow, status: int) -> None:
    flow.target.answer = answering(status, b"" if status == 204 else b"thanks \xc3\xa9")
    subscription = flow.subscribe()
    match = match_of(flow.send())
    assert (match.state, match.target_status) == ("delivered", str(status))
    assert match.target_body == ("" if status == 204 else "thanks é")
    assert due_of(match) is None
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
    flow.receive({k: v for k, v in EVENT.items() if k != "extensions"})
    flow.run()
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
    event = flow.receive()
    for try_it, longest in ((flow.run, 0.5), (lambda: flow.go_on(event), 1)):
        with due_within(event, 0, longest):
            try_it()
        match = match_of(event)
        assert (match.state, match.target_status) == ("allowed", str(status))
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


def test_target_that_hangs_is_disabled_when_the_horizon_is_over(
    make_flow: Callable[..., Flow],
) -> None:
    flow = make_flow(
        delivery_timeout=5.0,
        delivery_read_timeout=2.0,
        delivery_horizon=0.5,
        delivery_retry_first=0.0,
        delivery_retry_timeout=0.1,
    )
    with RawServer(hanging) as server:
        subscription = flow.subscribe(target_url=server.url)
        event = flow.send()
        assert match_of(event).target_body == "nothing came for 2 s"
        assert row(subscription).disabled is None
        first_failure = failing_since(event)
        flow.go_on(event)
    disabled, error = row(subscription).disabled, row(subscription).error or ""
    assert disabled is not None
    assert disabled - first_failure < timedelta(seconds=1)
    assert " failed after 2 attempts: no answer within 0." in error


def test_policy_that_falls_silent_is_asked_again(make_flow: Callable[..., Flow]) -> None:
    with RawServer(hanging) as policy:
        flow = make_flow(
            notifications_policy_url=policy.url, policy_timeout=5.0, policy_read_timeout=0.3
        )
        flow.subscribe()
        match = match_of(flow.send())
    assert (match.state, match.policy_body) == ("matched", "nothing came for 0.3 s")


def test_target_that_recovers_is_delivered_and_stays_enabled(flow: Flow) -> None:
    flow.target.answer = answering(503)
    subscription = flow.subscribe()
    event = flow.send()
    flow.target.answer = answering(200)
    flow.go_on(event)
    match = match_of(event)
    assert (match.state, match.target_status) == ("delivered", "200")
    assert row(subscription).disabled is None


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 403, 404, 410, 415, 422])
def test_target_is_disabled_at_once_when_it_refuses_for_good(
    flow: Flow, other_target: RecordingServer, status: int
) -> None:
    flow.target.answer = answering(status, b"gone\r\naway", Location=other_target.url)
    subscription = flow.subscribe(target_url=f"{flow.target.url}/there?secret=1")
    event = flow.send()
    assert len(flow.target.requests) == 1
    assert other_target.requests == []
    error = row(subscription).error or ""
    meaning = {410: ", gone", 415: ", the form of the event is not understood"}.get(status, "")
    assert error.endswith(f"/there failed after 1 attempt: status {status}{meaning}: gone away")
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
    flow.policy.answer = flow.changing(subscription, disabled=utcnow())
    event = flow.send()
    assert match_of(event).state == "held"
    assert flow.target.requests == []
    flow.policy.answer = answering(200)
    enable(subscription)
    flow.go_on(event)
    assert match_of(event).state == "delivered"


def test_what_was_under_way_when_the_owner_deleted_is_dropped(flow: Flow) -> None:
    flow.policy.answer = flow.changing(flow.subscribe())
    event = flow.send()
    assert match_of(event).state == "dropped"
    assert flow.target.requests == []


def test_what_waited_for_policy_when_the_owner_deleted_is_dropped(flow: Flow) -> None:
    subscription = flow.subscribe()
    flow.policy.answer = answering(503)
    event = flow.send()
    assert match_of(event).state == "matched"
    subscriptions.delete("alice", subscription)
    flow.policy.answer = answering(200)
    flow.go_on(event)
    assert match_of(event).state == "dropped"
    assert flow.target.requests == []


def test_change_of_target_is_followed_by_what_is_under_way(
    flow: Flow, other_target: RecordingServer
) -> None:
    flow.policy.answer = flow.changing(flow.subscribe(), target_url=other_target.url)
    flow.send()
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


@pytest.mark.parametrize(("came", "sent"), [(0, "1"), (2, "3")])
def test_target_is_told_through_how_many_services_the_event_came(
    flow: Flow, came: int, sent: str
) -> None:
    flow.subscribe()
    event = parse_event(json.dumps(EVENT).encode(), 100, came)
    events.record_all([event])
    flow.run()
    (received,) = flow.target.requests
    assert received.headers[HOPS_HEADER] == sent
