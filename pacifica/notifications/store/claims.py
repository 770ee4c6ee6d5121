"""Claiming rows: a worker takes what is due, and no two workers take the same."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from pacifica.notifications.orm.models import DB


def claim(
    model: Any,
    *conditions: Any,
    columns: Sequence[Any],
    now: datetime,
    lease: float,
    order: Any,
    limit: int,
    also: dict[Any, Any],
    fits: Callable[[Sequence[Any]], int] = len,
) -> Sequence[Any]:
    """Return rows that are due, whose `due` moves on by `lease` seconds in this transaction.

    `columns`, of which `uuid` is the first, are what is read of them before, and `also` what else
    changes. Of the rows found, the first ones are taken, as many as `fits` says.

    Rows that another worker is claiming at this moment are skipped, not waited for. Where a claim
    ends without a result, as when its worker is killed, its rows are due again by themselves.
    """
    due = model.select(*columns).where(model.due <= now, *conditions)
    query = due.order_by(order).limit(limit)
    if DB.for_update:  # SQLite has no row locks: there the whole transaction is exclusive
        query = query.for_update(skip_locked=True)
    found = list(query.tuples())
    rows = found[: fits(found)]
    if rows:
        changes = {model.due: now + timedelta(seconds=lease), **also}
        model.update(changes).where(model.uuid.in_([uuid for uuid, *_ in rows])).execute()
    return rows
