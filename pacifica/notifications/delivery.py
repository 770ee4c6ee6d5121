"""Delivering: the request that carries an event to a target, and what the answer means."""

from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from pacifica.notifications.answers import answered, shown
from pacifica.notifications.events import HOPS_HEADER, Event
from pacifica.notifications.flow import Delivery, Outcome
from pacifica.notifications.handshake import origin_headers
from pacifica.notifications.masks import without_secrets
from pacifica.notifications.recovery import jittered, next_probe
from pacifica.notifications.settings import Settings
from pacifica.notifications.signature import signature_headers
from pacifica.notifications.transport import FlowKey, Request, Response, SendFailure

# The target may recover by itself (RFC 9110, 8470 and 6585); any other 4xx and 3xx will not.
_TRANSIENT = frozenset({408, 425, 429})
# The event came back to where it was: it would do so again (RFC 5842, section 7.2).
_LOOP = 508
# What an owner may not know by heart: that a target is retired, and that it takes another form.
_MEANINGS = {410: ", gone", 415: ", the form of the event is not understood"}
#: Headers by which a target knows a delivery again, and how often it was tried.
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
        *origin_headers(settings),
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


def outcome(
    delivery: Delivery, result: Response | SendFailure, now: datetime, settings: Settings
) -> Outcome:
    """Return what a target's answer means for a delivery and its subscription.

    2xx: delivered. No connection, no answer in time, 408, 425, 429 and 5xx (but 508): again a
    little later, until `attempts` are used up or `horizon` has passed since the first failure. Then
    the subscription is disabled, to be probed on a slow schedule; a failing probe is not repeated.
    What the target asks for by Retry-After goes before the waits that are ours (HTTP webhook,
    section 2.2): one of more than `retry_after_most` disables at once.
    Any other status, and a target that the rules about networks do not permit: it is disabled, and
    its owner must act.
    """
    status, body = answered(result)
    # Some answer with the request that they got.
    body = without_secrets(body, delivery.subscription.auth)
    if isinstance(result, Response) and 200 <= result.status < 300:
        return Outcome(delivery, True, None, status, body)
    if isinstance(result, SendFailure) and result.ours:
        later = now + timedelta(seconds=max(settings.delivery_busy_wait, result.retry_in))
        return Outcome(delivery, False, later, status, body, tried=False)
    if not _is_transient(result):
        error = _error(delivery, result, now, body)
        return Outcome(delivery, False, now, status, body, error)
    asked = _asked(result, now, settings)
    again = _next_try(delivery, asked, now, settings)
    if again is not None:
        return Outcome(delivery, False, again, status, body, not_before=asked)
    error = _error(delivery, result, now, body)
    probe_due = next_probe(1, now, now, settings)
    if probe_due is not None and asked is not None:
        probe_due = max(probe_due, asked)
    return Outcome(delivery, False, now, status, body, error, probe_due, not_before=asked)


def postponed(delivery: Delivery, until: datetime) -> Outcome:
    """Return the outcome of a delivery that is not sent, as its target has asked to wait."""
    reason = "waits, as its target has asked for"
    return Outcome(delivery, False, until, "", reason, tried=False)


def _time_left(delivery: Delivery, now: datetime, settings: Settings) -> float | None:
    """Return how many seconds a quick retry may take; None for any other, and where it is late.

    Otherwise a target that hangs would keep its subscription waiting for another time-out.
    """
    if delivery.failing is None:
        return None
    left = settings.delivery_horizon - (now - delivery.failing).total_seconds()
    # Past the horizon, the target has asked for the wait, or it was ours.
    return max(left, settings.delivery_retry_timeout) if left >= 0 else None


def unusable(delivery: Delivery, reason: str, now: datetime) -> Outcome:
    """Return the outcome of a delivery whose request cannot even be made."""
    return Outcome(delivery, False, now, "", reason, f"cannot be delivered: {reason}")


def _is_transient(result: Response | SendFailure) -> bool:
    if isinstance(result, SendFailure):
        return not result.refused
    if result.status in _TRANSIENT:
        return True
    return result.status >= 500 and result.status != _LOOP


def _asked(result: Response | SendFailure, now: datetime, settings: Settings) -> datetime | None:
    """Return the moment before which a target wants no other request, if it has named one.

    It is no later than a subscription is probed at all.
    """
    seconds = retry_after(result.retry_after, now) if isinstance(result, Response) else None
    if seconds is None:
        return None
    return now + timedelta(seconds=min(seconds, settings.recovery_horizon))


def _next_try(
    delivery: Delivery, asked: datetime | None, now: datetime, settings: Settings
) -> datetime | None:
    """Return when to try again: when the target asks for it, or soon; None: no more."""
    if delivery.probe or delivery.attempts >= settings.delivery_attempts:
        return None
    if asked is not None:
        most = now + timedelta(seconds=settings.delivery_retry_after_most)
        return asked if asked <= most else None
    due = now + jittered(
        delivery.attempts, settings.delivery_retry_first, settings.delivery_retry_most
    )
    horizon = (delivery.failing or now) + timedelta(seconds=settings.delivery_horizon)
    return due if due <= horizon else None


def retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for (RFC 9110, section 10.2.3).

    None for what is neither a number of seconds nor a date.
    """
    text = (value or "").strip()
    if text.isdecimal() and text.isascii():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):  # the latter next to the first and the last year
        return None
    return max(0.0, (moment - now).total_seconds())


def _error(delivery: Delivery, result: Response | SendFailure, now: datetime, body: str) -> str:
    """Say in one line what was tried, when, how often, and what came of it."""
    tries = "1 attempt" if delivery.attempts == 1 else f"{delivery.attempts} attempts"
    answer = body
    if isinstance(result, Response):
        answer = f"status {result.status}{_MEANINGS.get(result.status, '')}: {shown(body)}"
    return (
        f"{now.isoformat(timespec='seconds')}Z: POST of event {delivery.event} to "
        f"{_place(delivery.subscription.target_url)} failed after {tries}: {answer}"
    )


def _place(url: str) -> str:
    """Return a URL without what may be secret in it: credentials and the query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "what is not a URL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
