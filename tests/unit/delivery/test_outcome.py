"""Deliveries: the request that is made, and what each kind of answer means."""

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from importlib.metadata import version
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from pacifica.notifications.clock import utcnow
from pacifica.notifications.delivery.outcome import outcome, postponed, retry_after, unusable
from pacifica.notifications.delivery.request import (
    ATTEMPT_HEADER,
    DELIVERY_HEADER,
    authorization,
    delivery_request,
)
from pacifica.notifications.events import HOPS_HEADER, Event, parse_event
from pacifica.notifications.flow import Delivery, Outcome
from pacifica.notifications.settings import Settings
from pacifica.notifications.subscriptions import Subscription
from pacifica.notifications.transport import Response, SendFailure
from tests.support.configured import changed

NOW = datetime(2026, 1, 31, 12, 0, 0)
SETTINGS = Settings()
TRANSIENT = [408, 425, 429, 500, 502, 503, 504, 599]
PERMANENT = [
    *(300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 410, 413, 415, 418, 451, 499)
]
SEND_FAILURE = SendFailure("no answer within 10 s", 10.0)

SECRET, OTHER_SECRET = (f"whsec_{base64.b64encode(bytes([each]) * 24).decode()}" for each in (1, 2))


def delivery(attempts: int = 1, **subscription: Any) -> Delivery:
    return Delivery(
        UUID(int=1),
        UUID(int=2),
        attempts,
        replace(
            Subscription(UUID(int=3), "alice", "http://target.invalid/", {}, {}, 1), **subscription
        ),
    )


def answer(status: int, body: bytes = b"", after: str | None = None) -> Response:
    return Response(status, body, truncated=False, retry_after=after, seconds=0.1)


def ruled(result: Response | SendFailure, attempts: int = 1, **chosen: Any) -> Outcome:
    return outcome(delivery(attempts), result, NOW, changed(SETTINGS, **chosen))


def wait(result: Response | SendFailure, attempts: int = 1, **chosen: Any) -> float:
    due = ruled(result, attempts, **chosen).due
    assert due is not None
    return (due - NOW).total_seconds()


# The request


def test_request_posts_the_event_as_json() -> None:
    event = Event(UUID(int=2), '{"a": "\\u00e9"}')
    request = delivery_request(delivery(target_url="https://t.invalid/x?y=1"), event, NOW, SETTINGS)
    assert (request.method, request.url) == ("POST", "https://t.invalid/x?y=1")
    assert request.headers == (
        ("Content-Type", "application/json"),
        ("User-Agent", f"pacifica-notifications/{version('pacifica-notifications')}"),
        ("Pacifica-Notifications-Delivery", "00000000-0000-0000-0000-000000000001"),
        ("Pacifica-Notifications-Attempt", "1"),
        ("Pacifica-Notifications-Hops", "1"),
    )
    assert request.body == b'{"a": "\\u00e9"}'


def test_request_names_the_delivery_and_how_often_it_was_tried() -> None:
    event = Event(UUID(int=2), "{}")
    first, third = (delivery_request(delivery(each), event, NOW, SETTINGS) for each in (1, 3))
    assert {dict(each.headers)[DELIVERY_HEADER] for each in (first, third)} == {str(UUID(int=1))}
    assert [dict(each.headers)[ATTEMPT_HEADER] for each in (first, third)] == ["1", "3"]


@pytest.mark.parametrize(
    ("wanted", "mode", "content_type", "header"),
    [
        ("", "structured", "application/json", None),
        ("1.0", "structured", "application/cloudevents+json", None),
        ("1.0", "binary", "text/plain", ("ce-id", "i")),
        ("", "binary", "text/plain", ("CE-EventID", '"i"')),
    ],
)
def test_request_has_the_form_that_the_subscription_wants(
    wanted: str, mode: str, content_type: str, header: tuple[str, str] | None
) -> None:
    event = parse_event(
        b'{"cloudEventsVersion": "0.1", "eventType": "t", "source": "s", "eventID": "i", '
        b'"contentType": "text/plain", "data": "d"}',
        10,
    )
    wish = delivery(specversion=wanted, mode=mode)
    request = delivery_request(wish, event, NOW, SETTINGS)
    assert ("Content-Type", content_type) in request.headers
    assert header is None or header in request.headers
    assert (request.body == b"d") == (mode == "binary")


def test_request_is_refused_when_an_extension_is_none_of_the_events_version() -> None:
    event = parse_event(b'{"specversion": "1.0", "type": "t", "source": "s", "id": "i"}', 10)
    with pytest.raises(ValueError, match="its extension Color must be lower-case"):
        delivery_request(delivery(extensions={"Color": "red"}), event, NOW, SETTINGS)


@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_request_is_signed_with_each_secret_over_the_bytes_that_are_sent(mode: str) -> None:
    event = parse_event(
        b'{"specversion": "1.0", "type": "t", "source": "s", "id": "i", "data": "\xc3\xa9"}', 10
    )
    auth = {"type": "signature", "signature": {"secrets": [SECRET, OTHER_SECRET]}}
    now = utcnow()
    request = delivery_request(delivery(auth=auth, mode=mode), event, now, SETTINGS)
    headers = dict(request.headers)
    assert "Authorization" not in headers
    assert headers["webhook-id"] == headers[DELIVERY_HEADER]
    for secret in (SECRET, OTHER_SECRET):
        Webhook(secret).verify(request.body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(request.body + b" ", headers)


def test_request_names_the_origin_exactly_when_targets_are_asked_to_agree() -> None:
    asking = changed(SETTINGS, delivery_handshake=True, delivery_origin="events.example.org")
    event = Event(UUID(int=2), "{}")
    asked, not_asked = (
        dict(delivery_request(delivery(), event, NOW, each).headers) for each in (asking, SETTINGS)
    )
    assert asked["WebHook-Request-Origin"] == "events.example.org"
    assert "WebHook-Request-Origin" not in not_asked


def test_request_carries_extensions_and_credentials_of_the_subscription() -> None:
    auth = {"type": "header", "header": {"type": "Bearer", "credentials": "t"}}
    event = Event(UUID(int=2), '{"extensions": {}}')
    request = delivery_request(delivery(extensions={"a": 1}, auth=auth), event, NOW, SETTINGS)
    assert request.body == b'{"extensions": {"a": 1}}'
    assert ("Authorization", "Bearer t") in request.headers


def test_requests_share_the_events_body_when_they_carry_it_unchanged() -> None:
    event = Event(UUID(int=2), "{}")
    first, second = (
        delivery_request(delivery(user=user), event, NOW, SETTINGS) for user in ("alice", "bob")
    )
    assert first.body is second.body


@pytest.mark.parametrize("hops", [0, 3])
def test_request_counts_one_hop_more_than_the_event_came_through(hops: int) -> None:
    request = delivery_request(delivery(), Event(UUID(int=2), "{}", hops), NOW, SETTINGS)
    assert dict(request.headers)[HOPS_HEADER] == str(hops + 1)


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        ({}, None),
        ({"type": None}, None),
        ({"type": "signature", "signature": {"secrets": [SECRET]}}, None),
        ({"type": "basic", "basic": {"username": "bob", "password": "pw"}}, "Basic Ym9iOnB3"),
        ({"type": "basic", "basic": {"username": "ü", "password": ":"}}, "Basic w7w6Og=="),
        ({"type": "basic", "basic": {"username": "", "password": ""}}, "Basic Og=="),
        ({"type": "header", "header": {"type": "Bearer", "credentials": "a b"}}, "Bearer a b"),
    ],
)
def test_authorization_is_the_header_that_auth_asks_for(auth: Any, header: str | None) -> None:
    assert authorization(auth) == (() if header is None else (("Authorization", header),))


@pytest.mark.parametrize(
    "auth",
    [
        {"type": "basic"},
        {"type": "basic", "basic": None},
        {"type": "basic", "basic": {"username": "a"}},
        {"type": "header"},
        {"type": "header", "header": {"type": "Bearer"}},
        {"type": "header", "header": "Bearer t"},
        {"type": "signature"},
        {"type": "signature", "signature": {}},
        {"type": "signature", "signature": {"secrets": None}},
        {"type": "signature", "signature": {"secrets": [1]}},
        {"type": "signature", "signature": {"secrets": ["whsec_sesame"]}},
        {"type": "signature", "signature": {"secrets": []}},
    ],
)
def test_request_is_refused_when_auth_lacks_what_its_type_needs(auth: Any) -> None:
    with pytest.raises(ValueError, match="is not complete") as refusal:
        delivery_request(delivery(auth=auth), Event(UUID(int=2), "{}"), NOW, SETTINGS)
    assert "sesame" not in str(refusal.value)


@pytest.mark.parametrize("credentials", ["a\r\nX-Other: b", "a\0b", "é"])
def test_request_is_refused_when_a_credential_could_write_headers(credentials: str) -> None:
    auth = {"type": "header", "header": {"type": "Bearer", "credentials": credentials}}
    with pytest.raises(ValueError, match="Authorization"):
        delivery_request(delivery(auth=auth), Event(UUID(int=2), "{}"), NOW, SETTINGS)


# The outcome


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
def test_outcome_is_another_try_until_all_are_used_up(result: Response | SendFailure) -> None:
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
def test_outcome_is_no_attempt_when_the_reason_lies_here(attempts: int) -> None:
    result = ruled(SendFailure("transport closed", 0.0, ours=True), attempts)
    later = NOW + timedelta(seconds=2)
    assert (result.delivered, result.due, result.error, result.tried) == (False, later, None, False)


def test_outcome_tells_the_reason_when_the_target_did_not_answer() -> None:
    result = ruled(SEND_FAILURE, attempts=4)
    assert (result.status, result.body) == ("", "no answer within 10 s")
    assert (result.error or "").endswith(": no answer within 10 s")


def test_outcome_of_what_cannot_be_sent_is_an_error() -> None:
    result = unusable(delivery(), "the URL has no host", NOW)
    assert (result.delivered, result.status, result.body) == (False, "", "the URL has no host")
    assert result.error == "cannot be delivered: the URL has no host"


# The error


def test_error_says_when_what_where_and_how_often() -> None:
    at = "2026-01-31T12:00:00Z: POST of event 00000000-0000-0000-0000-000000000002"
    expected = f"{at} to http://target.invalid/ failed after 1 attempt: status 404: not here"
    assert ruled(answer(404, b"not here")).error == expected


@pytest.mark.parametrize(
    "body", [b"a\r\nb\0c\x1b[2J" * 9000, "\u2028é\x85".encode() * 500, b"\xff" * 99]
)
def test_error_is_one_printable_line_and_bounded(body: bytes) -> None:
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
        ("http://[::1", "what is not a URL"),
    ],
)
def test_error_names_the_target_without_what_may_be_secret(url: str, place: str) -> None:
    error = outcome(delivery(target_url=url), answer(404), NOW, SETTINGS).error or ""
    assert f" to {place} failed" in error
    assert "sesame" not in error


# The wait


def test_wait_doubles_and_is_spread_below_its_bound() -> None:
    for attempts, longest in enumerate([0.5, 1, 2, 4, 8], start=1):
        waits = [
            wait(answer(500), attempts, delivery_attempts=9, delivery_horizon=60)
            for _ in range(200)
        ]
        assert 0 <= min(waits) < longest / 4
        assert longest * 3 / 4 < max(waits) <= longest


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
        timeout = delivery_request(failed, Event(UUID(int=2), "{}"), due, SETTINGS).timeout
        now = due + timedelta(seconds=min(seconds, timeout or 10))
        first = first or now
        result = outcome(failed, SEND_FAILURE, now, SETTINGS)
        due = result.due if result.error is None else None
    assert 2 <= tries <= 4
    assert first is not None
    assert now - first <= timedelta(seconds=6)


@pytest.mark.parametrize(
    ("failing_for", "timeout"),
    [(None, None), (0, 5), (1.5, 3.5), (4.9, 1), (5, 1), (5.1, None), (3600, None)],
    ids=str,
)
def test_retry_takes_what_is_left_of_the_horizon_unless_it_comes_later(
    failing_for: float | None, timeout: float | None
) -> None:
    since = None if failing_for is None else NOW - timedelta(seconds=failing_for)
    retried = replace(delivery(2), failing=since)
    request = delivery_request(retried, Event(UUID(int=2), "{}"), NOW, SETTINGS)
    assert request.timeout == timeout


@pytest.mark.parametrize("result", [answer(503), SEND_FAILURE])
def test_outcome_disables_when_the_next_try_would_be_past_the_horizon(
    result: Response | SendFailure,
) -> None:
    many = changed(SETTINGS, delivery_attempts=99, delivery_horizon=5, delivery_retry_first=0)
    within, past = (
        outcome(replace(delivery(9), failing=NOW - timedelta(seconds=ago)), result, NOW, many)
        for ago in (5, 5.001)
    )
    assert (within.error, within.due) == (None, NOW)
    assert past.error is not None
    assert past.probe_due == NOW + timedelta(seconds=30)


def test_outcome_honours_retry_after_beyond_the_horizon() -> None:
    failing = replace(delivery(3), failing=NOW - timedelta(hours=1))
    asked = outcome(failing, answer(503, after="60"), NOW, SETTINGS)
    assert (asked.error, asked.due) == (None, NOW + timedelta(seconds=60))


@pytest.mark.parametrize("status", [503, 429])
def test_outcome_of_a_probe_is_final_and_leaves_the_schedule(status: int) -> None:
    result = outcome(replace(delivery(), probe=True), answer(status), NOW, SETTINGS)
    assert result.error is not None
    assert result.probe_due is not None


@pytest.mark.parametrize("status", [404, 410, 302, 508])
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
    probe = outcome(replace(delivery(), probe=True), answer(429, after="7"), NOW, SETTINGS)
    assert probe.not_before == NOW + timedelta(seconds=7)


def test_outcome_of_what_is_postponed_is_no_attempt() -> None:
    until = NOW + timedelta(seconds=7)
    result = postponed(delivery(3), until)
    assert (result.delivered, result.due, result.error, result.tried) == (False, until, None, False)


def http_date(moment: datetime) -> str:
    return format_datetime(moment.replace(tzinfo=UTC), usegmt=True)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("  ", None),
        ("120", 120),
        (" 120 ", 120),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("1e3", None),
        ("Sat, 31 Jan 2026 12:00:10 GMT", 10),
        ("Sat, 31 Jan 2026 13:00:10 +0100", 10),
        ("Sat, 31 Jan 2026 12:00:10 -0000", 10),
        ("Saturday, 31-Jan-26 12:00:10 GMT", 10),
        ("Sat Jan 31 12:00:10 2026", 10),
        ("Fri, 30 Jan 2026 12:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 -0100", None),
        ("Mon, 01 Jan 0001 00:00:00 +0100", 0),
        ("Sat, 32 Jan 2026 12:00:10 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_or_nothing(
    value: str | None, seconds: float | None
) -> None:
    assert retry_after(value, NOW) == seconds


DATE_PARTS = st.sampled_from(
    [*"0123456789 ,:-+", "Sat", "Jan", "2026", "9999", "12:00:00", "GMT", "+9999", "99"]
)


@given(st.text(max_size=40) | st.lists(DATE_PARTS, max_size=12).map("".join))
def test_retry_after_never_fails_and_is_never_negative(value: str) -> None:
    seconds = retry_after(value, NOW)
    assert seconds is None or seconds >= 0
