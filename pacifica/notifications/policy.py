"""Asking Pacifica Policy: the requests, and what its answers mean."""

from datetime import datetime, timedelta
from enum import Enum, auto
from urllib.parse import quote

from pacifica.notifications.answers import answered
from pacifica.notifications.flow import Delivery, Ruling, State
from pacifica.notifications.settings import Settings
from pacifica.notifications.transport import Answer, NoAnswer, Request

_JSON = (("Content-Type", "application/json"),)


class Verdict(Enum):
    """What one answer of Policy means."""

    ALLOW = auto()
    DENY = auto()
    UNKNOWN = auto()  # nothing about the user: Policy could not tell, or was not there


def verdict_request(policy_url: str, user: str, event_text: str) -> Request:
    """Return the question whether a user may see an event (in its 0.1 form)."""
    return Request(
        "POST", f"{policy_url}/events/{quote(user, safe='')}", _JSON, event_text.encode()
    )


def user_request(policy_url: str, user: str) -> Request:
    """Return the question whether Policy knows a user."""
    return Request("GET", f"{policy_url}/status/users/search/{quote(user, safe='')}/simple", _JSON)


def verdict(result: Answer | NoAnswer) -> Verdict:
    """Return what Policy's answer to `verdict_request` means.

    Its 5xx says nothing about the user: it gives one when Metadata is down, and for users that it
    does not know.
    """
    if not isinstance(result, Answer):
        return Verdict.UNKNOWN
    if 200 <= result.status < 300:
        return Verdict.ALLOW
    return Verdict.DENY if 400 <= result.status < 500 else Verdict.UNKNOWN


def is_unknown_user(result: Answer | NoAnswer) -> bool:
    """Tell whether Policy's answer to `user_request` says that there is no such user."""
    return isinstance(result, Answer) and result.status == 404


def ruling(
    deliveries: list[Delivery], result: Answer | NoAnswer, now: datetime, settings: Settings
) -> Ruling:
    """Return what becomes of one user's deliveries of one event."""
    state, due = {
        Verdict.ALLOW: (State.ALLOWED, now),
        Verdict.DENY: (State.DENIED, None),
        Verdict.UNKNOWN: (State.MATCHED, now + _wait(deliveries, settings)),
    }[verdict(result)]
    status, body = answered(result)
    return Ruling(tuple(delivery.uuid for delivery in deliveries), state, due, status, body)


def _wait(deliveries: list[Delivery], settings: Settings) -> timedelta:
    doublings = min(max(delivery.attempts for delivery in deliveries) - 1, 16)
    seconds = settings.policy_retry_first * 2**doublings
    return timedelta(seconds=min(seconds, settings.policy_retry_most))
