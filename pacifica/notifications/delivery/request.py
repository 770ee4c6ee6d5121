"""The request that carries an event to a target, authorized or signed as its subscription asks."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from hmac import digest
from importlib.metadata import version
from typing import Any, Final
from uuid import UUID

from pacifica.notifications.delivery.chat import chat_message
from pacifica.notifications.delivery.handshake import origin_headers
from pacifica.notifications.delivery.links import NO_LINKS, Links
from pacifica.notifications.events import HOPS_HEADER, Event, decode_base64
from pacifica.notifications.flow import Cause, Delivery
from pacifica.notifications.settings import DeliverySettings
from pacifica.notifications.subscriptions import Format
from pacifica.notifications.transport import FlowKey, Request

#: By these headers a target recognizes a delivery that it got before, and counts its attempts.
DELIVERY_HEADER: Final = "Pacifica-Notifications-Delivery"
ATTEMPT_HEADER: Final = "Pacifica-Notifications-Attempt"
#: By this header a target tells what somebody asked for from what comes by itself.
TRIGGER_HEADER: Final = "Pacifica-Notifications-Trigger"
_TRIGGERS = {
    cause: ((TRIGGER_HEADER, str(cause)),) for cause in (Cause.RESEND, Cause.REPLAY, Cause.TEST)
}

# Signing secrets (Standard Webhooks 1.0.0): a prefix, and the Base64 of so many bytes.
_SECRET_PREFIX = "whsec_"  # noqa: S105
_MIN_SECRET_BYTES, _MAX_SECRET_BYTES = 24, 64


def delivery_request(
    delivery: Delivery,
    event: Event,
    now: datetime,
    settings: DeliverySettings,
    links: Links = NO_LINKS,
) -> Request:
    """Return the request of a delivery, in the format that its subscription asks for.

    `links` are for the formats that people read.

    Raises ValueError for a target URL or auth that cannot be used, and EventUnsendable for an event
    whose version does not allow the subscription's extensions.
    """
    subscription = delivery.subscription
    if subscription.format is Format.EVENT:
        message = event.message(
            subscription.specversion, subscription.mode, subscription.extensions
        )
    else:
        message = chat_message(subscription.format, event, links)
    headers = (
        *message.headers,
        ("User-Agent", _user_agent()),
        (DELIVERY_HEADER, str(delivery.uuid)),
        (ATTEMPT_HEADER, str(delivery.attempts)),
        (HOPS_HEADER, str(event.hops + 1)),
        *_TRIGGERS.get(delivery.cause, ()),
        *origin_headers(settings),
        *authorization(subscription.auth),
        *_signature(delivery, message.body, now),
    )
    timeout = _retry_timeout(delivery, now, settings)
    target = subscription.target_url
    # A subscription whose target is changed starts anew, with nothing known of it.
    flow = FlowKey(subscription.user, (subscription.uuid, target))
    return Request("POST", target, headers, message.body, timeout, flow)


def authorization(auth: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the Authorization header for a subscription's `auth`; none if it asks for none.

    Raises ValueError for an incomplete `auth`, which older versions of the API accepted.
    """
    kind = auth.get("type")
    try:
        if kind == "basic":
            basic = auth["basic"]
            token = b64encode(f"{basic['username']}:{basic['password']}".encode()).decode()
            return (("Authorization", f"Basic {token}"),)
        if kind == "header":
            header = auth["header"]
            return (("Authorization", f"{header['type']} {header['credentials']}"),)
    except (KeyError, TypeError) as error:
        raise ValueError(f"its auth of type {kind} is not complete") from error
    return ()


def signature_headers(
    delivery: UUID, body: bytes, secrets: Sequence[str], now: datetime
) -> tuple[tuple[str, str], ...]:
    """Return the headers that sign a body with each secret, as Standard Webhooks 1.0.0 defines.

    `now` is naive UTC. Raises ValueError if there is no secret, or one is malformed; the message
    does not repeat it.
    """
    if not secrets:
        raise ValueError("must have a secret")
    timestamp = int(now.replace(tzinfo=UTC).timestamp())
    signed = f"{delivery}.{timestamp}.".encode() + body
    signatures = (digest(_signing_key(secret), signed, sha256) for secret in secrets)
    return (
        ("webhook-id", str(delivery)),
        ("webhook-timestamp", str(timestamp)),
        ("webhook-signature", " ".join(f"v1,{b64encode(each).decode()}" for each in signatures)),
    )


def _signature(delivery: Delivery, body: bytes, now: datetime) -> tuple[tuple[str, str], ...]:
    auth = delivery.subscription.auth
    if auth.get("type") != "signature":
        return ()
    try:
        return signature_headers(delivery.uuid, body, auth["signature"]["secrets"], now)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError("its auth of type signature is not complete") from error


def _signing_key(secret: str) -> bytes:
    key = decode_base64(secret.removeprefix(_SECRET_PREFIX))
    if (
        not secret.startswith(_SECRET_PREFIX)
        or not _MIN_SECRET_BYTES <= len(key) <= _MAX_SECRET_BYTES
    ):
        raise ValueError(
            f"must be {_SECRET_PREFIX} and the Base64 of "
            f"{_MIN_SECRET_BYTES} to {_MAX_SECRET_BYTES} bytes"
        )
    return key


@cache
def _user_agent() -> str:
    return f"pacifica-notifications/{version('pacifica-notifications')}"


def _retry_timeout(delivery: Delivery, now: datetime, settings: DeliverySettings) -> float | None:
    """Return the timeout of a quick retry in seconds; None for the usual timeout.

    A retry gets what is left of the horizon, so that a target that hangs does not hold up its
    subscription for another full timeout.
    """
    if delivery.failing is None:
        return None
    left = settings.horizon - (now - delivery.failing).total_seconds()
    # A retry is past the horizon if the target asked for the wait, or this service was busy.
    return max(left, settings.retry_timeout) if left >= 0 else None
