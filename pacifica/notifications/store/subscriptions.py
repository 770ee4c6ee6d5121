"""Subscriptions in the database: what their owners do with them, and what workers read of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pacifica.notifications.clock import utcnow
from pacifica.notifications.jsontext import write_json
from pacifica.notifications.orm.models import EventMatch
from pacifica.notifications.orm.transaction import reading, writing
from pacifica.notifications.store.holding import drop_all, locked
from pacifica.notifications.store.revisions import advance_revision

_JSON_COLUMNS = ("extensions", "auth")


@dataclass(frozen=True)
class Change:
    """A subscription as matching sees it; `jsonpath` is None when nothing is matched for it."""

    uuid: UUID
    jsonpath: str | None


@writing
def create(columns: dict[str, Any]) -> dict[str, Any]:
    """Store a new subscription and return it as its owner reads it."""
    row = EventMatch.create(**_stored(columns), revision=advance_revision())
    return row.to_hash()


@reading
def of_user(user: str) -> list[dict[str, Any]]:
    """Return a user's subscriptions, oldest first."""
    alive = EventMatch.select().where(EventMatch.user == user, EventMatch.deleted.is_null())
    rows = alive.order_by(EventMatch.created, EventMatch.uuid)
    return [row.to_hash() for row in rows if row.user == user]


@reading
def one_of_user(user: str, uuid: UUID) -> dict[str, Any] | None:
    """Return a user's subscription, or None where there is none that is not deleted."""
    row = _own(user, uuid, EventMatch.get_or_none)
    return None if row is None else row.to_hash()


@writing
def update(
    user: str, uuid: UUID, changes_to: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any] | None:
    """Change a user's subscription to what `changes_to` makes of it; None where there is none.

    Enabling one has released what was held for it. One that its owner disables holds no longer.
    """
    revision = advance_revision()
    row = _own(user, uuid, locked)
    if row is None:
        return None
    changes = changes_to(row.to_hash())
    for name, value in _stored(changes).items():
        setattr(row, name, value)
    row.updated, row.revision = utcnow(), revision
    if "disabled" in changes:
        row.holding = False
    if row.disabled is None or "disabled" in changes:
        row.probe, row.probes = None, 0
        row.held_due = row.updated if row.disabled is None else None
    row.save()
    return row.to_hash()


@writing
def delete(user: str, uuid: UUID) -> bool:
    """Mark a user's subscription deleted; tell whether there was one."""
    revision = advance_revision()
    row = _own(user, uuid, locked)
    if row is None:
        return False
    row.deleted = row.updated = utcnow()
    row.revision, row.held_due = revision, None
    row.save()
    drop_all(uuid, row.updated)
    return True


@reading
def changed_since(known: int, upto: int) -> list[Change]:
    """Return what changed after revision `known`, up to `upto`, as matching sees it now."""
    rows = EventMatch.select(
        EventMatch.uuid,
        EventMatch.jsonpath,
        EventMatch.disabled,
        EventMatch.deleted,
        EventMatch.holding,
    ).where(EventMatch.revision > known, EventMatch.revision <= upto)
    return [Change(row.uuid, _matched(row)) for row in rows.iterator()]


def _matched(row: EventMatch) -> str | None:
    wanted = row.deleted is None and (row.disabled is None or row.holding)
    return row.jsonpath if wanted else None


def _own(user: str, uuid: UUID, found: Callable[[Any], EventMatch | None]) -> EventMatch | None:
    """Return a user's subscription; MySQL's own comparison takes `Alice` for `alice`."""
    row = found(EventMatch.uuid == uuid)
    return row if row is not None and row.user == user and row.deleted is None else None


def _stored(columns: dict[str, Any]) -> dict[str, Any]:
    return {
        name: write_json(value) if name in _JSON_COLUMNS else value
        for name, value in columns.items()
    }
