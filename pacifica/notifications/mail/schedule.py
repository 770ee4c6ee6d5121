"""When the next mail of a subscription is due."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from pacifica.notifications.subscriptions import Digest

_HOUR = 3600


def next_due(digest: Digest, now: datetime, zone: ZoneInfo, daily_at: time) -> datetime:
    """Return when what is collected now is mailed; both times are naive UTC.

    An hourly mail comes at the next full hour of the zone, and a daily one when its clocks show
    `daily_at`. Where they are put forward past it, that is as long after midnight as on other days;
    where they show it twice, the first time.
    """
    if digest is Digest.EACH:
        return now
    local = now.replace(tzinfo=UTC).astimezone(zone)
    if digest is Digest.HOURLY:
        past = local.minute * 60 + local.second + local.microsecond / 1_000_000
        return now + timedelta(seconds=_HOUR - past)
    day = local.date()
    while True:
        due = datetime.combine(day, daily_at, zone).astimezone(UTC).replace(tzinfo=None)
        if due > now:
            return due
        day += timedelta(days=1)
