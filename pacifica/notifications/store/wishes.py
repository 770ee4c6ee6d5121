"""How subscriptions want their events: in which version of CloudEvents, and in which mode."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from pacifica.notifications.clock import utcnow
from pacifica.notifications.orm.models import EventMatch
from pacifica.notifications.orm.transaction import reading, writing
from pacifica.notifications.store.holding import locked
from pacifica.notifications.store.revisions import advance_revision
from pacifica.notifications.store.subscriptions import is_owned, owned
from pacifica.notifications.subscriptions import require_extensions


@reading
def wish_of(user: str, uuid: UUID) -> dict[str, Any] | None:
    """Return how a user's subscription wants its events; None where there is none."""
    row = owned(user, uuid, EventMatch.get_or_none)
    return None if row is None else _as_owners_read(row)


def change_wish(user: str, uuid: UUID, changes: Mapping[str, str]) -> dict[str, Any] | None:
    """Change how a user's subscription wants its events; None where there is none.

    Raises InvalidInput where its extensions are none that the version allows.
    """
    return _change(user, uuid, changes) if is_owned(user, uuid) else None


@writing
def _change(user: str, uuid: UUID, changes: Mapping[str, str]) -> dict[str, Any] | None:
    revision = advance_revision()
    row = owned(user, uuid, locked)
    if row is None:
        return None
    if wanted := changes.get("specversion"):
        require_extensions(row.to_hash()["extensions"], wanted)
    row.specversion = changes.get("specversion", row.specversion)
    row.mode = changes.get("mode", row.mode)
    row.updated, row.revision = utcnow(), revision
    row.save()
    return _as_owners_read(row)


def _as_owners_read(row: EventMatch) -> dict[str, Any]:
    return {"specversion": row.specversion or None, "mode": row.mode}
