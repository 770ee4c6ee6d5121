"""Moves credentials from target URLs, where 0.5.2 let them be stored, to `auth`."""

import json
from urllib.parse import unquote, urlsplit
from uuid import UUID

from pacifica.notifications.jsontext import write_json
from pacifica.notifications.orm import EventMatch, writing
from pacifica.notifications.store.revisions import advance_revision

_ROWS_PER_TRANSACTION = 200


def move_url_credentials() -> int:
    """Move user and password from target URLs to `auth`; return how many URLs were changed.

    0.5.2 sent them as Basic authentication, in place of a header in `auth`. Basic credentials in
    `auth` took precedence. Raises StoreUnavailable.
    """
    changed = 0
    last: UUID | None = None
    while batch := _move_batch(last):
        last = batch[-1][0]
        changed += sum(moved for _, moved in batch)
    return changed


@writing
def _move_batch(last: UUID | None) -> list[tuple[UUID, bool]]:
    """Change the next rows that may need it; return whether each was changed."""
    later = () if last is None else (EventMatch.uuid > last,)
    query = EventMatch.select().where(EventMatch.target_url.contains("@"), *later)
    rows = list(query.order_by(EventMatch.uuid).limit(_ROWS_PER_TRANSACTION))
    moved = [row for row in rows if _move(row)]
    revision = advance_revision() if moved else 0
    for row in moved:
        row.revision = revision
        row.save()
    return [(row.uuid, row in moved) for row in rows]


def _move(row: EventMatch) -> bool:
    try:
        given, at, _ = urlsplit(row.target_url).netloc.rpartition("@")
    except ValueError:
        return False
    if not at:
        return False
    row.target_url = row.target_url.replace(f"{given}@", "", 1)
    user, colon, password = given.partition(":")
    is_sent = colon and given != ":" and _type_of_auth(row) != "basic"
    if is_sent and row.deleted is None:  # a deleted subscription keeps no auth
        # A colon in the user's name, written as %3A, ends it for whoever reads the header.
        user, _, password = f"{unquote(user)}:{unquote(password)}".partition(":")
        basic = {"username": user, "password": password}
        row.auth = write_json({"type": "basic", "basic": basic})
    return True


def _type_of_auth(row: EventMatch) -> object:
    try:
        auth = json.loads(row.auth or "{}")
    except ValueError:
        return None
    return auth.get("type") if isinstance(auth, dict) else None
