"""What becomes of deliveries when their subscription is disabled or enabled again."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import State
from pacifica.notifications.orm.models import DB, EventLogMatch, EventMatch
from pacifica.notifications.orm.transaction import writing
from pacifica.notifications.store.revisions import advance_revision

_UNDER_WAY = (State.MATCHED, State.ALLOWED)


@writing
def disable(uuid: UUID, error: str, *, holding: bool = True, revision: int | None = None) -> bool:
    """Disable a subscription with its error and hold what is under way for it.

    With `revision`, only if its owner has not changed it since then. Without `holding`, what
    matches from now on is not kept. Tells whether this call is the one that disabled it.
    """
    now = utcnow()
    unchanged = () if revision is None else (EventMatch.revision == revision,)
    changed = (
        EventMatch.update(
            disabled=now,
            error=error.replace("\0", "\ufffd"),
            updated=now,
            holding=holding,
            revision=advance_revision(),
        )
        .where(
            EventMatch.uuid == uuid,
            EventMatch.disabled.is_null(),
            EventMatch.deleted.is_null(),
            *unchanged,
        )
        .execute()
    )
    if changed:
        _hold([uuid], now)
    return bool(changed)


@writing
def hold_for_disabled(uuids: Collection[UUID]) -> None:
    """Hold what is under way for those of the subscriptions that are disabled.

    Their rows are locked first: one that its owner enables at the same moment either is seen as
    enabled here, or releases what is held here.
    """
    query = EventMatch.select(EventMatch.uuid).where(
        EventMatch.uuid.in_(uuids), EventMatch.disabled.is_null(False)
    )
    if DB.for_update:
        query = query.for_update()
    disabled = [row.uuid for row in query]
    if disabled:
        _hold(disabled, utcnow())


@writing
def release(uuid: UUID, now: datetime) -> None:
    """Hand a subscription what was held for it; Policy is asked again."""
    EventLogMatch.update(state=State.MATCHED, due=now, attempts=0, updated=now).where(
        EventLogMatch.event_match == uuid, EventLogMatch.state == State.HELD
    ).execute()


def _hold(subscriptions: Collection[UUID], now: datetime) -> None:
    EventLogMatch.update(state=State.HELD, due=None, updated=now).where(
        EventLogMatch.event_match.in_(subscriptions), EventLogMatch.state.in_(_UNDER_WAY)
    ).execute()
