"""How a job goes through events of a period for a moment, and asks Policy about what it found.

What it may tell its user comes from events that Policy allows now. The others leave no trace: they
use up nothing that allowed ones need, and Policy is asked about some events whether they match or
not.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import perf_counter, sleep
from typing import Any, Generic, TypeVar
from uuid import UUID

from pacifica.notifications.events import Event
from pacifica.notifications.stages.visibility import Visibility
from pacifica.notifications.store.position import Position
from pacifica.notifications.store.walking import Walked

# Seconds of one slice, beside those that Policy may take.
_SLICE = 0.02
_POLICY_SECONDS = 0.2
# How many events one slice finds, and how many bytes they may have together; one may have more.
MAX_FOUND = 50
_MAX_BYTES = 4 * 2**20
# Policy is asked about one event of so many that were looked at, if fewer match.
_EVENTS_A_QUESTION = 100
_MAX_PADDING_BYTES = 64 * 2**10
_EPOCH = datetime(1970, 1, 1)

T = TypeVar("T")


@dataclass(frozen=True)
class Found(Generic[T]):
    """An event that was found, and what is known of it."""

    walked: Walked
    what: T


@dataclass(frozen=True)
class Slice(Generic[T]):
    """What a job found in a moment, oldest first; `padding` are other events to ask about.

    `looked` is how many events it looked at, the last of which is at `position`. `is_over` tells
    that there are no others.
    """

    found: Sequence[Found[T]]
    padding: Sequence[Event]
    position: Position | None
    looked: int
    is_over: bool


def walk(
    read: Callable[[Position | None], Sequence[Walked]],
    judge: Callable[[Walked], T | None],
    position: Position | None,
    max_looked: int,
) -> Slice[T]:
    """Look at events for a moment; `judge` returns what is known of one that counts.

    Raises StoreUnavailable.
    """
    ends = perf_counter() + _SLICE
    found: list[Found[T]] = []
    padding: list[Event] = []
    size = looked = 0
    while True:
        some = read(position)
        for walked in some:
            sleep(0)  # so that threads of this process that send deliveries go first
            what = judge(walked)
            looked += 1
            position = walked.position
            if what is not None:
                found.append(Found(walked, what))
                size += len(walked.event.text)
            elif (
                len(padding) <= looked // _EVENTS_A_QUESTION
                and len(walked.event.text) <= _MAX_PADDING_BYTES
            ):
                padding.append(walked.event)
            is_full = len(found) >= MAX_FOUND or size >= _MAX_BYTES or looked >= max_looked
            if is_full or perf_counter() > ends:
                is_over = looked >= max_looked and not read(position)
                return Slice(found, padding, position, looked, is_over)
        if not some:
            return Slice(found, padding, position, looked, is_over=True)


def allowed(visibility: Visibility, user: str, found: Slice[T]) -> Sequence[Found[T]]:
    """Return what a user may see now of what was found; raises PolicyUnavailable."""
    matched = [each.walked.event for each in found.found]
    questions = -(-found.looked // _EVENTS_A_QUESTION)
    asked = [*matched, *found.padding[: max(questions - len(matched), 0)]]
    may_see = visibility.allowed_soon(user, asked, _POLICY_SECONDS)
    return [each for each in found.found if each.walked.event.uuid in may_see]


def position_written(position: Position | None) -> Any:
    """Return a position as JSON."""
    if position is None:
        return None
    return [(position.created - _EPOCH) // timedelta(microseconds=1), position.uuid.hex]


def position_read(written: Any) -> Position | None:
    """Return the position that `position_written` wrote."""
    if written is None:
        return None
    microseconds, uuid = written
    return Position(_EPOCH + timedelta(microseconds=microseconds), UUID(uuid))
