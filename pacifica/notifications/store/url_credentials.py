"""Moves credentials from target URLs, where 0.5.2 let them be stored, to `auth`."""

import json
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit
from uuid import UUID

from pacifica.notifications.jsontext import write_json
from pacifica.notifications.orm import EventMatch, reading, writing
from pacifica.notifications.store.holding import select_for_update
from pacifica.notifications.store.revisions import advance_revision

_ROWS_PER_TRANSACTION = 200


def move_url_credentials() -> int:
    """Move user and password from target URLs to `auth`; return how many URLs were changed.

    0.5.2 sent them as Basic authentication, in place of a header in `auth`. Basic credentials in
    `auth` took precedence. Raises StoreUnavailable.
    """
    changed = 0
    last: UUID | None = None
    while found := _next(last):
        last = found[-1][0]
        uuids = [uuid for uuid, url in found if _credentials(url) is not None]
        if uuids:
            changed += _move_all(uuids)
    return changed


@reading
def _next(last: UUID | None) -> list[tuple[UUID, str]]:
    """Return id and target of the next subscriptions that may have credentials there."""
    later = () if last is None else (EventMatch.uuid > last,)
    rows = EventMatch.select(EventMatch.uuid, EventMatch.target_url)
    rows = rows.where(EventMatch.target_url.contains("@"), *later).order_by(EventMatch.uuid)
    return [(row.uuid, row.target_url) for row in rows.limit(_ROWS_PER_TRANSACTION)]


@writing
def _move_all(uuids: Sequence[UUID]) -> int:
    revision = advance_revision()  # first, as whoever else changes a subscription does
    changed = 0
    for uuid in uuids:
        row = select_for_update(EventMatch.uuid == uuid)
        if row is not None and _move(row):
            row.revision = revision
            row.save()
            changed += 1
    return changed


def _credentials(url: str) -> str | None:
    """Return what stands before the host of a URL; None if nothing does."""
    try:
        given, at, _ = urlsplit(url).netloc.rpartition("@")
    except ValueError:
        return None
    return given if at else None


def _move(row: EventMatch) -> bool:
    given = _credentials(row.target_url)
    if given is None:
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
