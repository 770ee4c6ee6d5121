"""What is too old of attempts, revisions and the audit log goes, and nothing else."""

from datetime import datetime, timedelta
from uuid import UUID, uuid4

from pacifica.notifications.clock import utcnow
from pacifica.notifications.orm import Attempt, AuditEntry, Revision, insert_rows, reading, writing
from pacifica.notifications.store import subscriptions
from pacifica.notifications.store.attempts import forget_details
from pacifica.notifications.store.audit import forget_entries, record
from pacifica.notifications.store.history import attempts_of
from pacifica.notifications.store.purging import purge_finished
from pacifica.notifications.store.revisionlog import forget_revisions, revisions_of
from tests.support import stored

OLD, LIMIT = timedelta(days=10), timedelta(days=5)


@writing
def attempted(delivery: UUID, started: datetime) -> None:
    row = {
        "delivery": delivery,
        "started": started,
        "number": 1,
        "milliseconds": 5,
        "cause": "automatic",
        "url": "http://target.invalid/",
        "address": "",
        "request": '[["A", "b"]]',
        "status": 200,
        "response": '[["C", "d"]]',
        "body": "said",
        "truncated": False,
        "outcome": "delivered",
        "next_attempt": None,
    }
    insert_rows(Attempt, [row])


def test_details_of_old_attempts_go_and_their_times_and_statuses_stay() -> None:
    now, (old, new) = utcnow(), (uuid4(), uuid4())
    attempted(old, now - OLD)
    attempted(new, now)
    assert forget_details(now - LIMIT, None) is None
    (gone,), (kept,) = attempts_of(old), attempts_of(new)
    assert (gone.request, gone.response, gone.body) == ("", "", "")
    assert (gone.status, gone.milliseconds, gone.outcome) == (200, 5, "delivered")
    assert (kept.request, kept.response, kept.body) == ('[["A", "b"]]', '[["C", "d"]]', "said")


def test_attempts_go_with_their_event() -> None:
    event, (delivery,) = stored.allowed(stored.subscribe())
    stored.write(stored.EventLogMatch, [delivery], state="delivered", due=None)
    attempted(delivery, utcnow())
    assert purge_finished([event], None).deleted == 1
    assert attempts_of(delivery) == []


@writing
def changed_at(subscription: UUID, *moments: datetime) -> None:
    """Date the revisions of a subscription, oldest first."""
    rows = Revision.select().where(Revision.subscription == subscription)
    for row, moment in zip(rows.order_by(Revision.revision), moments, strict=True):
        Revision.update(changed=moment).where(
            Revision.subscription == subscription, Revision.revision == row.revision
        ).execute()


def test_revision_stays_as_long_as_it_says_what_a_subscription_was() -> None:
    now, uuid = utcnow(), stored.subscribe()
    for name in ("second", "third"):
        subscriptions.update("alice", uuid, lambda _stored, name=name: {"name": name})
    changed_at(uuid, now - 2 * OLD, now - OLD, now)
    assert forget_revisions(now - LIMIT) == 1
    assert [each.name for each in revisions_of(uuid, 10)] == ["third", "second"]
    assert forget_revisions(now - LIMIT) == 0


def test_old_entries_of_the_audit_log_go() -> None:
    record("alice", "old", "alice")
    writing(lambda: AuditEntry.update(moment=utcnow() - OLD).execute())()
    record("alice", "new", "alice")
    assert forget_entries(utcnow() - LIMIT) == 1
    assert reading(lambda: [row.action for row in AuditEntry.select()])() == ["new"]
