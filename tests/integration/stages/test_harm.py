"""What is on record, or answered, that must not hurt."""

from collections.abc import Callable

import pytest

from tests.integration.stages.flow import (
    Flow,
    answering,
    change_row,
    match_of,
    row,
    state_of,
)

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


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
