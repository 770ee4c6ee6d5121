"""The request that carries an event to a target, with its headers and its timeout."""

import base64
from dataclasses import replace
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import Any
from uuid import UUID

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from pacifica.notifications.clock import utcnow
from pacifica.notifications.delivery import (
    ATTEMPT_HEADER,
    DELIVERY_HEADER,
    authorization,
    delivery_request,
)
from pacifica.notifications.errors import EventUnsendable
from pacifica.notifications.events import HOPS_HEADER, Event, parse_event
from pacifica.notifications.flow import Delivery
from pacifica.notifications.settings import DeliverySettings
from pacifica.notifications.subscriptions import Subscription

NOW = datetime(2026, 1, 31, 12, 0, 0)
SETTINGS = DeliverySettings()
SECRET, OTHER_SECRET = (f"whsec_{base64.b64encode(bytes([each]) * 24).decode()}" for each in (1, 2))


def delivery(attempts: int = 1, **fields: Any) -> Delivery:
    subscription = Subscription(UUID(int=3), "alice", "http://target.invalid/", {}, {}, 1)
    return Delivery(UUID(int=1), UUID(int=2), attempts, replace(subscription, **fields))


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


def test_request_names_the_delivery_and_the_number_of_the_attempt() -> None:
    event = Event(UUID(int=2), "{}")
    first, third = (delivery_request(delivery(each), event, NOW, SETTINGS) for each in (1, 3))
    assert {dict(each.headers)[DELIVERY_HEADER] for each in (first, third)} == {str(UUID(int=1))}
    assert [dict(each.headers)[ATTEMPT_HEADER] for each in (first, third)] == ["1", "3"]


@pytest.mark.parametrize(
    ("specversion", "mode", "content_type", "header"),
    [
        ("", "structured", "application/json", None),
        ("1.0", "structured", "application/cloudevents+json", None),
        ("1.0", "binary", "text/plain", ("ce-id", "i")),
        ("", "binary", "text/plain", ("CE-EventID", '"i"')),
    ],
)
def test_request_has_the_format_that_the_subscription_asks_for(
    specversion: str, mode: str, content_type: str, header: tuple[str, str] | None
) -> None:
    event = parse_event(
        b'{"cloudEventsVersion": "0.1", "eventType": "t", "source": "s", "eventID": "i", '
        b'"contentType": "text/plain", "data": "d"}',
        10,
    )
    chosen = delivery(specversion=specversion, mode=mode)
    request = delivery_request(chosen, event, NOW, SETTINGS)
    assert ("Content-Type", content_type) in request.headers
    assert header is None or header in request.headers
    assert (request.body == b"d") == (mode == "binary")


def test_request_is_refused_when_the_events_version_does_not_allow_an_extension() -> None:
    event = parse_event(b'{"specversion": "1.0", "type": "t", "source": "s", "id": "i"}', 10)
    with pytest.raises(EventUnsendable, match="its extension Color must be lower-case"):
        delivery_request(delivery(extensions={"Color": "red"}), event, NOW, SETTINGS)


@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_request_is_signed_with_each_secret_over_the_body_that_is_sent(mode: str) -> None:
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


def test_request_names_the_origin_exactly_when_the_handshake_is_on() -> None:
    asking = replace(SETTINGS, handshake=True, origin="events.example.org")
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
def test_authorization_is_the_header_that_auth_describes(auth: Any, header: str | None) -> None:
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
def test_request_is_refused_when_credentials_could_inject_headers(credentials: str) -> None:
    auth = {"type": "header", "header": {"type": "Bearer", "credentials": credentials}}
    with pytest.raises(ValueError, match="Authorization"):
        delivery_request(delivery(auth=auth), Event(UUID(int=2), "{}"), NOW, SETTINGS)


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
