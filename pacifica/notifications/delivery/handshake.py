"""A target's agreement to be sent events (CloudEvents HTTP webhook 1.0.2, section 4)."""

import socket
from functools import cache

from pacifica.notifications.settings.workers import DeliverySettings
from pacifica.notifications.transport import Request, Response, SendFailure

_REQUEST_ORIGIN = "WebHook-Request-Origin"
_ALLOWED_ORIGIN = "WebHook-Allowed-Origin"
_ANYBODY = "*"


def origin(settings: DeliverySettings) -> str:
    """Return as whom this service asks: a DNS name, this machine's where none is configured."""
    return settings.origin or _own_name()


def origin_headers(settings: DeliverySettings) -> tuple[tuple[str, str], ...]:
    """Return what each delivery carries where targets were asked; section 4.1.2 demands it."""
    return ((_REQUEST_ORIGIN, origin(settings)),) if settings.handshake else ()


def question(url: str, authorization: tuple[tuple[str, str], ...], asker: str) -> Request:
    """Return the request by which a target is asked; raises ValueError for an unusable one.

    No rate is asked for, and no later answer by a callback.
    """
    return Request("OPTIONS", url, ((_REQUEST_ORIGIN, asker), *authorization))


def objection(result: Response | SendFailure, asker: str) -> str | None:
    """Return why an answer is no agreement, without anything that it says; None where it is one."""
    if isinstance(result, SendFailure):
        return result.reason
    if not 200 <= result.status < 300:
        return f"it answered {result.status}"
    if result.allowed_origin is None:
        return f"its answer has no {_ALLOWED_ORIGIN}"
    if result.allowed_origin.lower() not in (_ANYBODY, asker.lower()):
        return f"its {_ALLOWED_ORIGIN} is neither {asker} nor {_ANYBODY}"
    return None


@cache
def _own_name() -> str:
    return socket.getfqdn()
