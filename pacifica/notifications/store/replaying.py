"""What a replay changes: deliveries are made due again, and missing ones are added."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import Cause, Settlement, State
from pacifica.notifications.orm import (
    DB,
    EventLog,
    EventLogMatch,
    EventMatch,
    Revision,
    insert_rows,
    reading,
    writing,
)
from pacifica.notifications.store.deliveries import matched_row
from pacifica.notifications.store.jobs import ClaimedJob, is_still_claimed, record_progress
from pacifica.notifications.store.resending import send_again
from pacifica.notifications.store.walking import UNDER_WAY, deferred_for, on_record_for

# So many of the newest revisions of a subscription are known to one replay.
_MAX_REVISIONS = 200


@dataclass(frozen=True)
class Replayed:
    """A subscription that is replayed, as it is now."""

    jsonpath: str
    is_disabled: bool
    is_deleted: bool


@dataclass(frozen=True)
class FormerJsonpath:
    """What a subscription's JSONPath was from a revision of all subscriptions on."""

    revision: int
    changed: datetime
    jsonpath: str
    is_deleted: bool


@reading
def replayed(subscription: UUID) -> Replayed | None:
    """Return a subscription; None if there is none."""
    row = EventMatch.get_or_none(EventMatch.uuid == subscription)
    if row is None:
        return None
    return Replayed(row.jsonpath, row.disabled is not None, row.deleted is not None)


@reading
def former_jsonpaths(subscription: UUID) -> Sequence[FormerJsonpath]:
    """Return what a subscription's JSONPath was, newest first."""
    columns = Revision.revision, Revision.changed, Revision.jsonpath, Revision.deleted
    rows: Any = Revision.select(*columns).where(Revision.subscription == subscription)
    newest = rows.order_by(Revision.revision.desc()).limit(_MAX_REVISIONS).tuples()
    return [
        FormerJsonpath(revision, changed, jsonpath, deleted is not None)
        for revision, changed, jsonpath, deleted in newest
    ]


@reading
def has_replayed_under_way(subscription: UUID, at_least: int) -> bool:
    """Tell whether so many deliveries of a subscription that were replayed are not finished."""
    return (
        EventLogMatch.select(EventLogMatch.uuid)
        .where(
            EventLogMatch.state.in_(UNDER_WAY),
            EventLogMatch.event_match == subscription,
            EventLogMatch.cause == Cause.REPLAY,
        )
        .limit(1)
        .offset(at_least - 1)
        .exists()
    )


@reading
def has_live_waiting(seconds: float) -> bool:
    """Tell whether an event, or a delivery that is not replayed, has been due for so long."""
    since = utcnow() - timedelta(seconds=seconds)
    if EventLog.select(EventLog.uuid).where(EventLog.due <= since).exists():
        return True
    live = EventLogMatch.due <= since, EventLogMatch.cause != Cause.REPLAY
    return bool(EventLogMatch.select(EventLogMatch.uuid).where(*live).exists())


@writing
def replay(
    claimed: ClaimedJob,
    events: Collection[UUID],
    states: Collection[State],
    *,
    missing: bool,
    progress_for: Callable[[int], tuple[Mapping[str, Any], float | None]],
) -> list[UUID]:
    """Have events sent to the subscription of a job, and store how far it is, in one transaction.

    Deliveries in one of the states are made due again; with `missing`, events without any get one.
    `progress_for` returns what `record_progress` takes for the number of deliveries. Returns the
    events that Policy is to be asked about; none if the job was cancelled or claimed since.
    """
    job = claimed.job
    if not is_still_claimed(claimed) or job.subscription is None:
        return []
    # While they are locked, nobody purges them, and no other delivery of them is added.
    query = EventLog.select(EventLog.uuid).where(EventLog.uuid.in_(list(events)))
    is_shown = EventLog.settlement.is_null() | (EventLog.settlement != Settlement.EXPIRED)
    is_settled = EventLog.due.is_null(), EventLog.settle_due.is_null(), is_shown
    ordered = query.where(*is_settled).order_by(EventLog.uuid)
    locked = [row.uuid for row in (ordered.for_update() if DB.for_update else ordered)]
    # In this order: what is matched later leaves the one table for the other.
    waiting = deferred_for(job.subscription, job.user, locked)
    on_record = on_record_for(job.subscription, locked)
    again: dict[UUID, UUID] = {}
    absent = []
    for event in locked:
        found = on_record.get(event, {})
        fitting = [uuid for uuid, each in found.items() if each.state in states]
        if not found and missing and event not in waiting:
            absent.append(event)
        elif fitting and not any(each.state in UNDER_WAY for each in found.values()):
            again[event] = fitting[-1]
    send_again(list(again.values()), Cause.REPLAY)
    now = utcnow()
    rows = [matched_row(uuid4(), event, job.subscription, now) for event in absent]
    insert_rows(EventLogMatch, [{**row, "cause": Cause.REPLAY} for row in rows])
    record_progress(claimed, *progress_for(len(again) + len(rows)))
    return [*again, *absent]
