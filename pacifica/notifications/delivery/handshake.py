"""Asks a target whether it agrees to be sent events (CloudEvents HTTP webhook 1.0.2, section 4)."""

import socket
from functools import cache

from pacifica.notifications.settings import DeliverySettings
from pacifica.notifications.transport import Request, Response, SendFailure

_REQUEST_ORIGIN = "WebHook-Request-Origin"
_ALLOWED_ORIGIN = "WebHook-Allowed-Origin"
_ANY_ORIGIN = "*"


def origin(settings: DeliverySettings) -> str:
    """Return the DNS name of this service: as configured, or else the name of this machine."""
    return settings.origin or _machine_name()


def origin_headers(settings: DeliverySettings) -> tuple[tuple[str, str], ...]:
    """Return the headers that section 4.1.2 demands of each delivery after a handshake."""
    return ((_REQUEST_ORIGIN, origin(settings)),) if settings.handshake else ()


def permission_request(
    url: str, authorization: tuple[tuple[str, str], ...], sender: str
) -> Request:
    """Return the request that asks a target for its permission; raises ValueError.

    `sender` is the `origin` of this service. The request asks neither for a rate nor for a later
    response by a callback.
    """
    return Request("OPTIONS", url, ((_REQUEST_ORIGIN, sender), *authorization))


def objection(result: Response | SendFailure, sender: str) -> str | None:
    """Say why a result is not a permission, or return None if it is.

    The text repeats nothing that the target sent, except for the status.
    """
    if isinstance(result, SendFailure):
        return result.reason
    if not 200 <= result.status < 300:
        return f"it answered {result.status}"
    if result.allowed_origin is None:
        return f"its answer has no {_ALLOWED_ORIGIN}"
    if result.allowed_origin.lower() not in (_ANY_ORIGIN, sender.lower()):
        return f"its {_ALLOWED_ORIGIN} is neither {sender} nor {_ANY_ORIGIN}"
    return None


@cache
def _machine_name() -> str:
    return socket.getfqdn()
