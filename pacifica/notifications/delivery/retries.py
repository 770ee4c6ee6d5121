"""When to try again: soon after a failure, and slowly what an outage has disabled."""

import random
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from pacifica.notifications.settings import RecoverySettings


def jittered_wait(failures: int, first: float, max_wait: float) -> timedelta:
    """Return a random wait below a bound that doubles with each failure.

    The bound is `first` after one failure, and at most `max_wait` (both in seconds). Because waits
    are random, deliveries that failed together are not tried again together ("full jitter", M.
    Brooker, Exponential Backoff And Jitter, 2015).
    """
    bound = min(first * 2 ** min(failures - 1, 32), max_wait)
    return timedelta(seconds=random.uniform(0, bound))  # noqa: S311 spreads load, hides nothing


def next_probe(
    number: int, now: datetime, disabled: datetime | None, settings: RecoverySettings
) -> datetime | None:
    """Return when a probe is due; None if its owner must enable the subscription.

    `number` counts from 1. `disabled` is when the subscription was disabled. A subscription that
    only waits for Policy is enabled, and is probed for as long as any of its deliveries is held.
    """
    waits = settings.waits
    due = now + timedelta(seconds=waits[min(number, len(waits)) - 1])
    gives_up = disabled is not None and due > disabled + timedelta(seconds=settings.horizon)
    return None if gives_up else due


def retry_after_seconds(value: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for (RFC 9110, section 10.2.3).

    Returns None for a value that is neither a number of seconds nor a date.
    """
    text = (value or "").strip()
    if text.isdecimal() and text.isascii():
        return float(text[:9])
    try:
        date = parsedate_to_datetime(text)
        if date.tzinfo:
            date = date.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):  # OverflowError: a date near year 1 or 9999
        return None
    return max(0.0, (date - now).total_seconds())
