"""What owners are told of their subscriptions: by events of the service's own, and by mail.

What there is to tell is noted in the transaction that changes a subscription. It is told by the
sweep, if it is still true then, and never more than once an hour for a subscription.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import peewee

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import Notice as Kind
from pacifica.notifications.flow import State
from pacifica.notifications.jsontext import write_json
from pacifica.notifications.orm import (
    EventLog,
    EventLogMatch,
    EventMatch,
    Notice,
    insert_rows,
    reading,
    writing,
)
from pacifica.notifications.store.rowlocks import locking

#: The types of the service's own events begin with this.
EVENT_TYPES: Final = "org.pacifica.notifications."
#: The least seconds between two notices about one subscription.
INTERVAL: Final = 3600.0
#: So many seconds before they expire, held deliveries are worth a notice.
EXPIRING_BEFORE: Final = 2 * 86400.0
# How many subscriptions one transaction looks at.
_ROWS = 100
_MAX_MAIL_ATTEMPTS = 5
_FIRST_MAIL_WAIT = 60.0


@dataclass(frozen=True)
class NoticeMail:
    """A notice that is to be mailed to an owner."""

    subscription: UUID
    kind: Kind
    told: datetime
    user: str
    name: str
    error: str


def note(subscription: UUID, kind: Kind) -> None:
    """Note what its owner is to be told of a subscription, in the transaction that changes it.

    What was noted before and was not told is forgotten.
    """
    now = utcnow()
    insert_rows(
        Notice,
        [
            {
                "subscription": subscription,
                "kind": kind,
                "due": now,
                "said": "",
                "told": None,
                "mail_due": None,
                "attempts": 0,
            }
        ],
        unless_stored=True,
    )
    row = locking(Notice.select().where(Notice.subscription == subscription)).get()
    wait = timedelta(seconds=INTERVAL)
    # A time ahead of now is of before the clock was put back.
    due = row.told + wait if row.told is not None and now - wait < row.told <= now else now
    Notice.update(kind=kind, due=due).where(Notice.subscription == subscription).execute()


@writing
def tell_due(*, mail: bool) -> list[UUID]:
    """Tell some owners what is due, if it is still true; return the events that tell it.

    With `mail`, those who want that are mailed it as well.
    """
    now = utcnow()
    events = []
    query = Notice.select().where(Notice.due <= now).order_by(Notice.due).limit(_ROWS)
    for row in list(locking(query, skip_locked=True)):
        told = EventMatch.get_or_none(
            (EventMatch.uuid == row.subscription) & EventMatch.deleted.is_null()
        )
        kind = Kind(row.kind)
        changes: dict[Any, Any] = {"due": None}
        if told is not None and _is_true(kind, row.said, told):
            events.append(_insert_event(told, kind, now))
            mail_due = now if mail and told.tell_owner else None
            changes |= {"said": kind, "told": now, "mail_due": mail_due, "attempts": 0}
        Notice.update(changes).where(Notice.subscription == row.subscription).execute()
    return events


@writing
def note_expiring(max_age: float) -> int:
    """Note for which subscriptions the first held deliveries are about to expire; return how many.

    Each is noted once while it is disabled.
    """
    before = utcnow() - timedelta(seconds=max_age - min(EXPIRING_BEFORE, max_age / 2))
    oldest = peewee.fn.MIN(EventLogMatch.created)
    rows: Any = (
        EventLogMatch.select(EventLogMatch.event_match)
        .join(EventMatch)
        .where(EventLogMatch.state == State.HELD, EventMatch.holding)
        .group_by(EventLogMatch.event_match)
        .having(oldest < before)
        .tuples()
    )
    known = Notice.select(Notice.subscription).where(Notice.said == Kind.EXPIRING)
    told = {row.subscription for row in known}
    found = [uuid for (uuid,) in rows if uuid not in told]
    for uuid in sorted(found)[:_ROWS]:
        note(uuid, Kind.EXPIRING)
    return len(found)


@writing
def claim_notice_mail(lease: float) -> NoticeMail | None:
    """Claim a notice that is to be mailed, and count the attempt; None: there is none."""
    now = utcnow()
    row = Notice.select().where(Notice.mail_due <= now).order_by(Notice.mail_due).first()
    if row is None:
        return None
    wait = max(lease, _FIRST_MAIL_WAIT * 2 ** min(row.attempts, 16))
    again = row.attempts + 1 < _MAX_MAIL_ATTEMPTS
    claimed = Notice.update(
        mail_due=now + timedelta(seconds=wait) if again else None, attempts=row.attempts + 1
    ).where(Notice.subscription == row.subscription, Notice.mail_due == row.mail_due)
    told = EventMatch.get_or_none(EventMatch.uuid == row.subscription)
    if not claimed.execute() or told is None or row.told is None:
        return None
    return NoticeMail(
        row.subscription, Kind(row.said), row.told, told.user, told.name, told.error or ""
    )


@reading
def is_notice_mail_due() -> bool:
    """Tell whether any notice is to be mailed."""
    query = Notice.select(Notice.subscription).where(Notice.mail_due <= utcnow())
    return query.exists()


@writing
def notice_mailed(mail: NoticeMail) -> None:
    """Take note that a notice need not be mailed any more."""
    Notice.update(mail_due=None).where(
        Notice.subscription == mail.subscription, Notice.told == mail.told
    ).execute()


def is_about(document: Mapping[str, Any], subscription: UUID) -> bool:
    """Tell whether an event of the service's own is about a subscription."""
    return document.get("subject") == str(subscription)


def _is_true(kind: Kind, said: str, row: EventMatch) -> bool:
    is_failing = row.disabled is not None and bool(row.holding)
    match kind:
        case Kind.DISABLED:
            return is_failing
        case Kind.RECOVERED:  # of what its owner was told before
            return row.disabled is None and said in (Kind.DISABLED, Kind.EXPIRING)
        case Kind.EXPIRING:
            return is_failing and said != Kind.EXPIRING


def _insert_event(row: EventMatch, kind: Kind, now: datetime) -> UUID:
    uuid = uuid4()
    time = now.replace(tzinfo=UTC).isoformat()
    document = {
        "specversion": "1.0",
        "type": f"{EVENT_TYPES}{kind}",
        "source": "/eventmatch",
        "id": str(uuid),
        "time": time,
        "subject": str(row.uuid),
        "datacontenttype": "application/json",
        "data": {
            "subscription": str(row.uuid),
            "name": row.name,
            "error": row.error,
            "disabled": row.disabled and row.disabled.isoformat(timespec="microseconds"),
        },
    }
    insert_rows(
        EventLog,
        [
            {
                "uuid": uuid,
                "jsondata": write_json(document),
                "created": now,
                "due": now,
                "attempts": 0,
                "hops": 0,
                "specversion": "1.0",
                "event_type": document["type"],
                "event_source": document["source"],
                "event_id": str(uuid),
                "event_time": time,
                "owner": row.user,
            }
        ],
    )
    return uuid
