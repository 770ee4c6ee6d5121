"""When to try again: quickly after a failure, slowly what an outage disabled."""

import random
from datetime import datetime, timedelta

from pacifica.notifications.settings.workers import RecoverySettings


def jittered(failures: int, first: float, most: float) -> timedelta:
    """Return the wait after so many failures: any time up to a bound that doubles with each.

    `first` and `most` (seconds) are the first and the largest bound. What failed together is not
    tried again together ("full jitter", M. Brooker, Exponential Backoff And Jitter, 2015).
    """
    bound = min(first * 2 ** min(failures - 1, 32), most)
    return timedelta(seconds=random.uniform(0, bound))  # noqa: S311 spreads load, hides nothing


def next_probe(
    number: int, now: datetime, disabled: datetime | None, settings: RecoverySettings
) -> datetime | None:
    """Return when the probe of that number (the first is 1) is due; None: its owner must act.

    `disabled` is when the subscription was; one that waits for Policy alone is enabled, and probed
    for as long as anything is held for it.
    """
    waits = settings.waits
    due = now + timedelta(seconds=waits[min(number, len(waits)) - 1])
    gives_up = disabled is not None and due > disabled + timedelta(seconds=settings.horizon)
    return None if gives_up else due
