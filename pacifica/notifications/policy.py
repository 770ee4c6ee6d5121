"""Asking Pacifica Policy: the requests, and what its answers mean."""

from datetime import datetime, timedelta
from enum import Enum, auto
from urllib.parse import quote

from pacifica.notifications.delivery.answers import answered
from pacifica.notifications.delivery.retries import jittered, next_probe
from pacifica.notifications.events import Event
from pacifica.notifications.flow import Delivery, Ruling, State
from pacifica.notifications.settings import Settings
from pacifica.notifications.transport import Request, Response, SendFailure

_JSON = (("Content-Type", "application/json"),)


class Verdict(Enum):
    """What one answer of Policy means."""

    ALLOW = auto()
    DENY = auto()
    UNKNOWN = auto()  # nothing about the user: Policy could not tell, or was not there


def policy_body(event: Event) -> bytes:
    """Return an event as Policy reads it: in its 0.1 form, or as it is without a version."""
    return event.message("0.1").body


def verdict_request(policy_url: str, user: str, event: bytes) -> Request:
    """Return the question whether a user may see an event, given by `policy_body`."""
    return Request("POST", f"{policy_url}/events/{quote(user, safe='')}", _JSON, event)


def user_request(policy_url: str, user: str) -> Request:
    """Return the question whether Policy knows a user."""
    return Request("GET", f"{policy_url}/status/users/search/{quote(user, safe='')}/simple", _JSON)


def verdict(result: Response | SendFailure) -> Verdict:
    """Return what Policy's answer to `verdict_request` means.

    Its 5xx says nothing about the user: it gives one when Metadata is down, and for users that it
    does not know.
    """
    if not isinstance(result, Response):
        return Verdict.UNKNOWN
    if 200 <= result.status < 300:
        return Verdict.ALLOW
    return Verdict.DENY if 400 <= result.status < 500 else Verdict.UNKNOWN


def is_unknown_user(result: Response | SendFailure) -> bool:
    """Tell whether Policy's answer to `user_request` says that there is no such user."""
    return isinstance(result, Response) and result.status == 404


def ruling(
    deliveries: list[Delivery], result: Response | SendFailure, now: datetime, settings: Settings
) -> Ruling:
    """Return what becomes of one user's deliveries of one event.

    Without a verdict Policy is asked again, until `[policy] horizon`; then they are held.
    """
    status, body = answered(result)
    given = verdict(result)
    if given is Verdict.ALLOW:
        return Ruling(tuple(deliveries), State.ALLOWED, now, status, body)
    if given is Verdict.DENY:
        return Ruling(tuple(deliveries), State.DENIED, None, status, body)
    failing = min(delivery.failing or now for delivery in deliveries)
    if now - failing < timedelta(seconds=settings.policy.horizon):
        wait = jittered(
            max(delivery.attempts for delivery in deliveries),
            settings.policy.retry_first,
            settings.policy.retry_max,
        )
        return Ruling(tuple(deliveries), State.MATCHED, now + wait, status, body)
    probe_due = next_probe(1, now, None, settings.recovery)
    return Ruling(tuple(deliveries), State.HELD, None, status, body, probe_due)
