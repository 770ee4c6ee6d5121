"""What a subscription was at any time: each change adds a revision to the log."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import peewee

from pacifica.notifications.clock import utcnow
from pacifica.notifications.orm import EventMatch, Revision, reading, writing
from pacifica.notifications.store.audit import record

# How many revisions one transaction deletes.
_ROWS = 200
# How many revisions of one subscription are kept; a user can make as many as they like.
_MAX_KEPT = 1000
#: The actor of what the service does by itself.
SERVICE = ""
_COPIED = (
    *("name", "jsonpath", "target_url", "extensions", "specversion", "mode"),
    *("disabled", "error", "holding", "unmatched", "deleted"),
)


@dataclass(frozen=True)
class LoggedRevision:
    """A subscription from one change to the next.

    `actor` is the user who made the change, and empty where the service did. `fields` are the names
    of the fields that it changed.
    """

    subscription: UUID
    revision: int
    changed: datetime
    actor: str
    action: str
    fields: tuple[str, ...]
    name: str
    jsonpath: str
    target_url: str
    disabled: datetime | None
    error: str | None
    holding: bool
    unmatched: bool
    deleted: datetime | None


def log_revision(
    subscription: UUID,
    action: str,
    *,
    actor: str = SERVICE,
    fields: Collection[str] = (),
    owner: str = "",
) -> None:
    """Log what a subscription has become, in the transaction that changed it.

    `owner` is given where the actor is somebody else.
    """
    constants: list[Any] = [utcnow(), actor, action, " ".join(sorted(fields))]
    values = [
        *(EventMatch.uuid, EventMatch.revision),
        *(peewee.Value(each, converter=False) for each in constants),
        *(getattr(EventMatch, name) for name in _COPIED),
    ]
    copied = [
        *(Revision.subscription, Revision.revision),
        *(Revision.changed, Revision.actor, Revision.action, Revision.fields),
        *(getattr(Revision, name) for name in _COPIED),
    ]
    Revision.insert_from(
        EventMatch.select(*values).where(EventMatch.uuid == subscription), copied
    ).execute()
    if actor != SERVICE:
        _keep_newest(subscription)
        details = {"fields": sorted(fields)}
        record(actor, f"subscription {action}", owner or actor, subscription, details)


@writing
def forget_revisions(before: datetime) -> int:
    """Delete some revisions that were followed by others before a time; return how many.

    So what a subscription was at any later time stays known.
    """
    later = Revision.alias()
    is_followed = peewee.fn.EXISTS(
        later.select(peewee.SQL("1")).where(
            later.subscription == Revision.subscription,
            later.revision > Revision.revision,
            later.changed < before,
        )
    )
    columns = Revision.subscription, Revision.revision
    rows: Any = Revision.select(*columns).where(Revision.changed < before, is_followed)
    old = list(rows.order_by(Revision.changed).limit(_ROWS).tuples())
    for subscription, revision in old:
        Revision.delete().where(
            Revision.subscription == subscription, Revision.revision == revision
        ).execute()
    return len(old)


@reading
def revisions_of(
    subscription: UUID, limit: int, before: int | None = None
) -> Sequence[LoggedRevision]:
    """Return up to `limit` revisions of a subscription, newest first, before one if given."""
    query = Revision.select().where(Revision.subscription == subscription)
    if before is not None:
        query = query.where(Revision.revision < before)
    return [_logged(row) for row in query.order_by(Revision.revision.desc()).limit(limit)]


@reading
def revision_at(subscription: UUID, revision: int) -> LoggedRevision | None:
    """Return what a subscription was at a revision of all subscriptions; None: not there yet."""
    row = (
        Revision.select()
        .where(Revision.subscription == subscription, Revision.revision <= revision)
        .order_by(Revision.revision.desc())
        .first()
    )
    return None if row is None else _logged(row)


def _keep_newest(subscription: UUID) -> None:
    rows = Revision.select(Revision.revision).where(Revision.subscription == subscription)
    surplus = rows.order_by(Revision.revision.desc()).offset(_MAX_KEPT).limit(1).first()
    if surplus is not None:
        Revision.delete().where(
            Revision.subscription == subscription, Revision.revision <= surplus.revision
        ).execute()


@reading
def revisions_after(subscription: UUID, revision: int, limit: int) -> Sequence[LoggedRevision]:
    """Return up to `limit` revisions of a subscription after one, oldest first."""
    query = Revision.select().where(
        Revision.subscription == subscription, Revision.revision > revision
    )
    return [_logged(row) for row in query.order_by(Revision.revision).limit(limit)]


def _logged(row: Revision) -> LoggedRevision:
    return LoggedRevision(
        row.subscription,
        row.revision,
        row.changed,
        row.actor,
        row.action,
        tuple(row.fields.split()),
        row.name,
        row.jsonpath,
        row.target_url,
        row.disabled,
        row.error,
        bool(row.holding),
        bool(row.unmatched),
        row.deleted,
    )
