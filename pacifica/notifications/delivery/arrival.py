"""What an event tells a person, on one line: what arrived, of whom, and how much of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pacifica.notifications.delivery.outcome import single_line
from pacifica.notifications.events import Event

# Characters of one name or number, and of the whole line.
_MAX_NAME = 80
MAX_HEADLINE: Final = 300
_UNITS = ("kB", "MB", "GB", "TB", "PB")
_FIELDS = {
    "Transactions._id": "transaction",
    "Transactions.project": "project",
    "Transactions.instrument": "instrument",
}
# So many records of an event are looked at; Metadata sends one for each file.
_MAX_RECORDS = 100_000
# What surrounds a name with letters that are written from right to left (Unicode 15, UAX 9), so
# that they do not turn round what stands beside it.
_ISOLATE, _POP = "\u2068", "\u2069"


@dataclass(frozen=True)
class Arrival:
    """What an event says has arrived; None for what it does not say.

    `headline` is one printable line that holds no control characters. `size` is in bytes.
    """

    headline: str
    transaction: int | None = None
    files: int = 0
    size: int = 0


def arrival(event: Event) -> Arrival:
    """Return what an event tells a person, whatever its form."""
    try:
        document = event.document()
    except (ValueError, RecursionError):  # older versions cut large events on MySQL
        return Arrival("An event that cannot be read")
    data = document.get("data")
    if isinstance(data, list):
        found = _ingest(data)
        if found is not None:
            return found
    named = document.get("type", document.get("eventType"))
    kind = name_of(named) or "An event"
    about = name_of(document.get("subject")) or name_of(document.get("id", document.get("eventID")))
    source = name_of(document.get("source"))
    line = kind + (f" from {source}" if source else "") + (f": {about}" if about else "")
    return Arrival(line[:MAX_HEADLINE])


def name_of(value: Any) -> str:
    """Return a name or number of an event as a bounded, printable text; empty for others."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    text = single_line(str(value)[: 4 * _MAX_NAME])
    text = text if len(text) <= _MAX_NAME else f"{text[: _MAX_NAME - 1]}…"
    return f"{_ISOLATE}{text}{_POP}" if any(_is_right_to_left(each) for each in text) else text


def size_words(size: int) -> str:
    """Return a number of bytes such as `640 bytes`, `1.5 kB` or `2.0 TB`."""
    if size < 1000:
        return "1 byte" if size == 1 else f"{size} bytes"
    amount, unit = float(size), ""
    for unit in _UNITS:  # noqa: B007 the last one stays
        amount /= 1000
        if amount < 999.95:
            break
    return f"{amount:.1f} {unit}"


def _ingest(records: list[Any]) -> Arrival | None:
    """Return what an ingest of Pacifica Metadata reports; None if the records are no ingest."""
    said: dict[str, Any] = {}
    files = size = 0
    for record in records[:_MAX_RECORDS]:
        if not isinstance(record, Mapping):
            continue
        table = record.get("destinationTable")
        if table == "Files":
            files += 1
            size += _bytes(record.get("size"))
        elif isinstance(table, str) and table in _FIELDS:
            said.setdefault(_FIELDS[table], record.get("value"))
    number = said.get("transaction")
    if isinstance(number, bool) or not isinstance(number, int):
        return None
    project, instrument = name_of(said.get("project")), name_of(said.get("instrument"))
    line = (
        f"Transaction {name_of(number)}"
        + (f" of project {project}" if project else "")
        + (f" on instrument {instrument}" if instrument else "")
        + f": {'1 file' if files == 1 else f'{files} files'}, {size_words(size)}"
    )
    return Arrival(line[:MAX_HEADLINE], number, files, size)


def _bytes(value: Any) -> int:
    """Return a size; Metadata sends some as text."""
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        value = int(value[:19])
    return max(value, 0) if isinstance(value, int) and not isinstance(value, bool) else 0


def _is_right_to_left(character: str) -> bool:
    """Tell whether a character is of the blocks that are written from right to left."""
    return (
        "\u0590" <= character <= "\u08ff"
        or "\ufb1d" <= character <= "\ufefc"
        or ("\U00010800" <= character <= "\U00010fff" or "\U0001e800" <= character <= "\U0001efff")
    )
