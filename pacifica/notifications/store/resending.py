"""Sending again what was sent before, or was given up."""

from uuid import UUID

import peewee

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import Cause, State
from pacifica.notifications.orm import EventLogMatch, writing
from pacifica.notifications.store.audit import record
from pacifica.notifications.store.history import LoggedDelivery
from pacifica.notifications.store.rowlocks import lock_deliveries


@writing
def resend(delivery: LoggedDelivery, actor: str, owner: str | None = None) -> None:
    """Have a delivery sent again at once, after Policy was asked; its id stays the same.

    `owner` is whose subscription it is, if it is not that of `actor`.
    """
    send_again([delivery.uuid], Cause.RESEND)
    details = {"delivery": str(delivery.uuid), "event": str(delivery.event)}
    record(actor, "delivery resent", owner or actor, delivery.subscription, details)


def send_again(deliveries: list[UUID], cause: Cause) -> int:
    """Make deliveries due as if they had just matched; part of the caller's transaction.

    One that a worker may be sending now is due when that worker's lease is over.
    """
    lock_deliveries(deliveries)
    now = utcnow()
    leased = EventLogMatch.leased
    due = peewee.Case(None, [(leased > now, leased)], now)
    return int(
        EventLogMatch.update(
            due=due, state=State.MATCHED, attempts=0, failing=None, cause=cause, updated=now
        )
        .where(EventLogMatch.uuid.in_(deliveries))
        .execute()
    )
