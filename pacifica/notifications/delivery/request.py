"""The request that carries an event to a target, in the form that its subscription asks for."""

from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib.metadata import version
from typing import Any

from pacifica.notifications.delivery.handshake import origin_headers
from pacifica.notifications.delivery.signature import signature_headers
from pacifica.notifications.events import HOPS_HEADER, Event
from pacifica.notifications.flow import Delivery
from pacifica.notifications.settings import Settings
from pacifica.notifications.transport import FlowKey, Request

#: Headers by which a target recognises a delivery that it got before, and counts its attempts.
DELIVERY_HEADER = "Pacifica-Notifications-Delivery"
ATTEMPT_HEADER = "Pacifica-Notifications-Attempt"


def delivery_request(
    delivery: Delivery, event: Event, now: datetime, settings: Settings
) -> Request:
    """Return the request of a delivery, in the form that its subscription wants.

    Raises ValueError for a target that cannot be used, and for extensions and auth that the
    event's form does not allow.
    """
    subscription = delivery.subscription
    message = event.message(subscription.specversion, subscription.mode, subscription.extensions)
    headers = (
        *message.headers,
        ("User-Agent", _user_agent()),
        (DELIVERY_HEADER, str(delivery.uuid)),
        (ATTEMPT_HEADER, str(delivery.attempts)),
        (HOPS_HEADER, str(event.hops + 1)),
        *origin_headers(settings.delivery),
        *authorization(subscription.auth),
        *_signature(delivery, message.body, now),
    )
    timeout = _time_left(delivery, now, settings)
    target = subscription.target_url
    # A subscription whose target is changed starts anew, with nothing known of it.
    flow = FlowKey(subscription.user, (subscription.uuid, target))
    return Request("POST", target, headers, message.body, timeout, flow)


def authorization(auth: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return a subscription's `auth` as headers; none where it asks for none, or for signatures.

    Raises ValueError for one that lacks what its type needs, as the API once let pass.
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


def _signature(delivery: Delivery, body: bytes, now: datetime) -> tuple[tuple[str, str], ...]:
    auth = delivery.subscription.auth
    if auth.get("type") != "signature":
        return ()
    try:
        return signature_headers(delivery.uuid, body, auth["signature"]["secrets"], now)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError("its auth of type signature is not complete") from error


@cache
def _user_agent() -> str:
    return f"pacifica-notifications/{version('pacifica-notifications')}"


def _time_left(delivery: Delivery, now: datetime, settings: Settings) -> float | None:
    """Return how many seconds a quick retry may take; None for any other, and where it is late.

    Otherwise a target that hangs would keep its subscription waiting for another time-out.
    """
    if delivery.failing is None:
        return None
    left = settings.delivery.horizon - (now - delivery.failing).total_seconds()
    # Past the horizon, the target has asked for the wait, or it was ours.
    return max(left, settings.delivery.retry_timeout) if left >= 0 else None
