"""Row locks: whoever takes several takes them in one order, so that no two wait for each other.

PostgreSQL finds a deadlock only after a second. Until then, everybody waits who needs a row of
either transaction.
"""

from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

import peewee

from pacifica.notifications.flow import State
from pacifica.notifications.orm import DB, EventLogMatch


def locking(query: Any, *, skip_locked: bool = False) -> Any:
    """Return a query that locks the rows it finds until the end of the transaction.

    The caller changes no key and deletes no row. So on PostgreSQL, rows that refer to a locked row
    are inserted meanwhile. SQLite has no row locks: there a whole transaction is exclusive.
    """
    if not DB.for_update:
        return query
    on_postgresql = isinstance(DB.bound(), peewee.PostgresqlDatabase)
    strength = "FOR NO KEY UPDATE" if on_postgresql else "FOR UPDATE"
    return query.for_update(strength, skip_locked=skip_locked)


def one_of(column: Any, uuids: Collection[UUID]) -> Any:
    """Return the condition that a column has one of the ids.

    PostgreSQL takes them as one array: peewee needs longer for a list than the database does.
    """
    if not isinstance(DB.bound(), peewee.PostgresqlDatabase):
        return column.in_(list(uuids))
    array = peewee.Value([uuid.hex for uuid in uuids], converter=False, unpack=False)
    return column == peewee.fn.ANY(array.cast("uuid[]"))


def lock_deliveries(uuids: Iterable[UUID]) -> dict[UUID, State]:
    """Lock deliveries in the order of their ids; return their states, which nobody else changes.

    A transaction calls this once, before it changes several deliveries and after it has locked
    their subscriptions.
    """
    wanted = list(uuids)
    if not wanted:
        return {}
    query = EventLogMatch.select(EventLogMatch.uuid, EventLogMatch.state)
    query = query.where(one_of(EventLogMatch.uuid, wanted)).order_by(EventLogMatch.uuid)
    return {uuid: State(state) for uuid, state in locking(query).tuples()}
