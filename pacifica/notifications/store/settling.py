"""Events that wait until Pacifica Metadata shows what they tell of.

Until then they are not due to be dispatched, so that nothing else looks at them.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any
from uuid import UUID

from pacifica.notifications.clock import utcnow
from pacifica.notifications.events import extended
from pacifica.notifications.flow import Settlement
from pacifica.notifications.metrics import EVENTS_SETTLED
from pacifica.notifications.orm import DB, EventLog, reading, writing
from pacifica.notifications.settlement import UNKNOWN_EXTENSION, Step
from pacifica.notifications.store.claims import claim
from pacifica.notifications.store.events import events_by_uuid, text_size

# Before any time on record; `settle_due > _NEVER` is served by an index on every engine.
_NEVER = datetime(1, 1, 1)


@dataclass(frozen=True)
class SettlingEvent:
    """An event about which Metadata is to be asked."""

    uuid: UUID
    settlement: Settlement
    type: str
    transaction: int | None
    received: datetime


def claim_settling(limit: int, max_bytes: int, lease: float) -> list[SettlingEvent]:
    """Claim events about which Metadata is to be asked now, for `lease` seconds.

    All of them together have up to `max_bytes`; one event alone may have more.
    """
    return _claim(limit, max_bytes, lease)


@writing
def _claim(limit: int, max_bytes: int, lease: float) -> list[SettlingEvent]:

    def count_fitting(rows: Sequence[Any]) -> int:
        totals = accumulate(size for *_, size in rows)
        return max(sum(total <= max_bytes for total in totals), 1)

    rows = claim(
        EventLog,
        columns=(
            EventLog.uuid,
            EventLog.settlement,
            EventLog.event_type,
            EventLog.transaction_id,
            EventLog.created,
            text_size(EventLog.jsondata),
        ),
        now=utcnow(),
        lease=lease,
        due=EventLog.settle_due,
        order=EventLog.settle_due,
        limit=limit,
        also={},
        count_fitting=count_fitting,
    )
    return [SettlingEvent(row[0], Settlement(row[1]), *row[2:5]) for row in rows]


@reading
def next_settling() -> datetime | None:
    """Return when Metadata is to be asked next about any event; None: there is none."""
    return (
        EventLog.select(EventLog.settle_due)
        .where(EventLog.settle_due > _NEVER)
        .order_by(EventLog.settle_due)
        .limit(1)
        .scalar()
    )


def record_steps(steps: Mapping[UUID, Step]) -> list[UUID]:
    """Record what becomes of claimed events; return those that are due to be dispatched.

    An event that went on meanwhile stays as it is.
    """
    alike: defaultdict[Step, list[UUID]] = defaultdict(list)
    for uuid, step in steps.items():
        alike[step].append(uuid)
    going_on: list[UUID] = []
    for step, uuids in alike.items():
        if step.settlement is Settlement.UNKNOWN:
            going_on += [uuid for uuid in uuids if _go_on_unknown(uuid)]
        elif step.goes_on:
            going_on += _go_on(uuids, step.settlement)
        else:
            _ask_later(uuids, step)
    return going_on


@writing
def _go_on(uuids: Collection[UUID], settlement: Settlement, **more: Any) -> list[UUID]:
    now = utcnow()
    settling = _settling(uuids)
    EventLog.update(
        settlement=settlement, settle_due=None, settled=now, due=now, attempts=0, **more
    ).where(EventLog.uuid.in_(settling)).execute()
    DB.handle().tallies.add(EVENTS_SETTLED, len(settling), str(settlement))
    return settling


@writing
def _go_on_unknown(uuid: UUID) -> bool:
    """Let an event go on that says of itself that Metadata could not be asked about it."""
    event = events_by_uuid([uuid]).get(uuid)
    if event is None:
        return False
    text = extended(event, UNKNOWN_EXTENSION).text
    return bool(_go_on([uuid], Settlement.UNKNOWN, jsondata=text))


@writing
def _ask_later(uuids: Collection[UUID], step: Step) -> None:
    settling = EventLog.uuid.in_(list(uuids)), EventLog.settle_due.is_null(False)
    if step.settlement not in (Settlement.UNSETTLED, Settlement.EXPIRED):
        EventLog.update(settlement=step.settlement, settle_due=step.due).where(*settling).execute()
        return
    changed = EventLog.settlement != step.settlement
    count = EventLog.select().where(*settling, changed).count()
    EventLog.update(settlement=step.settlement, settle_due=step.due).where(*settling).execute()
    DB.handle().tallies.add(EVENTS_SETTLED, count, str(step.settlement))


def stop_settling(limit: int, max_age: float) -> list[UUID]:
    """Let up to `limit` events go on, because Metadata is no longer asked; return them.

    Those that are unsettled are not dispatched, and expire once they are `max_age` seconds old.
    """
    settling, expired = _left_settling(limit, utcnow() - timedelta(seconds=max_age))
    if expired:
        _ask_later(expired, Step(Settlement.EXPIRED))
    return [uuid for uuid in settling if _go_on_unknown(uuid)]


@reading
def _left_settling(limit: int, before: datetime) -> tuple[list[UUID], list[UUID]]:
    waiting = EventLog.settle_due > _NEVER
    is_unsettled = EventLog.settlement == Settlement.UNSETTLED
    rows: Any = EventLog.select(EventLog.uuid).order_by(EventLog.settle_due).limit(limit).tuples()
    settling = [uuid for (uuid,) in rows.where(waiting, ~is_unsettled)]
    old = [uuid for (uuid,) in rows.where(waiting, is_unsettled, EventLog.created < before)]
    return settling, old


def _settling(uuids: Collection[UUID]) -> list[UUID]:
    """Return those of the events that still wait, which nobody else changes until the commit."""
    query = EventLog.select(EventLog.uuid).where(
        EventLog.uuid.in_(list(uuids)), EventLog.settle_due.is_null(False)
    )
    return [row.uuid for row in (query.for_update() if DB.for_update else query)]
