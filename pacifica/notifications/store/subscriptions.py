"""Subscriptions in the database: what their owners do with them, and what workers read of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import peewee

from pacifica.notifications.clock import utcnow
from pacifica.notifications.errors import TooMany
from pacifica.notifications.jsontext import write_json
from pacifica.notifications.orm.models import DB, EventMatch
from pacifica.notifications.orm.transaction import reading, writing
from pacifica.notifications.store.holding import drop_all, locked
from pacifica.notifications.store.revisions import advance_revision, current_revision
from pacifica.notifications.subscriptions import require_extensions

_JSON_COLUMNS = ("extensions", "auth")
# From how many below the bound on one user's subscriptions on they are counted one by one.
_FAR = 1000


@dataclass(frozen=True)
class Change:
    """A subscription as matching sees it; `jsonpath` is None when nothing is matched for it."""

    uuid: UUID
    jsonpath: str | None


def create(columns: dict[str, Any], most: int | None = None) -> dict[str, Any]:
    """Store a new subscription and return it as its owner reads it.

    Raises TooMany where its user has `most` already; None: there is no bound.
    """
    far_at = None if most is None else _revision_far_from(columns["user"], most)
    return _create(columns, most, far_at)


@reading
def _revision_far_from(user: str, most: int) -> int | None:
    """Return a revision at which a user had `_FAR` subscriptions less than `most`, or fewer still.

    None where it is not so. Many take long to count, which need not keep others waiting.
    """
    revision = current_revision()
    return revision if most > _FAR and not _has(user, most - _FAR + 1) else None


@writing
def _create(columns: dict[str, Any], most: int | None, far_at: int | None) -> dict[str, Any]:
    # First: what it locks has others who create at this moment wait, so that all are counted.
    revision = advance_revision()
    # Every change takes a revision, so that no more were created since.
    is_far = far_at is not None and revision - far_at <= _FAR
    if most is not None and not is_far and _has(columns["user"], most):
        raise TooMany(most)
    return EventMatch.create(**_stored(columns), revision=revision).to_hash()


@reading
def of_user(user: str) -> list[dict[str, Any]]:
    """Return a user's subscriptions, oldest first."""
    rows = EventMatch.select().where(*_of(user)).order_by(EventMatch.created, EventMatch.uuid)
    return [row.to_hash() for row in rows if row.user == user]


@reading
def one_of_user(user: str, uuid: UUID) -> dict[str, Any] | None:
    """Return a user's subscription, or None where there is none that is not deleted."""
    row = owned(user, uuid, EventMatch.get_or_none)
    return None if row is None else row.to_hash()


def update(
    user: str, uuid: UUID, changes_to: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any] | None:
    """Change a user's subscription to what `changes_to` makes of it; None where there is none.

    Enabling one has released what was held for it. One that its owner disables holds no longer.
    """
    return _update(user, uuid, changes_to) if is_owned(user, uuid) else None


def delete(user: str, uuid: UUID) -> bool:
    """Mark a user's subscription deleted and forget its auth; tell whether there was one."""
    return is_owned(user, uuid) and _delete(user, uuid)


@reading
def is_owned(user: str, uuid: UUID) -> bool:
    """Tell whether a subscription is the user's to change, before anything is locked for it.

    Somebody else's is not waited for, and takes as long as one that does not exist.
    """
    columns = EventMatch.select(EventMatch.user).where(EventMatch.uuid == uuid, *_of(user))
    return [row.user for row in columns] == [user]


@writing
def _update(
    user: str, uuid: UUID, changes_to: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any] | None:
    revision = advance_revision()
    row = owned(user, uuid, locked)
    if row is None:
        return None
    changes = changes_to(row.to_hash())
    if "extensions" in changes:
        require_extensions(changes["extensions"], row.specversion)
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
def _delete(user: str, uuid: UUID) -> bool:
    revision = advance_revision()
    row = owned(user, uuid, locked)
    if row is None:
        return False
    row.deleted = row.updated = utcnow()
    row.revision, row.held_due, row.auth = revision, None, "{}"
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


def owned(user: str, uuid: UUID, found: Callable[[Any], EventMatch | None]) -> EventMatch | None:
    """Return a user's subscription; MySQL's own comparison leaves blanks at the end out."""
    mine, alive = _of(user)
    row = found((EventMatch.uuid == uuid) & mine & alive)
    return row if row is not None and row.user == user else None


def _of(user: str) -> tuple[Any, Any]:
    """Return the conditions for what a user has and has not deleted."""
    return EventMatch.user == user, EventMatch.deleted.is_null()


def _has(user: str, number: int) -> bool:
    """Tell whether a user has so many subscriptions, or more; reads no more of their index."""
    # MariaDB would rather merge two other indexes, which takes several times as long.
    mysql = isinstance(DB.bound(), peewee.MySQLDatabase)
    index = "FORCE INDEX (eventmatch_user_deleted)" if mysql else ""
    mine = f"{DB.param} = {DB.quote[0]}user{DB.quote[1]}"
    sql = f"SELECT 1 FROM eventmatch {index} WHERE {mine} AND deleted IS NULL"  # noqa: S608 no value
    return bool(DB.execute_sql(f"{sql} LIMIT 1 OFFSET {number - 1}", (user,)).fetchall())


def _stored(columns: dict[str, Any]) -> dict[str, Any]:
    return {
        name: write_json(value) if name in _JSON_COLUMNS else value
        for name, value in columns.items()
    }
