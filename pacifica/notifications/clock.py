"""The one clock: naive UTC, as the database and the API hold it."""

from datetime import UTC, datetime


def utcnow() -> datetime:
    """Return the moment as a naive datetime in UTC, with microseconds."""
    return datetime.now(UTC).replace(tzinfo=None)
