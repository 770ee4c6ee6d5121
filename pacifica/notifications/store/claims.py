"""Claiming rows: a worker takes what is due, and no two workers take the same."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from pacifica.notifications.orm.models import DB


def claim(
    model: Any,
    *conditions: Any,
    now: datetime,
    lease: float,
    order: Any,
    limit: int,
    also: dict[Any, Any] | None = None,
) -> Sequence[Any]:
    """Return rows that are due, whose `due` moves on by `lease` seconds in this transaction.

    Rows that another worker is claiming at this moment are skipped, not waited for. Where a claim
    ends without a result, as when its worker is killed, its rows are due again by themselves.
    """
    query = model.select().where(model.due <= now, *conditions).order_by(order).limit(limit)
    if DB.for_update:  # SQLite has no row locks: there the whole transaction is exclusive
        query = query.for_update(skip_locked=True)
    rows = list(query)
    if rows:
        changes = {model.due: now + timedelta(seconds=lease), **(also or {})}
        model.update(changes).where(model.uuid.in_([row.uuid for row in rows])).execute()
    return rows
