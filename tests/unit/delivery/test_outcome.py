"""What each kind of response means for a delivery and its subscription."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacifica.notifications.delivery import delivery_request, outcome, postponed, unsendable
from pacifica.notifications.events import Event
from pacifica.notifications.flow import Delivery, Outcome
from pacifica.notifications.settings import Settings
from pacifica.notifications.subscriptions import Subscription
from pacifica.notifications.transport import Response, SendFailure
from tests.support.configured import changed

NOW = datetime(2026, 1, 31, 12, 0, 0)
SETTINGS = Settings()
DELIVERY, RECOVERY = SETTINGS.delivery, SETTINGS.recovery
TRANSIENT = [408, 425, 429, 500, 502, 503, 504, 599]
PERMANENT = [
    *(300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 410, 413, 415, 418, 451, 499)
]
SEND_FAILURE = SendFailure("no answer within 10 s", 10.0)


def delivery(attempts: int = 1, **fields: Any) -> Delivery:
    subscription = Subscription(UUID(int=3), "alice", "http://target.invalid/", {}, {}, 1)
    return Delivery(UUID(int=1), UUID(int=2), attempts, replace(subscription, **fields))


def answer(status: int, body: bytes = b"", after: str | None = None) -> Response:
    return Response(status, body, truncated=False, retry_after=after, seconds=0.1)


def ruled(result: Response | SendFailure, attempts: int = 1, **chosen: Any) -> Outcome:
    used = changed(SETTINGS, **chosen)
    return outcome(delivery(attempts), result, NOW, used.delivery, used.recovery)


def wait(result: Response | SendFailure, attempts: int = 1, **chosen: Any) -> float:
    due = ruled(result, attempts, **chosen).due
    assert due is not None
    return (due - NOW).total_seconds()


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_outcome_is_delivered_when_the_target_answers_2xx(status: int) -> None:
    result = ruled(answer(status, b"thanks"))
    assert (result.delivered, result.due, result.error) == (True, None, None)
    assert (result.status, result.body) == (str(status), "thanks")


@pytest.mark.parametrize("status", PERMANENT)
def test_outcome_is_an_error_at_once_when_the_target_refuses_for_good(status: int) -> None:
    result = ruled(answer(status, b"go away", after="5"))
    assert not result.delivered
    meaning = {410: ", gone", 415: ", the form of the event is not understood"}.get(status, "")
    assert result.error is not None
    assert result.error.endswith(f"failed after 1 attempt: status {status}{meaning}: go away")
    assert (result.probe_due, result.not_before) == (None, None)


@pytest.mark.parametrize("result", [*map(answer, TRANSIENT), SEND_FAILURE])
def test_outcome_is_another_attempt_until_all_attempts_are_used_up(
    result: Response | SendFailure,
) -> None:
    for attempts in (1, 2, 3):
        tried = ruled(result, attempts, delivery_attempts=4)
        assert (tried.delivered, tried.error) == (False, None)
        assert tried.due is not None
        assert tried.due > NOW
    for attempts in (4, 5):
        given_up = ruled(result, attempts, delivery_attempts=4)
        assert not given_up.delivered
        assert f"failed after {attempts} attempts: " in (given_up.error or "")


@pytest.mark.parametrize("attempts", [1, 4, 99])
def test_outcome_does_not_count_as_an_attempt_when_this_service_failed(attempts: int) -> None:
    result = ruled(SendFailure("transport closed", 0.0, ours=True), attempts)
    later = NOW + timedelta(seconds=2)
    assert (result.delivered, result.due, result.error, result.tried) == (False, later, None, False)


def test_outcome_says_why_sending_failed_when_the_target_did_not_answer() -> None:
    result = ruled(SEND_FAILURE, attempts=4)
    assert (result.status, result.body) == ("", "no answer within 10 s")
    assert (result.error or "").endswith(": no answer within 10 s")


def test_outcome_is_an_error_when_no_request_can_be_built() -> None:
    result = unsendable(delivery(), "the URL has no host", NOW)
    assert (result.delivered, result.status, result.body) == (False, "", "the URL has no host")
    assert result.error == "cannot be delivered: the URL has no host"


# The error


def test_error_says_when_which_event_which_target_and_how_many_attempts() -> None:
    at = "2026-01-31T12:00:00Z: POST of event 00000000-0000-0000-0000-000000000002"
    expected = f"{at} to http://target.invalid/ failed after 1 attempt: status 404: not here"
    assert ruled(answer(404, b"not here")).error == expected


@pytest.mark.parametrize(
    "body", [b"a\r\nb\0c\x1b[2J" * 9000, "\u2028é\x85".encode() * 500, b"\xff" * 99]
)
def test_error_is_one_printable_line_of_limited_length(body: bytes) -> None:
    error = ruled(answer(404, body)).error or ""
    assert error.isprintable()
    assert len(error.partition(": status 404: ")[2]) <= 500


@pytest.mark.parametrize(
    ("url", "place"),
    [
        (
            "http://user:sesame@target.invalid:81/a/b?key=sesame#sesame",
            "http://target.invalid:81/a/b",
        ),
        ("http://sesame@target.invalid", "http://target.invalid"),
        ("https://[::1]:8/x;y", "https://[::1]:8/x;y"),
        ("http://[::1", "an invalid URL"),
    ],
)
def test_error_names_the_target_without_credentials_and_query(url: str, place: str) -> None:
    error = outcome(delivery(target_url=url), answer(404), NOW, DELIVERY, RECOVERY).error or ""
    assert f" to {place} failed" in error
    assert "sesame" not in error


# Credentials

BEARER = {"type": "header", "header": {"type": "Bearer", "credentials": "sesame-and-more"}}


def with_credentials(result: Response | SendFailure, **fields: Any) -> Outcome:
    return outcome(delivery(4, **{"auth": BEARER, **fields}), result, NOW, DELIVERY, RECOVERY)


@pytest.mark.parametrize("status", [200, 404, 500, 508])
@pytest.mark.parametrize("body", [b'{"sent": "Bearer s\\u0065same"}', b"sesame", b"x" * 16384])
def test_outcome_has_the_size_of_a_response_that_could_repeat_credentials(
    status: int, body: bytes
) -> None:
    result = with_credentials(answer(status, body))
    kept = f"(a response of {len(body)} bytes is not kept: it could repeat the credentials)"
    assert (result.status, result.body) == (str(status), kept)
    assert result.error is None or result.error.endswith(f": status {status}: {kept}")


def test_outcome_says_that_a_response_was_cut_off_when_it_is_not_kept() -> None:
    result = with_credentials(replace(answer(404, b"ses"), truncated=True))
    assert result.body.startswith("(a response of more than 3 bytes is not kept: ")


@pytest.mark.parametrize("status", [200, 404, 500])
def test_outcome_has_a_plain_short_response_when_there_are_credentials(status: int) -> None:
    result = with_credentials(answer(status, b"no such workflow"))
    assert result.body == "no such workflow"
    assert result.error is None or result.error.endswith(f": status {status}: no such workflow")


@pytest.mark.parametrize(
    "url", ["http://bob:sesame@target.invalid/", "http://target.invalid/?key=sesame"]
)
def test_outcome_has_no_response_that_could_repeat_what_is_secret_in_the_url(url: str) -> None:
    result = with_credentials(answer(404, b"no sesame"), auth={}, target_url=url)
    assert "sesame" not in result.body + (result.error or "")


def test_outcome_has_all_of_a_response_when_there_are_no_credentials() -> None:
    assert with_credentials(answer(404, b"<p>" * 999), auth={}).body == "<p>" * 999


def test_outcome_is_a_loop_though_the_response_is_not_kept() -> None:
    result = with_credentials(answer(508, b'{"own_delivery": true}'))
    assert (result.given_up, result.error is not None) == (False, True)


def test_outcome_says_why_sending_failed_when_there_are_credentials() -> None:
    assert with_credentials(SEND_FAILURE).body == "no answer within 10 s"


# The wait


def test_wait_doubles_and_is_spread_below_its_bound() -> None:
    for attempts, bound in enumerate([0.5, 1, 2, 4, 8], start=1):
        waits = [
            wait(answer(500), attempts, delivery_attempts=9, delivery_horizon=60)
            for _ in range(200)
        ]
        assert 0 <= min(waits) < bound / 4
        assert bound * 3 / 4 < max(waits) <= bound


def test_wait_is_as_configured_and_bounded() -> None:
    assert wait(SEND_FAILURE, delivery_retry_first=0.0) == 0
    many = {"delivery_attempts": 9999, "delivery_horizon": 60.0, "delivery_retry_max": 7.0}
    assert max(wait(SEND_FAILURE, 5000, **many) for _ in range(200)) <= 7


@settings(max_examples=200)
@given(st.floats(0, 13))
def test_outcome_disables_about_five_seconds_after_the_first_failure(seconds: float) -> None:
    """By the default settings, whatever the waits and however long the target takes to fail."""
    first, now, tries, due = None, NOW, 0, NOW
    while due is not None:
        tries += 1
        failed = replace(delivery(tries), failing=first)
        timeout = delivery_request(failed, Event(UUID(int=2), "{}"), due, DELIVERY).timeout
        now = due + timedelta(seconds=min(seconds, timeout or 10))
        first = first or now
        result = outcome(failed, SEND_FAILURE, now, DELIVERY, RECOVERY)
        due = result.due if result.error is None else None
    assert 2 <= tries <= 4
    assert first is not None
    assert now - first <= timedelta(seconds=6)


@pytest.mark.parametrize("result", [answer(503), SEND_FAILURE])
def test_outcome_disables_when_the_next_try_would_be_past_the_horizon(
    result: Response | SendFailure,
) -> None:
    many = replace(DELIVERY, attempts=99, horizon=5, retry_first=0)
    within, past = (
        outcome(
            replace(delivery(9), failing=NOW - timedelta(seconds=ago)), result, NOW, many, RECOVERY
        )
        for ago in (5, 5.001)
    )
    assert (within.error, within.due) == (None, NOW)
    assert past.error is not None
    assert past.probe_due == NOW + timedelta(seconds=30)


def test_outcome_honours_retry_after_beyond_the_horizon() -> None:
    failing = replace(delivery(3), failing=NOW - timedelta(hours=1))
    asked = outcome(failing, answer(503, after="60"), NOW, DELIVERY, RECOVERY)
    assert (asked.error, asked.due) == (None, NOW + timedelta(seconds=60))


@pytest.mark.parametrize("status", [503, 429])
def test_outcome_of_a_probe_is_final_and_leaves_the_schedule(status: int) -> None:
    result = outcome(replace(delivery(), probe=True), answer(status), NOW, DELIVERY, RECOVERY)
    assert result.error is not None
    assert result.probe_due is not None


@pytest.mark.parametrize("status", [404, 410, 302])
def test_outcome_does_not_recover_when_the_target_refuses_for_good(status: int) -> None:
    result = ruled(answer(status))
    assert (result.error is not None, result.probe_due) == (True, None)


@pytest.mark.parametrize("status", TRANSIENT)
def test_wait_is_what_the_target_asks_for_within_bounds(status: int) -> None:
    assert wait(answer(status, after="7")) == 7
    assert wait(answer(status, after="0")) == 0
    assert wait(answer(status, after="300")) == 300
    assert wait(answer(status, after=http_date(NOW + timedelta(seconds=90)))) == 90
    assert wait(answer(status, after=http_date(NOW - timedelta(days=1)))) == 0
    assert 0 < wait(answer(status, after="tomorrow")) <= 0.5


@pytest.mark.parametrize("attempts", [1, 3])
@pytest.mark.parametrize("after", ["301", "86400", "date"])
def test_outcome_disables_until_the_target_wants_requests_again_when_that_is_far(
    attempts: int, after: str
) -> None:
    asked = NOW + timedelta(seconds=400 if after == "date" else int(after))
    after = http_date(asked) if after == "date" else after
    result = ruled(answer(429, b"slow down", after), attempts)
    assert result.error is not None
    assert (result.probe_due, result.not_before) == (asked, asked)


def test_outcome_is_not_probed_before_the_target_wants_it_when_all_tries_are_used_up() -> None:
    asked = NOW + timedelta(seconds=200)
    result = ruled(answer(503, after="200"), attempts=4)
    assert result.error is not None
    assert (result.probe_due, result.not_before) == (asked, asked)
    sooner = ruled(answer(503, after="7"), attempts=4)
    assert sooner.probe_due == NOW + timedelta(seconds=30)


@pytest.mark.parametrize("after", ["9" * 5000, "date"])
def test_outcome_is_probed_within_the_horizon_whatever_the_target_wants(after: str) -> None:
    after = http_date(NOW + timedelta(days=400)) if after == "date" else after
    result = ruled(answer(429, after=after), recovery_horizon=3600.0)
    assert result.probe_due == NOW + timedelta(hours=1)


def test_outcome_tells_until_when_the_target_wants_no_other_request() -> None:
    assert ruled(answer(429, after="7")).not_before == NOW + timedelta(seconds=7)
    assert ruled(answer(429)).not_before is None
    assert ruled(SEND_FAILURE).not_before is None
    probe = outcome(
        replace(delivery(), probe=True), answer(429, after="7"), NOW, DELIVERY, RECOVERY
    )
    assert probe.not_before == NOW + timedelta(seconds=7)


def test_outcome_does_not_count_as_an_attempt_when_the_delivery_is_postponed() -> None:
    until = NOW + timedelta(seconds=7)
    result = postponed(delivery(3), until)
    assert (result.delivered, result.due, result.error, result.tried) == (False, until, None, False)


def http_date(moment: datetime) -> str:
    return format_datetime(moment.replace(tzinfo=UTC), usegmt=True)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"no json",
        b'{"own_delivery": false}',
        b'{"own_delivery": "yes"}',
        b"[" * 9999,
    ],
)
@pytest.mark.parametrize("probe", [False, True])
def test_outcome_gives_up_the_delivery_alone_when_the_event_came_through_too_many_services(
    body: bytes, probe: bool
) -> None:
    result = outcome(replace(delivery(), probe=probe), answer(508, body), NOW, DELIVERY, RECOVERY)
    assert (result.given_up, result.delivered, result.error, result.due) == (
        True,
        False,
        None,
        None,
    )


def test_outcome_disables_when_a_service_says_that_its_own_delivery_came_back() -> None:
    result = ruled(answer(508, b'{"own_delivery": true}'))
    assert (result.given_up, result.error is not None, result.probe_due) == (False, True, None)
