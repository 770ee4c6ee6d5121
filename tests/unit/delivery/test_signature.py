"""Signatures: a target that has a secret knows who sent a body, and nobody else can say so."""

import base64
import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from pacifica.notifications.clock import utcnow
from pacifica.notifications.delivery.signature import signature_headers

DELIVERY = UUID("2f1c9f4e-7c2b-4c57-9b0e-2f6d1b6b4b11")
OLD, NEW, OTHER = (f"whsec_{base64.b64encode(bytes([each]) * 32).decode()}" for each in (1, 2, 3))
BODY = b'{"specversion": "1.0"}'


def headers(*secrets: str, body: bytes = BODY, now: datetime | None = None) -> dict[str, str]:
    return dict(signature_headers(DELIVERY, body, secrets, now or utcnow()))


def is_accepted(secret: str, body: bytes, given: dict[str, str]) -> bool:
    try:
        Webhook(secret).verify(body, given, json_parse=False)
    except WebhookVerificationError:
        return False
    return True


def test_signature_is_that_of_the_reference_libraries_own_example() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105
    name: Any = "msg_p5jXN8AQM9LWM0D4loKWxJek"
    moment = datetime.fromtimestamp(1614265330, UTC).replace(tzinfo=None)
    signed = dict(signature_headers(name, b'{"test": 2432232314}', [secret], moment))
    assert signed["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_headers_name_the_delivery_and_the_moment() -> None:
    moment = datetime(2026, 1, 31, 12, 0, 0, 999999)
    signed = headers(OLD, now=moment)
    assert signed["webhook-id"] == str(DELIVERY)
    assert signed["webhook-timestamp"] == "1769860800"


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="this system's zone cannot be changed")
def test_moment_is_the_same_in_every_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert headers(OLD, now=datetime(2026, 1, 31, 12))["webhook-timestamp"] == "1769860800"
    finally:
        monkeypatch.undo()
        time.tzset()


@given(st.text(max_size=50), st.binary(min_size=24, max_size=64))
def test_any_body_is_accepted_with_any_secret_that_it_was_signed_with(
    text: str, key: bytes
) -> None:
    secret = f"whsec_{base64.b64encode(key).decode()}"
    body = text.encode("utf-8", "replace")
    assert is_accepted(secret, body, headers(secret, body=body))


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_body_is_accepted_with_either_secret_when_both_sign(secret: str) -> None:
    signed = headers(OLD, NEW)
    assert len(signed["webhook-signature"].split(" ")) == 2
    assert is_accepted(secret, BODY, signed)


def test_body_is_refused_with_another_secret() -> None:
    assert not is_accepted(OTHER, BODY, headers(OLD, NEW))


@pytest.mark.parametrize(
    "tampered", [{"webhook-id": str(UUID(int=1))}, {"webhook-timestamp": "1"}, {}], ids=str
)
def test_body_is_refused_when_anything_was_changed(tampered: dict[str, str]) -> None:
    signed = headers(OLD)
    if "webhook-timestamp" in tampered:
        tampered = {"webhook-timestamp": str(int(signed["webhook-timestamp"]) + 1)}
    body = BODY if tampered else BODY + b" "
    assert is_accepted(OLD, BODY, signed)
    assert not is_accepted(OLD, body, {**signed, **tampered})


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        OLD.removeprefix("whsec_"),
        f"{OLD}!",
        f"whsec_{base64.b64encode(b'x' * 23).decode()}",
        f"whsec_{base64.b64encode(b'x' * 65).decode()}",
        "whsec_é",
    ],
)
def test_secret_that_is_none_is_refused_without_being_repeated(secret: Any) -> None:
    with pytest.raises(ValueError, match="must be ") as refusal:
        headers(secret)
    assert len(secret) < 9 or secret[6:] not in str(refusal.value)


def test_nothing_is_signed_without_a_secret() -> None:
    with pytest.raises(ValueError, match="must have a secret"):
        headers()
