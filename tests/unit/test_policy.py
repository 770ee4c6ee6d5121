"""Policy: the requests to it, and what each kind of response means."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest

from pacifica.notifications.events import parse_event
from pacifica.notifications.flow import Delivery, State
from pacifica.notifications.policy import (
    Verdict,
    exact_user_request,
    found_nobody,
    found_users,
    is_unknown_user,
    policy_body,
    ruling,
    user_request,
    verdict,
    verdict_request,
)
from pacifica.notifications.settings import PolicySettings, RecoverySettings
from pacifica.notifications.subscriptions import Subscription
from pacifica.notifications.transport import Response, SendFailure

NOW = datetime(2026, 1, 31, 12, 0, 0)
SETTINGS, RECOVERY = PolicySettings(), RecoverySettings()
POLICY = "http://policy.invalid:8181/base"
SEND_FAILURE = SendFailure("no connection", 0.1)


def answer(status: int, body: bytes = b"") -> Response:
    return Response(status, body, truncated=False, retry_after=None, seconds=0.1)


def delivery(attempts: int = 1) -> Delivery:
    subscription = Subscription(uuid4(), "alice", "http://target.invalid/", {}, {}, 1)
    return Delivery(uuid4(), UUID(int=1), attempts, subscription)


def test_verdict_request_carries_the_event_as_json() -> None:
    request = verdict_request(POLICY, "alice", b'{"a": "\\u00e9"}')
    assert (request.method, request.url) == ("POST", f"{POLICY}/events/alice")
    assert request.headers == (("Content-Type", "application/json"),)
    assert request.body == b'{"a": "\\u00e9"}'


@pytest.mark.parametrize(
    "body",
    [
        b'{"any": "thing"}',
        b'{"cloudEventsVersion": "0.1", "eventType": "t", "source": "s", "eventID": "i"}',
    ],
)
def test_policy_gets_the_stored_event_when_its_version_is_0_1_or_absent(body: bytes) -> None:
    event = parse_event(body, 10)
    assert policy_body(event) is event.encoded


@pytest.mark.parametrize("specversion", ["0.3", "1.0"])
def test_policy_gets_an_event_converted_to_0_1_once_when_its_version_is_later(
    specversion: str,
) -> None:
    document = {"specversion": specversion, "type": "t", "source": "s", "id": "i", "data": [1]}
    event = parse_event(json.dumps(document).encode(), 10)
    assert json.loads(policy_body(event)) == {
        "cloudEventsVersion": "0.1",
        "eventType": "t",
        "source": "s",
        "eventID": "i",
        "extensions": {},
        "data": [1],
    }
    assert policy_body(event) is policy_body(event)


def test_policy_gets_json_data_when_it_was_sent_as_base64() -> None:
    document = {"specversion": "1.0", "type": "t", "source": "s", "id": "i"}
    document |= {"datacontenttype": "application/json", "data_base64": "WzFd"}
    event = parse_event(json.dumps(document).encode(), 10)
    assert json.loads(policy_body(event))["data"] == [1]


def test_user_request_is_a_get_without_a_body() -> None:
    request = user_request(POLICY, "alice")
    assert request.method == "GET"
    assert request.url == f"{POLICY}/status/users/search/alice/simple"
    assert request.body == b""


@pytest.mark.parametrize(
    ("user", "quoted"),
    [
        ("a b", "a%20b"),
        ("müller", "m%C3%BCller"),
        ("a/b", "a%2Fb"),
        ("a?b#c", "a%3Fb%23c"),
        ("a&b=c", "a%26b%3Dc"),
        ("a%41", "a%2541"),
        ("..", ".."),
        ("DOMAIN\\user", "DOMAIN%5Cuser"),
    ],
)
def test_user_is_percent_encoded_in_every_request(user: str, quoted: str) -> None:
    assert verdict_request(POLICY, user, b"{}").url == f"{POLICY}/events/{quoted}"
    assert user_request(POLICY, user).url == f"{POLICY}/status/users/search/{quoted}/simple"


def test_exact_user_request_asks_for_the_name_as_it_is() -> None:
    request = exact_user_request(POLICY, "dml/é")
    assert (request.method, request.url) == ("POST", f"{POLICY}/uploader")
    assert request.headers == (("Content-Type", "application/json"),)
    assert json.loads(request.body) == {
        "user": -1,
        "columns": ["_id"],
        "from": "users",
        "where": {"network_id": "dml/é"},
    }


@pytest.mark.parametrize(
    ("result", "somebody", "nobody"),
    [
        (answer(200, b'[{"_id": 10}]'), True, False),
        (answer(200, b"[]"), True, True),
        (answer(200, b" [] \n"), True, True),
        (answer(200, b""), True, False),
        (answer(404, b"[]"), False, False),
        (answer(500, b"[]"), False, False),
        (SEND_FAILURE, False, False),
    ],
    ids=str,
)
def test_only_an_empty_list_says_that_there_is_nobody_of_that_name(
    result: Response | SendFailure, somebody: bool, nobody: bool
) -> None:
    assert (found_users(result), found_nobody(result)) == (somebody, nobody)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_verdict_is_allow_when_policy_answers_2xx(status: int) -> None:
    assert verdict(answer(status)) is Verdict.ALLOW


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 429, 499])
def test_verdict_is_deny_when_policy_answers_4xx(status: int) -> None:
    assert verdict(answer(status)) is Verdict.DENY


@pytest.mark.parametrize("status", [100, 301, 302, 304, 307, 500, 502, 503, 599, 999])
def test_verdict_is_unknown_when_policy_answers_anything_else(status: int) -> None:
    assert verdict(answer(status)) is Verdict.UNKNOWN


def test_verdict_is_unknown_when_policy_does_not_answer() -> None:
    assert verdict(SEND_FAILURE) is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("result", "unknown"),
    [
        (answer(404), True),
        (answer(200), False),
        (answer(403), False),
        (answer(410), False),
        (answer(500), False),
        (SEND_FAILURE, False),
    ],
)
def test_user_is_unknown_only_when_policy_answers_404(
    result: Response | SendFailure, unknown: bool
) -> None:
    assert is_unknown_user(result) is unknown


@pytest.mark.parametrize(
    ("status", "state", "due"),
    [(200, State.ALLOWED, NOW), (412, State.DENIED, None)],
)
def test_ruling_applies_to_all_deliveries_when_there_is_a_verdict(
    status: int, state: State, due: datetime | None
) -> None:
    deliveries = [delivery(), delivery(3)]
    ruled = ruling(deliveries, answer(status, b"why"), NOW, SETTINGS, RECOVERY)
    assert ruled.deliveries == tuple(deliveries)
    assert (ruled.state, ruled.due, ruled.status, ruled.body) == (state, due, str(status), "why")


@pytest.mark.parametrize(
    ("attempts", "seconds"), [((1,), 1), ((2,), 2), ((3,), 4), ((1, 4), 8), ((99,), 60)]
)
def test_ruling_waits_longer_each_time_up_to_a_bound_when_there_is_no_verdict(
    attempts: tuple[int, ...], seconds: float
) -> None:
    ruled = [
        ruling([delivery(each) for each in attempts], SEND_FAILURE, NOW, SETTINGS, RECOVERY)
        for _ in range(200)
    ]
    assert {(each.state, each.status, each.body) for each in ruled} == {
        (State.MATCHED, "", "no connection")
    }
    waits = [((each.due or NOW) - NOW).total_seconds() for each in ruled]
    assert 0 <= min(waits) < seconds / 4
    assert seconds * 3 / 4 < max(waits) <= seconds


@pytest.mark.parametrize(("attempt", "bound"), [(1, 0.5), (2, 1), (3, 2), (4, 3), (99, 3)])
def test_ruling_waits_as_configured(attempt: int, bound: float) -> None:
    chosen = replace(SETTINGS, retry_first=0.5, retry_max=3.0)
    waits = [
        (ruling([delivery(attempt)], answer(503), NOW, chosen, RECOVERY).due or NOW) - NOW
        for _ in range(200)
    ]
    assert bound * 3 / 4 < max(waits).total_seconds() <= bound


def test_ruling_holds_deliveries_when_policy_gave_no_verdict_before_its_horizon() -> None:
    chosen = replace(SETTINGS, horizon=100.0)
    before, at = (
        ruling(
            [replace(delivery(9), failing=NOW - timedelta(seconds=ago))],
            SEND_FAILURE,
            NOW,
            chosen,
            RECOVERY,
        )
        for ago in (99, 100)
    )
    assert (before.state, before.probe_due) == (State.MATCHED, None)
    assert (at.state, at.due) == (State.HELD, None)
    assert at.probe_due == NOW + timedelta(seconds=30)
