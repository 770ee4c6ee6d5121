"""The audit log: who did what, and what operators looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pacifica.notifications.jsontext import write_json
from pacifica.notifications.orm import AuditEntry, reading, writing
from pacifica.notifications.store.position import Position, newest_first

# How many entries one transaction deletes.
_ROWS = 1000


@dataclass(frozen=True)
class Audited:
    """An entry of the audit log: `actor` did `action` to the subscription of `owner`."""

    uuid: UUID
    moment: datetime
    actor: str
    action: str
    owner: str
    subscription: UUID | None
    details: str


@writing
def record(
    actor: str,
    action: str,
    owner: str,
    subscription: UUID | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Add an entry, in the caller's transaction if there is one."""
    AuditEntry.create(
        actor=actor,
        action=action,
        owner=owner,
        subscription=subscription,
        details=write_json(dict(details or {})),
    )


@writing
def forget_entries(before: datetime) -> int:
    """Delete some entries from before a time, oldest first; return how many."""
    rows = AuditEntry.select(AuditEntry.uuid).where(AuditEntry.moment < before)
    old = [row.uuid for row in rows.order_by(AuditEntry.moment).limit(_ROWS)]
    return int(AuditEntry.delete().where(AuditEntry.uuid.in_(old)).execute()) if old else 0


@reading
def entries(
    limit: int,
    after: Position | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> Sequence[Audited]:
    """Return up to `limit` entries of a period, newest first, from a position on."""
    query = newest_first(AuditEntry.select(), AuditEntry.moment, AuditEntry.uuid, after, start, end)
    return [
        Audited(
            row.uuid,
            row.moment,
            row.actor,
            row.action,
            row.owner,
            row.subscription,
            row.details,
        )
        for row in query.limit(limit)
    ]
