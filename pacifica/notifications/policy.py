"""The requests to Pacifica Policy, and what its responses mean."""

import json
from datetime import datetime, timedelta
from enum import Enum, auto
from urllib.parse import quote

from pacifica.notifications.delivery import jittered_wait, next_probe, recorded_response
from pacifica.notifications.events import Event
from pacifica.notifications.flow import Delivery, Ruling, State
from pacifica.notifications.settings import PolicySettings, RecoverySettings
from pacifica.notifications.transport import Request, Response, SendFailure

_JSON = (("Content-Type", "application/json"),)


class Verdict(Enum):
    """What one response of Policy means."""

    ALLOW = auto()
    DENY = auto()
    UNKNOWN = auto()  # Policy could not decide about the user, or could not be reached


def policy_body(event: Event) -> bytes:
    """Return an event as Policy reads it: in version 0.1, or as it is if it has no version."""
    return event.message("0.1").body


def verdict_request(policy_url: str, user: str, body: bytes) -> Request:
    """Return the request that asks whether a user may see an event; `policy_body` gives `body`."""
    return Request("POST", f"{policy_url}/events/{quote(user, safe='')}", _JSON, body)


def user_request(policy_url: str, user: str) -> Request:
    """Return the request that asks whether Policy knows a user."""
    return Request("GET", f"{policy_url}/status/users/search/{quote(user, safe='')}/simple", _JSON)


def exact_user_request(policy_url: str, user: str) -> Request:
    """Return the request for the users of exactly this name, as Pacifica's uploader asks it.

    `user_request` also finds users whose name, or another field of whom, only contains it.
    """
    query = {"user": -1, "columns": ["_id"], "from": "users", "where": {"network_id": user}}
    return Request("POST", f"{policy_url}/uploader", _JSON, json.dumps(query).encode())


def verdict(result: Response | SendFailure) -> Verdict:
    """Return what Policy's response to `verdict_request` means.

    A 5xx says nothing about the user: Policy also gives it while Metadata is down, and for users
    that it does not know.
    """
    if not isinstance(result, Response):
        return Verdict.UNKNOWN
    if 200 <= result.status < 300:
        return Verdict.ALLOW
    return Verdict.DENY if 400 <= result.status < 500 else Verdict.UNKNOWN


def own_verdict(event: Event, user: str) -> Response | None:
    """Return what stands for Policy's response about an event of this service's own.

    Its owner alone may see it. None: Policy is to be asked.
    """
    if event.owner is None:
        return None
    is_owner = event.owner == user
    body = b"an event about a subscription of this user" if is_owner else b"of another user"
    return Response(200 if is_owner else 403, body, False, None, 0.0)


def is_unknown_user(result: Response | SendFailure) -> bool:
    """Tell whether Policy's response to `user_request` says that there is no such user."""
    return isinstance(result, Response) and result.status == 404


def found_users(result: Response | SendFailure) -> bool:
    """Tell whether Policy's response to `user_request` says that it found somebody."""
    return isinstance(result, Response) and 200 <= result.status < 300


def found_nobody(result: Response | SendFailure) -> bool:
    """Tell whether Policy's response to `exact_user_request` says that there is no such user."""
    return (
        isinstance(result, Response) and 200 <= result.status < 300 and result.body.strip() == b"[]"
    )


def ruling(
    deliveries: list[Delivery],
    result: Response | SendFailure,
    now: datetime,
    settings: PolicySettings,
    recovery: RecoverySettings,
) -> Ruling:
    """Return what becomes of the deliveries of one event to one user.

    Without a verdict, Policy is asked again until `[policy] horizon` has passed since the first
    failure. Then the deliveries are held.
    """
    status, body = recorded_response(result)
    match verdict(result):
        case Verdict.ALLOW:
            return Ruling(tuple(deliveries), State.ALLOWED, now, status, body)
        case Verdict.DENY:
            return Ruling(tuple(deliveries), State.DENIED, None, status, body)
    failing = min(delivery.failing or now for delivery in deliveries)
    if now - failing < timedelta(seconds=settings.horizon):
        attempts = max(delivery.attempts for delivery in deliveries)
        due = now + jittered_wait(attempts, settings.retry_first, settings.retry_max)
        return Ruling(tuple(deliveries), State.MATCHED, due, status, body)
    probe_due = next_probe(1, now, None, recovery)
    return Ruling(tuple(deliveries), State.HELD, None, status, body, probe_due)
