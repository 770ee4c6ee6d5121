"""What waits for the next mail of its subscription, and how many mails may be sent.

A delivery is collected instead of being sent. When the digest of its subscription is due, a worker
claims both, and the rest is as with any other delivery.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import Cause, Delivery, State
from pacifica.notifications.metrics import DELIVERIES_FINISHED
from pacifica.notifications.orm import (
    DB,
    Digest,
    EventLog,
    EventLogMatch,
    EventMatch,
    MailCount,
    insert_rows,
    reading,
    writing,
)
from pacifica.notifications.store.deliveries import ClaimedRow, deliverable
from pacifica.notifications.store.rowlocks import lock_deliveries, locking, one_of

# How many subscriptions one statement looks after.
_ROWS = 500


@dataclass(frozen=True)
class Collected:
    """A delivery that waits for a mail."""

    delivery: UUID
    event: UUID


@writing
def collect(deliveries: Sequence[Delivery], due_of: Callable[[Delivery], datetime]) -> None:
    """Let claimed deliveries wait for the next mails of their subscriptions.

    `due_of` tells when a delivery should be mailed; the earliest of a subscription counts.
    """
    lock_deliveries(each.uuid for each in deliveries)
    claims: defaultdict[tuple[datetime | None, int], list[UUID]] = defaultdict(list)
    for each in deliveries:
        claims[each.leased, each.attempts].append(each.uuid)
    for (leased, attempts), uuids in claims.items():
        EventLogMatch.update(
            state=State.COLLECTED,
            due=None,
            leased=None,
            attempts=attempts - 1,  # this was none
            updated=utcnow(),
        ).where(
            one_of(EventLogMatch.uuid, uuids),
            EventLogMatch.state == State.ALLOWED,
            EventLogMatch.leased == leased,
        ).execute()
    dues: dict[UUID, datetime] = {}
    for each in deliveries:
        due, uuid = due_of(each), each.subscription.uuid
        dues[uuid] = min(dues.get(uuid, due), due)
    for uuid in sorted(dues):
        _schedule_no_later(uuid, dues[uuid])


@writing
def claim_digest(lease: float) -> tuple[UUID, datetime] | None:
    """Claim the digest that has been due longest; return its subscription, and its new due time.

    None: none is due.
    """
    now = utcnow()
    query = Digest.select(Digest.subscription).where(Digest.due <= now)
    rows = list(locking(query.order_by(Digest.due).limit(1), skip_locked=True).tuples())
    if not rows:
        return None
    due = now + timedelta(seconds=lease)
    Digest.update(due=due).where(Digest.subscription == rows[0][0]).execute()
    return rows[0][0], due


@reading
def is_digest_due() -> bool:
    """Tell whether any digest is due."""
    return Digest.select(Digest.subscription).where(Digest.due <= utcnow()).exists()


@writing
def postpone_digest(subscription: UUID, claimed: datetime, due: datetime) -> None:
    """Set when a claimed digest is due again, unless somebody else has done so."""
    Digest.update(due=due).where(
        Digest.subscription == subscription, Digest.due == claimed
    ).execute()


@writing
def finish_digest(subscription: UUID, claimed: datetime, due: datetime) -> None:
    """Forget a claimed digest if nothing is left to mail; otherwise it is due again."""
    row = locking(Digest.select().where(Digest.subscription == subscription)).get_or_none()
    if row is None or row.due != claimed:
        return
    if _collected(subscription).exists():
        Digest.update(due=due).where(Digest.subscription == subscription).execute()
    else:
        Digest.delete().where(Digest.subscription == subscription).execute()


@writing
def schedule_forgotten() -> int:
    """Make digests due of which deliveries wait and no row is left; return how many."""
    scheduled = Digest.select(Digest.subscription)
    query: Any = (
        EventLogMatch.select(EventLogMatch.event_match)
        .where(EventLogMatch.state == State.COLLECTED, EventLogMatch.event_match.not_in(scheduled))
        .distinct()
    )
    found = [uuid for (uuid,) in query.limit(_ROWS).tuples()]
    for uuid in sorted(found):
        _schedule_no_later(uuid, utcnow())
    return len(found)


@reading
def collected(subscription: UUID, limit: int) -> list[Collected]:
    """Return up to `limit` deliveries that wait for the next mail of a subscription, oldest first.

    If its probe is among them, that alone.
    """
    columns = EventLogMatch.uuid, EventLogMatch.event_log
    rows: Any = (
        _collected(subscription)
        .select(*columns)
        .join(EventLog)
        .order_by(EventLogMatch.created, EventLog.created, EventLogMatch.uuid)
    )
    found = [Collected(*row) for row in rows.limit(limit).tuples()]
    row = EventMatch.select(EventMatch.probe).where(EventMatch.uuid == subscription).get_or_none()
    probe = None if row is None else row.probe
    return [each for each in found if each.delivery == probe] or found


@writing
def claim_collected(uuids: Collection[UUID], lease: float) -> list[Delivery]:
    """Claim deliveries that wait for a mail, to send them now, for `lease` seconds.

    Those of a subscription that cannot be served any more are held or dropped.
    """
    now = utcnow()
    leased = now + timedelta(seconds=lease)
    columns = (
        EventLogMatch.uuid,
        EventLogMatch.event_log,
        EventLogMatch.event_match,
        EventLogMatch.attempts,
        EventLogMatch.failing,
        EventLogMatch.tries,
        EventLogMatch.cause,
    )
    query = EventLogMatch.select(*columns).where(
        one_of(EventLogMatch.uuid, uuids), EventLogMatch.state == State.COLLECTED
    )
    rows = list(locking(query.order_by(EventLogMatch.uuid), skip_locked=True).tuples())
    if not rows:
        return []
    EventLogMatch.update(
        state=State.ALLOWED, due=leased, leased=leased, attempts=EventLogMatch.attempts + 1
    ).where(one_of(EventLogMatch.uuid, [uuid for uuid, *_ in rows])).execute()
    claimed = [
        ClaimedRow(uuid, event, subscription, attempts + 1, failing, tries, Cause(cause))
        for uuid, event, subscription, attempts, failing, tries, cause in rows
    ]
    return deliverable(claimed, leased)


@writing
def send_otherwise(subscription: UUID) -> None:
    """Give back what waits for a mail of a subscription whose target is no address any more."""
    uuids = [uuid for (uuid,) in _collected(subscription).select(EventLogMatch.uuid).tuples()]
    lock_deliveries(uuids)
    now = utcnow()
    EventLogMatch.update(state=State.ALLOWED, due=now, updated=now).where(
        one_of(EventLogMatch.uuid, uuids), EventLogMatch.state == State.COLLECTED
    ).execute()


@writing
def deny_collected(uuids: Collection[UUID]) -> None:
    """Take note that Policy no longer allows what waits for a mail."""
    lock_deliveries(uuids)
    denied = (
        EventLogMatch.update(
            state=State.DENIED, due=None, policy_status_code="403", updated=utcnow()
        )
        .where(one_of(EventLogMatch.uuid, uuids), EventLogMatch.state == State.COLLECTED)
        .execute()
    )
    DB.handle().tallies.add(DELIVERIES_FINISHED, denied, "denied")


@reading
def names_of(subscriptions: Collection[UUID]) -> dict[UUID, str]:
    """Return the names of subscriptions."""
    rows: Any = EventMatch.select(EventMatch.uuid, EventMatch.name)
    return dict(rows.where(EventMatch.uuid.in_(list(subscriptions))).tuples())


@writing
def take_mails(limits: Mapping[str, int], seconds: float) -> datetime | None:
    """Count one mail under each of the names, which are hashes, if none has reached its limit.

    Otherwise nothing is counted, and the time is returned at which it may be counted.
    """
    now = utcnow()
    names = sorted(limits)
    fresh = [{"name": name, "began": now, "count": 0} for name in names]
    insert_rows(MailCount, fresh, unless_stored=True)
    query = MailCount.select().where(MailCount.name.in_(names)).order_by(MailCount.name)
    rows = {row.name: row for row in locking(query)}
    period = timedelta(seconds=seconds)
    waits = []
    for name, row in rows.items():
        if not now - period < row.began <= now:  # also if the clock was put back
            row.began, row.count = now, 0
        if row.count >= limits[name]:
            waits.append(row.began + period)
    if waits:
        return max(waits)
    for row in rows.values():
        MailCount.update(began=row.began, count=row.count + 1).where(
            MailCount.name == row.name
        ).execute()
    return None


@writing
def forget_counts(seconds: float) -> None:
    """Delete some counts of mails that no longer count."""
    before = utcnow() - timedelta(seconds=seconds)
    old = MailCount.select(MailCount.name).where(MailCount.began < before).limit(_ROWS)
    names = [row.name for row in old]
    if names:
        MailCount.delete().where(MailCount.name.in_(names), MailCount.began < before).execute()


def _collected(subscription: UUID) -> Any:
    return EventLogMatch.select().where(
        EventLogMatch.event_match == subscription, EventLogMatch.state == State.COLLECTED
    )


def _schedule_no_later(subscription: UUID, due: datetime) -> None:
    insert_rows(Digest, [{"subscription": subscription, "due": due}], unless_stored=True)
    Digest.update(due=due).where(Digest.subscription == subscription, Digest.due > due).execute()
