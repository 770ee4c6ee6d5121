"""Places in lists that are ordered by time and then by id, so that a page begins at any of them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

_EPOCH = datetime(1970, 1, 1)
# The first of these after the last row that was looked at is where the next page begins.
_UNITS = tuple(timedelta(seconds=each) for each in (3600, 60, 1, 0.001))


@dataclass(frozen=True, order=True)
class Position:
    """The place of a row in a list: its time, and its id among those of the same time."""

    created: datetime
    uuid: UUID


def newest_first(
    query: Any,
    moment: Any,
    uuid: Any,
    after: Position | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> Any:
    """Order a query by time, newest first, from a position on, within a period.

    `start` is included and `end` is not.
    """
    if after is not None:
        # The first condition is for the index; databases do not all see it in the second one.
        query = query.where(moment <= after.created, (moment < after.created) | (uuid < after.uuid))
    if start is not None:
        query = query.where(moment >= start)
    if end is not None:
        query = query.where(moment < end)
    return query.order_by(moment.desc(), uuid.desc())


def concealed(last: Position, newest: Position) -> Position:
    """Return the first full hour, minute, second or millisecond after `last` and before `newest`.

    If there is none, `last` itself.
    """
    for unit in _UNITS:
        full = _EPOCH + ((last.created - _EPOCH) // unit + 1) * unit
        if full < newest.created:
            return Position(full, UUID(int=0))
    return last
