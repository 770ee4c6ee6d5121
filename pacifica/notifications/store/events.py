"""The log of events: recording, claiming for dispatch, showing and purging."""

from collections.abc import Collection, Sequence
from uuid import UUID, uuid4

from pacifica.notifications.clock import utcnow
from pacifica.notifications.events import Event
from pacifica.notifications.flow import State
from pacifica.notifications.orm.models import EventLog, EventLogMatch
from pacifica.notifications.orm.transaction import reading, writing
from pacifica.notifications.store.claims import claim

_ROWS_PER_INSERT = 100


@writing
def record(event: Event) -> None:
    """Store an event, due to be dispatched at once; it is on disk when this returns."""
    now = utcnow()
    EventLog.insert(uuid=event.uuid, jsondata=event.text, created=now, due=now).execute()


@reading
def due_events(limit: int) -> list[UUID]:
    """Return events that wait to be dispatched and belong to no worker, longest waiting first."""
    rows = EventLog.select(EventLog.uuid).where(EventLog.due <= utcnow())
    return [row.uuid for row in rows.order_by(EventLog.due).limit(limit)]


@writing
def claim_events(uuids: Collection[UUID], lease: float) -> list[Event]:
    """Take those of the events that wait to be dispatched, for `lease` seconds."""
    rows = claim(
        EventLog,
        EventLog.uuid.in_(uuids),
        now=utcnow(),
        lease=lease,
        order=EventLog.created,
        limit=len(uuids),
    )
    return [Event(row.uuid, row.jsondata) for row in rows]


@writing
def record_matches(event: UUID, subscriptions: Sequence[UUID]) -> bool:
    """Store whom an event goes to, which ends its dispatch; False if that was done before."""
    dispatched = (
        EventLog.update(due=None)
        .where(EventLog.uuid == event, EventLog.due.is_null(False))
        .execute()
    )
    if not dispatched:
        return False
    now = utcnow()
    rows = [
        {
            "uuid": uuid4(),
            "event_log": event,
            "event_match": subscription,
            "state": State.MATCHED,
            "due": now,
            "created": now,
            "updated": now,
        }
        for subscription in subscriptions
    ]
    for start in range(0, len(rows), _ROWS_PER_INSERT):
        EventLogMatch.insert_many(rows[start : start + _ROWS_PER_INSERT]).execute()
    return True
