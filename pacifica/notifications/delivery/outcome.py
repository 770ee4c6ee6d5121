"""Delivering: the request that carries an event to a target, and what the answer means."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from pacifica.notifications.delivery.answers import answered, shown
from pacifica.notifications.delivery.retries import jittered, next_probe
from pacifica.notifications.flow import Delivery, Outcome
from pacifica.notifications.settings import Settings
from pacifica.notifications.subscriptions.masking import without_secrets
from pacifica.notifications.transport import Response, SendFailure

# The target may recover by itself (RFC 9110, 8470 and 6585); any other 4xx and 3xx will not.
_TRANSIENT = frozenset({408, 425, 429})
# The event came back to where it was: it would do so again (RFC 5842, section 7.2).
_LOOP = 508
# What an owner may not know by heart: that a target is retired, and that it takes another form.
_MEANINGS = {410: ", gone", 415: ", the form of the event is not understood"}


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
        later = now + timedelta(seconds=max(settings.delivery.busy_wait, result.retry_in))
        return Outcome(delivery, False, later, status, body, tried=False)
    if not _is_transient(result):
        error = _error(delivery, result, now, body)
        return Outcome(delivery, False, now, status, body, error)
    asked = _asked(result, now, settings)
    again = _next_try(delivery, asked, now, settings)
    if again is not None:
        return Outcome(delivery, False, again, status, body, not_before=asked)
    error = _error(delivery, result, now, body)
    probe_due = next_probe(1, now, now, settings.recovery)
    if probe_due is not None and asked is not None:
        probe_due = max(probe_due, asked)
    return Outcome(delivery, False, now, status, body, error, probe_due, not_before=asked)


def postponed(delivery: Delivery, until: datetime) -> Outcome:
    """Return the outcome of a delivery that is not sent, as its target has asked to wait."""
    reason = "waits, as its target has asked for"
    return Outcome(delivery, False, until, "", reason, tried=False)


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
    return now + timedelta(seconds=min(seconds, settings.recovery.horizon))


def _next_try(
    delivery: Delivery, asked: datetime | None, now: datetime, settings: Settings
) -> datetime | None:
    """Return when to try again: when the target asks for it, or soon; None: no more."""
    if delivery.probe or delivery.attempts >= settings.delivery.attempts:
        return None
    if asked is not None:
        most = now + timedelta(seconds=settings.delivery.max_retry_after)
        return asked if asked <= most else None
    due = now + jittered(
        delivery.attempts, settings.delivery.retry_first, settings.delivery.retry_max
    )
    horizon = (delivery.failing or now) + timedelta(seconds=settings.delivery.horizon)
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
