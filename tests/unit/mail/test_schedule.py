"""When mails are due, also where clocks are put forward and back."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacifica.notifications.mail import next_due
from pacifica.notifications.subscriptions import Digest

BERLIN = ZoneInfo("Europe/Berlin")
SEVEN = time(7)


def due_in_berlin(moment: str, at: time = SEVEN, digest: Digest = Digest.DAILY) -> str:
    """Return when a mail is due in Berlin, for a local time that has an offset."""
    now = datetime.fromisoformat(moment).astimezone(UTC).replace(tzinfo=None)
    due = next_due(digest, now, BERLIN, at)
    return due.replace(tzinfo=UTC).astimezone(BERLIN).isoformat()


@pytest.mark.parametrize(
    ("now", "due"),
    [
        ("2026-01-31T06:59:59+01:00", "2026-01-31T07:00:00+01:00"),
        ("2026-01-31T07:00:00+01:00", "2026-02-01T07:00:00+01:00"),
        # Clocks are put forward at 2:00 on the 29th of March, and back at 3:00 on 25th of October.
        ("2026-03-28T12:00:00+01:00", "2026-03-29T07:00:00+02:00"),
        ("2026-03-29T12:00:00+02:00", "2026-03-30T07:00:00+02:00"),
        ("2026-10-24T12:00:00+02:00", "2026-10-25T07:00:00+01:00"),
    ],
)
def test_daily_mail_is_due_at_its_time_in_its_zone(now: str, due: str) -> None:
    assert due_in_berlin(now) == due


def test_daily_mail_at_a_time_that_is_left_out_comes_once_that_day() -> None:
    at = time(2, 30)
    assert due_in_berlin("2026-03-28T12:00:00+01:00", at) == "2026-03-29T03:30:00+02:00"
    assert due_in_berlin("2026-03-29T03:30:00+02:00", at) == "2026-03-30T02:30:00+02:00"


def test_daily_mail_at_a_time_that_comes_twice_comes_the_first_time_alone() -> None:
    at = time(2, 30)
    assert due_in_berlin("2026-10-24T12:00:00+02:00", at) == "2026-10-25T02:30:00+02:00"
    assert due_in_berlin("2026-10-25T02:30:00+02:00", at) == "2026-10-26T02:30:00+01:00"
    assert due_in_berlin("2026-10-25T02:15:00+01:00", at) == "2026-10-26T02:30:00+01:00"


def test_hourly_mail_is_due_at_the_full_hour_of_its_zone() -> None:
    moment = datetime(2026, 1, 31, 12, 10, 5)
    assert next_due(Digest.HOURLY, moment, BERLIN, SEVEN) == datetime(2026, 1, 31, 13)
    nepal = ZoneInfo("Asia/Kathmandu")  # 5:45 before UTC
    assert next_due(Digest.HOURLY, moment, nepal, SEVEN) == datetime(2026, 1, 31, 12, 15)
    assert next_due(Digest.EACH, moment, BERLIN, SEVEN) == moment


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2037, 1, 1)),
    st.sampled_from(["UTC", "Europe/Berlin", "America/Los_Angeles", "Australia/Lord_Howe"]),
    st.times().map(lambda each: each.replace(second=0, microsecond=0)),
    st.sampled_from([Digest.HOURLY, Digest.DAILY]),
)
def test_mail_is_due_later_and_within_its_period(
    now: datetime, zone: str, at: time, digest: Digest
) -> None:
    due = next_due(digest, now, ZoneInfo(zone), at)
    longest = timedelta(hours=1) if digest is Digest.HOURLY else timedelta(hours=26)
    assert timedelta() < due - now <= longest
