"""What owners do with their subscriptions in the database."""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import peewee

from pacifica.notifications.clock import utcnow
from pacifica.notifications.errors import StoreUnavailable, TooManySubscriptions
from pacifica.notifications.jsontext import write_json
from pacifica.notifications.orm import DB, EventMatch, reading, writing
from pacifica.notifications.store.deferred import release_parked
from pacifica.notifications.store.holding import drop_all, nothing_held, select_for_update
from pacifica.notifications.store.position import Position
from pacifica.notifications.store.revisionlog import log_revision
from pacifica.notifications.store.revisions import advance_revision, current_revision
from pacifica.notifications.subscriptions import Channel, check_extensions

_LOG = logging.getLogger(__name__)
# Until then, dispatches have ended that began before a subscription was changed.
_DISPATCH_ENDS = timedelta(seconds=60)
_JSON_COLUMNS = ("extensions", "auth")
# A user with so many subscriptions less than the limit, or fewer, cannot reach it soon.
_SAFE_DISTANCE = 1000


def create(columns: dict[str, Any], max_per_user: int | None = None) -> dict[str, Any]:
    """Store a new subscription and return it as its owner reads it.

    Raises TooManySubscriptions if its user has `max_per_user` already; None: there is no limit.
    """
    safe_revision = None
    if max_per_user is not None:
        safe_revision = _revision_far_from_limit(columns["user"], max_per_user)
    return _create(columns, max_per_user, safe_revision)


@dataclass(frozen=True)
class Page:
    """Some of a user's subscriptions, and the position of the last; None: no others follow."""

    subscriptions: list[dict[str, Any]]
    last: Position | None


@reading
def page_of_user(user: str, limit: int, after: Position | None = None) -> Page:
    """Return up to `limit` of a user's subscriptions, oldest first, from a position on."""
    query = EventMatch.select().where(*_owned_by(user))
    if after is not None:
        # MariaDB finds the first row by an index for this, and not for a comparison of pairs.
        query = query.where(
            EventMatch.created >= after.created,
            (EventMatch.created > after.created) | (EventMatch.uuid > after.uuid),
        )
    rows = list(query.order_by(EventMatch.created, EventMatch.uuid).limit(limit + 1))
    last = Position(rows[limit - 1].created, rows[limit - 1].uuid) if len(rows) > limit else None
    return Page([row.to_hash() for row in rows[:limit] if row.user == user], last)


@reading
def one_of_user(user: str, uuid: UUID) -> dict[str, Any] | None:
    """Return a user's subscription; None if the user has no such subscription."""
    row = _owned(user, uuid, EventMatch.get_or_none)
    return None if row is None else row.to_hash()


@reading
def one_of_anybody(uuid: UUID) -> dict[str, Any] | None:
    """Return a subscription, without its credentials; None if there is none, or it was deleted."""
    row = EventMatch.get_or_none((EventMatch.uuid == uuid) & EventMatch.deleted.is_null())
    return None if row is None else {**row.to_hash(), "auth": {}}


def update(
    user: str,
    uuid: UUID,
    changes_to: Callable[[dict[str, Any]], dict[str, Any]],
    *,
    actor: str | None = None,
) -> dict[str, Any] | None:
    """Change a user's subscription and return it; None if the user has no such subscription.

    `changes_to` returns the columns to change of the subscription as its owner reads it. Enabling a
    subscription releases what is held for it. One that its owner disables holds no longer. `actor`
    is the operator who makes the change for its owner; None: its owner does.
    """
    return _update(user, uuid, changes_to, actor or user) if _is_owned(user, uuid) else None


def delete(user: str, uuid: UUID) -> bool:
    """Mark a user's subscription deleted and forget its auth; tell whether there was one.

    Then its deliveries are dropped. That may take long, and nobody else's change waits for it.
    """
    if not (_is_owned(user, uuid) and _delete(user, uuid)):
        return False
    with suppress(StoreUnavailable):  # the next sweep drops what is left
        drop_all(uuid)
        nothing_held(uuid)
    return True


@reading
def delivery_format(user: str, uuid: UUID) -> dict[str, Any] | None:
    """Return in which form a user's subscription is sent events.

    None if the user has no such subscription.
    """
    row = _owned(user, uuid, EventMatch.get_or_none)
    return None if row is None else _format(row)


def change_delivery_format(
    user: str, uuid: UUID, changes: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Change the form of a user's subscription; None if the user has no such subscription.

    Raises InvalidInput if its extensions have names that the version does not allow.
    """
    return _change_format(user, uuid, changes) if _is_owned(user, uuid) else None


@reading
def _revision_far_from_limit(user: str, max_per_user: int) -> int | None:
    """Return a revision at which a user had `_SAFE_DISTANCE` subscriptions less than allowed.

    None if the user had more. Many take long to count, so it is done before anything is locked.
    """
    revision = current_revision()
    is_far = max_per_user > _SAFE_DISTANCE and not _has(user, max_per_user - _SAFE_DISTANCE + 1)
    return revision if is_far else None


@writing
def _create(
    columns: dict[str, Any], max_per_user: int | None, safe_revision: int | None
) -> dict[str, Any]:
    # First: its lock makes others who create at this moment wait, so that all are counted.
    revision = advance_revision()
    # Every change takes a revision, so that no more than these were created since.
    is_safe = safe_revision is not None and revision - safe_revision <= _SAFE_DISTANCE
    if max_per_user is not None and not is_safe and _has(columns["user"], max_per_user):
        raise TooManySubscriptions(max_per_user)
    row = EventMatch.create(**_as_stored(columns), revision=revision)
    log_revision(row.uuid, "created", actor=row.user)
    return row.to_hash()


@writing
def _update(
    user: str, uuid: UUID, changes_to: Callable[[dict[str, Any]], dict[str, Any]], actor: str
) -> dict[str, Any] | None:
    revision = advance_revision()
    row = _owned(user, uuid, select_for_update)
    if row is None:
        return None
    was_disabled, was_pulled = row.disabled is not None, _is_pulled(row)
    changes = changes_to(row.to_hash())
    if "extensions" in changes:
        check_extensions(changes["extensions"], row.specversion)
    for name, value in _as_stored(changes).items():
        setattr(row, name, value)
    row.updated, row.revision = utcnow(), revision
    if "disabled" in changes:
        row.holding = False
    if row.disabled is None or "disabled" in changes:
        is_sent_now = was_pulled and not _is_pulled(row)
        due = row.updated + (_DISPATCH_ENDS if is_sent_now else timedelta(0))
        row.release_at(due if row.disabled is None else None)
        row.unmatched = False
    if was_disabled and row.disabled is None:
        release_parked(user)
        if "error" not in changes:  # it was the reason for being disabled
            row.error = None
        by = "its owner" if actor == user else "an operator"
        _LOG.info("subscription %s is enabled again by %s", row.uuid, by)
    row.save()
    action = _action(changes, was_disabled)
    log_revision(row.uuid, action, actor=actor, fields=changes, owner=user)
    return row.to_hash()


@writing
def _delete(user: str, uuid: UUID) -> bool:
    revision = advance_revision()
    row = _owned(user, uuid, select_for_update)
    if row is None:
        return False
    row.deleted = row.updated = utcnow()
    row.revision, row.held_due, row.auth = revision, row.updated, "{}"
    row.save()
    log_revision(row.uuid, "deleted", actor=user)
    return True


@writing
def _change_format(user: str, uuid: UUID, changes: Mapping[str, Any]) -> dict[str, Any] | None:
    revision = advance_revision()
    row = _owned(user, uuid, select_for_update)
    if row is None:
        return None
    if wanted := changes.get("specversion"):
        check_extensions(row.to_hash()["extensions"], wanted)
    row.specversion = changes.get("specversion", row.specversion)
    for name in ("mode", "format", "digest", "tell_owner"):
        setattr(row, name, changes.get(name, getattr(row, name)))
    row.updated, row.revision = utcnow(), revision
    row.save()
    log_revision(row.uuid, "changed", actor=user, fields=changes)
    return _format(row)


def _action(changes: Mapping[str, Any], was_disabled: bool) -> str:
    """Return what a change of columns is called in the log."""
    if "disabled" not in changes or (changes["disabled"] is not None) == was_disabled:
        return "changed"
    return "enabled" if was_disabled else "disabled"


@reading
def _is_owned(user: str, uuid: UUID) -> bool:
    """Tell whether a user has a subscription, before anything is locked for changing it.

    Somebody else's is not waited for, and takes as long as one that does not exist.
    """
    rows = EventMatch.select(EventMatch.user).where(EventMatch.uuid == uuid, *_owned_by(user))
    return [row.user for row in rows] == [user]


def _owned(user: str, uuid: UUID, find: Callable[[Any], EventMatch | None]) -> EventMatch | None:
    """Return a user's subscription; MySQL itself ignores blanks at the end of a user's name."""
    is_users, is_not_deleted = _owned_by(user)
    row = find((EventMatch.uuid == uuid) & is_users & is_not_deleted)
    return row if row is not None and row.user == user else None


def _owned_by(user: str) -> tuple[Any, Any]:
    """Return the conditions for what a user has and has not deleted."""
    return EventMatch.user == user, EventMatch.deleted.is_null()


def _has(user: str, count: int) -> bool:
    """Tell whether a user has so many subscriptions or more; reads only as much of their index."""
    # MariaDB would rather merge two other indexes, which takes several times as long.
    mysql = isinstance(DB.bound(), peewee.MySQLDatabase)
    index = "FORCE INDEX (eventmatch_user_deleted_created_uuid)" if mysql else ""
    is_users = f"{DB.param} = {DB.quote[0]}user{DB.quote[1]}"
    sql = f"SELECT 1 FROM eventmatch {index} WHERE {is_users} AND deleted IS NULL"  # noqa: S608 no value
    return bool(DB.execute_sql(f"{sql} LIMIT 1 OFFSET {count - 1}", (user,)).fetchall())


def _as_stored(columns: dict[str, Any]) -> dict[str, Any]:
    return {
        name: write_json(value) if name in _JSON_COLUMNS else value
        for name, value in columns.items()
    }


def _is_pulled(row: EventMatch) -> bool:
    return Channel.of(row.target_url) is Channel.PULL


def _format(row: EventMatch) -> dict[str, Any]:
    return {
        "specversion": row.specversion or None,
        "mode": row.mode,
        "format": row.format,
        "digest": row.digest,
        "tell_owner": bool(row.tell_owner),
    }
