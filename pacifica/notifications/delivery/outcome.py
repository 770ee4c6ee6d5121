"""What a target's response means for a delivery and its subscription."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from pacifica.notifications.delivery.redaction import may_repeat_credentials
from pacifica.notifications.delivery.retries import (
    jittered_wait,
    next_probe,
    retry_after_seconds,
)
from pacifica.notifications.flow import Delivery, Outcome
from pacifica.notifications.settings import DeliverySettings, RecoverySettings
from pacifica.notifications.subscriptions import Channel, mailbox
from pacifica.notifications.transport import Response, SendFailure

# After these a target may recover by itself (RFC 9110, 8470 and 6585), but not after another 4xx.
_TRANSIENT = frozenset({408, 425, 429})
#: The member of a 508 of `/receive` that tells that the delivery is one of that service.
OWN_DELIVERY: Final = "own_delivery"
# The event came back to a service that it came through, and would again (RFC 5842, section 7.2).
_LOOP_DETECTED = 508
# What the owner of a subscription may not know of a status.
_EXPLANATIONS = {410: ", gone", 415: ", the form of the event is not understood"}
_MAX_LINE_LENGTH = 500


def outcome(
    delivery: Delivery,
    result: Response | SendFailure,
    now: datetime,
    settings: DeliverySettings,
    recovery: RecoverySettings,
) -> Outcome:
    """Return what the result of an attempt means for a delivery and its subscription.

    - 2xx: the event is delivered.
    - No connection, no response in time, 408, 425, 429, and 5xx except 508: the delivery is tried
      again, up to `attempts` times and until `horizon` has passed since the first failure. Then
      the subscription is disabled and probed on a slow schedule; a probe is not tried again. A
      Retry-After header of the target overrides our own waits (HTTP webhook, section 2.2); one
      that asks for more than `max_retry_after` disables the subscription at once.
    - 508: the event came through too many services. The delivery is given up, and the subscription
      stays as it is: any sender can say how many services an event came through. Where the target
      is a service's `/receive` that knows the delivery as its own, the subscription is a loop by
      itself, and is disabled.
    - Of a mail server, 4yz is as a 503 is here, and 5yz as a 404: SMTP counts the other way round.
    - Any other status, and a target that the network rules do not permit: the subscription is
      disabled, and its owner must act.

    Where the subscription has credentials, the body is kept only if it cannot repeat them.
    """
    status, body = recorded_response(result)
    if isinstance(result, Response) and may_repeat_credentials(result, delivery.subscription):
        size = f"{'more than ' if result.truncated else ''}{len(result.body)} bytes"
        body = f"(a response of {size} is not kept: it could repeat the credentials)"
    if isinstance(result, Response) and 200 <= result.status < 300:
        return Outcome(delivery, True, None, status, body)
    if isinstance(result, SendFailure) and result.ours:
        wait = max(settings.busy_wait, result.retry_in)
        later = now + timedelta(seconds=wait)
        return Outcome(without_wait(delivery, wait), False, later, status, body, tried=False)
    is_mail = delivery.subscription.channel is Channel.MAIL
    if (
        isinstance(result, Response)
        and result.status == _LOOP_DETECTED
        and not (is_mail or _is_loop(result))
    ):
        return Outcome(delivery, False, None, status, body, given_up=True)
    if not (_is_deferred(result) if is_mail else _is_transient(result)):
        error = _error(delivery, result, now, body)
        return Outcome(delivery, False, now, status, body, error)
    not_before = _not_before(result, now, recovery.horizon)
    next_try = _next_try(delivery, not_before, now, settings)
    if next_try is not None:
        return Outcome(delivery, False, next_try, status, body, not_before=not_before)
    error = _error(delivery, result, now, body)
    probe_due = next_probe(1, now, now, recovery)
    if probe_due is not None and not_before is not None:
        probe_due = max(probe_due, not_before)
    return Outcome(delivery, False, now, status, body, error, probe_due, not_before=not_before)


def without_wait(delivery: Delivery, seconds: float) -> Delivery:
    """Return a delivery whose horizon does not count a time for which it waited in this service."""
    if delivery.failing is None:
        return delivery
    return replace(delivery, failing=delivery.failing + timedelta(seconds=max(seconds, 0.0)))


def postponed(delivery: Delivery, until: datetime) -> Outcome:
    """Return the outcome of a delivery that is not sent because its target asked for a wait."""
    reason = "waits, as its target has asked for"
    return Outcome(delivery, False, until, "", reason, tried=False)


def unsendable(delivery: Delivery, reason: str, now: datetime) -> Outcome:
    """Return the outcome of a delivery for which no request can be built."""
    return Outcome(delivery, False, now, "", reason, f"cannot be delivered: {reason}")


def given_up(delivery: Delivery, reason: str) -> Outcome:
    """Return the outcome of a delivery that its event, and not its subscription, makes impossible.

    That is true of this event alone, which its sender chose.
    """
    return Outcome(delivery, False, None, "", f"cannot be delivered: {reason}", given_up=True)


def recorded_response(result: Response | SendFailure) -> tuple[str, str]:
    """Return the status and the body to record; without a response, "" and the reason.

    A NUL, which PostgreSQL cannot store, and bytes that are not UTF-8 become U+FFFD.
    """
    if isinstance(result, SendFailure):
        return "", result.reason
    return str(result.status), result.body.decode("utf-8", "replace").replace("\0", "\ufffd")


def single_line(text: str) -> str:
    """Return the beginning of a text on one line, in printable characters only."""
    line = "".join(c if c.isprintable() else " " for c in text[: 4 * _MAX_LINE_LENGTH])
    return " ".join(line.split())[:_MAX_LINE_LENGTH]


def _is_loop(result: Response) -> bool:
    """Tell whether a 508 says that the delivery is one of the service that it was sent to."""
    try:
        document = json.loads(result.body)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and document.get(OWN_DELIVERY) is True


def _is_deferred(result: Response | SendFailure) -> bool:
    """Tell whether a mail server may take a mail later (RFC 5321, section 4.2.1)."""
    return isinstance(result, SendFailure) or result.status < 500


def _is_transient(result: Response | SendFailure) -> bool:
    if isinstance(result, SendFailure):
        return not result.refused
    if result.status in _TRANSIENT:
        return True
    return result.status >= 500 and result.status != _LOOP_DETECTED


def _not_before(
    result: Response | SendFailure, now: datetime, max_seconds: float
) -> datetime | None:
    """Return until when a target asks for no other request, but no more than `max_seconds`."""
    if isinstance(result, SendFailure):
        return None
    seconds = retry_after_seconds(result.retry_after, now)
    if seconds is None:
        return None
    return now + timedelta(seconds=min(seconds, max_seconds))


def _next_try(
    delivery: Delivery, not_before: datetime | None, now: datetime, settings: DeliverySettings
) -> datetime | None:
    """Return when to try a delivery again; None if its attempts or its time are used up."""
    if delivery.probe or delivery.attempts >= settings.attempts:
        return None
    if not_before is not None:
        latest = now + timedelta(seconds=settings.max_retry_after)
        return not_before if not_before <= latest else None
    due = now + jittered_wait(delivery.attempts, settings.retry_first, settings.retry_max)
    horizon = (delivery.failing or now) + timedelta(seconds=settings.horizon)
    return due if due <= horizon else None


def _error(delivery: Delivery, result: Response | SendFailure, now: datetime, body: str) -> str:
    """Say on one line what was tried, when, how often, and with which result."""
    attempts = "1 attempt" if delivery.attempts == 1 else f"{delivery.attempts} attempts"
    problem = body
    if delivery.subscription.channel is Channel.MAIL:
        return (
            f"{now.isoformat(timespec='seconds')}Z: mail to "
            f"{mailbox(delivery.subscription.target_url)} about event {delivery.event} failed "
            f"after {attempts}: {single_line(problem)}"
        )
    if isinstance(result, Response):
        explanation = _EXPLANATIONS.get(result.status, "")
        problem = f"status {result.status}{explanation}: {single_line(body)}"
    return (
        f"{now.isoformat(timespec='seconds')}Z: POST of event {delivery.event} to "
        f"{_public_url(delivery.subscription.target_url)} failed after {attempts}: {problem}"
    )


def _public_url(url: str) -> str:
    """Return a URL without its credentials and its query, which may be secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an invalid URL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
