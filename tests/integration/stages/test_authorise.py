"""Authorising: what Policy is asked, and what its answers lead to."""

import json
from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.integration.stages.flow import (
    EVENT,
    Flow,
    answering,
    due_of,
    due_within,
    enable,
    make_due,
    match_of,
    matches,
    policy_of_users,
    row,
)
from tests.support.servers import (
    AnswerTriple,
    RawServer,
    Received,
    free_port,
    hanging,
)

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


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
    assert due_of(match) is None
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
    event = flow.receive()
    with due_within(event, 0, 1):
        flow.run()
    match = match_of(event)
    assert (match.state, match.policy_status, match.target_status) == ("matched", status, "")
    assert row(subscription).disabled is None
    flow.policy.answer = answering(200)
    flow.go_on(event)
    assert match_of(event).state == "delivered"
    assert row(subscription).disabled is None


def test_policy_is_not_asked_again_before_the_time_has_come(flow: Flow) -> None:
    flow.policy.answer = answering(503)
    flow.subscribe()
    event = flow.send()
    make_due(later=timedelta(hours=1))
    asked = len(flow.policy.requests)
    assert flow.authorise([event]) == []
    assert len(flow.policy.requests) == asked


def test_policy_that_is_not_there_or_does_not_answer_disables_nothing(
    make_flow: Callable[..., Flow],
) -> None:
    with (
        RawServer(hanging) as hung,
        RawServer(lambda connection, _over: connection.close()) as shut,
    ):
        reasons = []
        for url in (hung.url, shut.url, f"http://127.0.0.1:{free_port()}"):
            flow = make_flow(notifications_policy_url=url)
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
    flow = make_flow(policy_retry_first=1.0, policy_retry_max=5.0)
    flow.policy.answer = answering(503)
    flow.subscribe()
    event = flow.receive()
    with due_within(event, 0, 1):
        flow.run()
    for longest in (2, 4, 5, 5):
        with due_within(event, 0, longest):
            flow.go_on(event)
    asked = [received.path for received in flow.policy.requests]
    assert asked.count("/events/alice") == 5
    # About the user it is asked ever more rarely, too, and this took less than a second.
    assert asked.count("/status/users/search/alice/simple") == len(asked) - 5 == 1


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


def test_user_whose_name_is_only_part_of_another_ones_is_not_known(flow: Flow) -> None:
    def real(received: Received) -> AnswerTriple:
        """Answer as Policy does for `dml`, when there is only `dmlb2001`."""
        if received.path.startswith("/events/"):
            return 500, {}, b'{"message": "list index out of range"}'
        if received.path == "/uploader":
            wanted = json.loads(received.body)["where"]["network_id"]
            return 200, {}, b'[{"_id": 10}]' if wanted == "dmlb2001" else b"[]"
        return 200, {}, b'[{"person_id": 10, "first_name": "D", "last_name": "B"}]'

    flow.policy.answer = real
    unknown, known = flow.subscribe("dml"), flow.subscribe("dmlb2001")
    flow.send()
    assert row(unknown).error == "Policy does not know the user dml"
    assert row(known).disabled is None


def test_policy_is_asked_once_for_each_event_and_user(flow: Flow) -> None:
    for user in ("alice", "alice", "alice", "bob", "bob"):
        flow.subscribe(user)
    for _ in range(2):
        flow.receive()
    flow.run()
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
        "/uploader",
    ]


def test_outage_of_policy_is_a_line_when_it_begins_and_one_when_it_ends(
    flow: Flow, caplog: pytest.LogCaptureFixture
) -> None:
    flow.policy.answer = answering(503)
    flow.subscribe()
    sent = [flow.send() for _ in range(5)]
    assert [line for line in caplog.messages if "Policy" in line] == [
        "Policy fails: it answers 503"
    ]
    flow.policy.answer = answering(200)
    for event in sent:
        flow.go_on(event)
    (_, ended) = (line for line in caplog.messages if "Policy" in line)
    assert ended.startswith("Policy works again after ")
    assert ended.endswith(" and 5 failures")


def test_absence_of_policy_is_one_line_with_its_cause(
    make_flow: Callable[..., Flow], caplog: pytest.LogCaptureFixture
) -> None:
    flow = make_flow(notifications_policy_url=f"http://127.0.0.1:{free_port()}")
    flow.subscribe()
    for _ in range(3):
        flow.send()
    assert [line for line in caplog.messages if "Policy" in line] == ["Policy fails: no connection"]


def test_unknown_user_is_no_outage_of_policy(flow: Flow, caplog: pytest.LogCaptureFixture) -> None:
    flow.policy.answer = policy_of_users(500, 404)
    subscription = flow.subscribe()
    flow.send()
    assert caplog.messages == [
        f"subscription {subscription} is disabled: Policy does not know the user alice"
    ]
