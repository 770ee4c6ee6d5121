"""Places in lists that are ordered by time and then by id, so that a page begins at any of them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID


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
