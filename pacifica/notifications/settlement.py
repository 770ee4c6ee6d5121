"""Whether Pacifica Metadata shows what an event tells of: what is asked, and what follows.

Metadata sends an event before it commits what the event tells of, and a rollback does not take the
event back.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from math import ceil
from typing import Any, Final
from urllib.parse import quote, urlencode

from pacifica.notifications.events import Event
from pacifica.notifications.flow import Settlement
from pacifica.notifications.settings import SettleSettings
from pacifica.notifications.transport import Request, Response, SendFailure

#: The extension of an event that went on while Metadata was away, and its value.
UNKNOWN_EXTENSION: Final = {"pacificasettled": str(Settlement.UNKNOWN)}
_PREFIX = "org.pacifica.metadata."
_INGEST, _ORM = f"{_PREFIX}ingest", f"{_PREFIX}orm"
_JSON = (("Content-Type", "application/json"),)
# How many columns a primary key may have; Metadata has at most four.
_MAX_KEYS = 10
# Less than a URL may have in all.
_MAX_PATH = 8000
_EMPTY_LIST = b"[]"


class Answer(Enum):
    """What Metadata says of an object."""

    SHOWN = auto()
    ABSENT = auto()
    NONE = auto()  # it did not answer, or with an error
    NOT_ASKED = auto()


@dataclass(frozen=True)
class Step:
    """What becomes of an event, and when Metadata is asked about it next; None: never."""

    settlement: Settlement
    due: datetime | None = None

    @property
    def goes_on(self) -> bool:
        """Whether the event is dispatched now."""
        return self.settlement in (Settlement.SETTLED, Settlement.UNKNOWN)


def is_awaited(event_type: str) -> bool:
    """Return whether events of a type are Metadata's, which are sent before they are true."""
    return event_type.startswith(_PREFIX)


def is_orm_event(event_type: str) -> bool:
    """Return whether the question about events of a type is found in their data."""
    return event_type == _ORM


def question(event_type: str, transaction: int | None, event: Event | None) -> str | None:
    """Return the path and query by which Metadata shows what an event tells of.

    None: it cannot be asked, as about what was changed or deleted. Events of the ORM need
    `event`.
    """
    if event_type == _INGEST and transaction is not None:
        return f"/transactioninfo/by_id/{transaction}"
    if event is None or not is_orm_event(event_type):
        return None
    try:
        return _object_inserted(event.document().get("data"))
    except (ValueError, RecursionError):
        return None


def _object_inserted(data: Any) -> str | None:
    """Return the query for one of the objects that were inserted, all in one transaction."""
    if not isinstance(data, dict) or data.get("method") != "insert":
        return None
    table, keys = data.get("obj_type"), data.get("obj_primary_keys")
    if not isinstance(table, str) or not table or not isinstance(keys, list) or not keys:
        return None
    key = keys[-1]
    if not isinstance(key, dict) or not 0 < len(key) <= _MAX_KEYS:
        return None
    if not all(isinstance(value, str | int) for value in key.values()):
        return None
    wanted = {"_id" if name == "id" else name: value for name, value in key.items()}
    try:
        query = urlencode({**wanted, "recursion_depth": 0})
        path = f"/{quote(table, safe='')}?{query}"
    except UnicodeEncodeError:  # a lone surrogate, which no key of a database has
        return None
    return path if len(path) < _MAX_PATH and table not in (".", "..") else None


def request(metadata_url: str, path: str) -> Request:
    """Return the request for a path of `question`."""
    return Request("GET", metadata_url + path, _JSON)


def answer_of(result: Response | SendFailure) -> Answer:
    """Return what a response of Metadata says; a list without objects shows nothing."""
    if isinstance(result, SendFailure):
        return Answer.NOT_ASKED if result.ours else Answer.NONE
    if 200 <= result.status < 300:
        return Answer.ABSENT if result.body.strip() == _EMPTY_LIST else Answer.SHOWN
    return Answer.ABSENT if result.status == 404 else Answer.NONE


def next_step(
    current: Settlement,
    answer: Answer,
    received: datetime,
    now: datetime,
    settings: SettleSettings,
) -> Step:
    """Return what becomes of an event about which Metadata was asked.

    That it was away once is no reason to go on: it must be so twice, and for a moment.
    """
    age = (now - received).total_seconds()
    is_unsettled = current is Settlement.UNSETTLED
    soon = now + timedelta(seconds=_wait(age, settings))
    if answer is Answer.SHOWN:
        return Step(Settlement.SETTLED)
    if answer is Answer.NOT_ASKED and not is_unsettled:
        return Step(current, soon)
    if answer is Answer.NONE and not is_unsettled:
        is_away = current is Settlement.UNANSWERED and age >= settings.away_after
        return Step(Settlement.UNKNOWN) if is_away else Step(Settlement.UNANSWERED, soon)
    if not is_unsettled and age < settings.max_wait:
        return Step(Settlement.SETTLING, soon)
    if is_unsettled and age >= settings.max_wait + settings.unsettled_horizon:
        return Step(Settlement.EXPIRED)
    return Step(Settlement.UNSETTLED, now + timedelta(seconds=settings.unsettled_interval))


def step_without_question(received: datetime, now: datetime, settings: SettleSettings) -> Step:
    """Return what becomes of an event about which Metadata cannot be asked: it waits a little."""
    left = settings.delay - (now - received).total_seconds()
    if left <= 0 or left > 2 * settings.delay:  # the clock was put back meanwhile
        return Step(Settlement.SETTLED)
    # In tenths, so that one statement records many of them.
    return Step(Settlement.SETTLING, now + timedelta(seconds=ceil(10 * left) / 10))


def _wait(age: float, settings: SettleSettings) -> float:
    """Return the seconds until the next question: about as many as the event is old."""
    return next((wait for wait in settings.waits if wait > age), settings.waits[-1])
