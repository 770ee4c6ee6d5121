"""What an event says of itself, short enough for lists and indexes."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

#: How many characters of an attribute are kept.
MAX_LENGTH: Final = 255
_MAX_TIME_LENGTH = 64
# Metadata writes the transaction of an ingest first; others may write more before it.
_RECORDS_SEARCHED = 100
_TRANSACTION = "Transactions._id"
_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class EventSummary:
    """The beginnings of an event's attributes; empty where it has none.

    `transaction` is the transaction that an ingest of Pacifica Metadata reports.
    """

    type: str = ""
    source: str = ""
    id: str = ""
    time: str = ""
    transaction: int | None = None


def summary(document: Mapping[str, Any]) -> EventSummary:
    """Return the summary of an event in any version of CloudEvents, or of any other object."""
    return EventSummary(
        _text(document.get("type", document.get("eventType"))),
        _text(document.get("source")),
        _text(document.get("id", document.get("eventID"))),
        _text(document.get("time", document.get("eventTime")))[:_MAX_TIME_LENGTH],
        _transaction(document.get("data")),
    )


def _text(value: Any) -> str:
    """Return the beginning of a text as databases store it, without NUL and lone surrogates."""
    if not isinstance(value, str):
        return ""
    start = value[:MAX_LENGTH].replace("\0", "\ufffd")
    return start if start.isascii() else start.encode("utf-8", "replace").decode()


def _transaction(data: Any) -> int | None:
    if not isinstance(data, list):
        return None
    for record in islice(data, _RECORDS_SEARCHED):
        if isinstance(record, dict) and record.get("destinationTable") == _TRANSACTION:
            value = record.get("value")
            if isinstance(value, int) and not isinstance(value, bool):
                return value if 0 <= value <= _LARGEST else None
            return None
    return None
