"""The current time in naive UTC, as in the database and the API."""

from datetime import UTC, datetime


def utcnow() -> datetime:
    """Return the current time as a naive datetime in UTC, with microseconds."""
    return datetime.now(UTC).replace(tzinfo=None)
