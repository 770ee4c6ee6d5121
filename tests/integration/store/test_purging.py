"""Old events go with their deliveries, and none that has something left to do."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from pacifica.notifications import tasks
from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import Attempt, Outcome
from pacifica.notifications.orm import (
    DeferredMatch,
    EventLog,
    EventLogMatch,
    WorkerProcess,
    insert_rows,
    reading,
    writing,
)
from pacifica.notifications.settings import RetentionSettings
from pacifica.notifications.stages.retention import Retention
from pacifica.notifications.store import deliveries, holding, purging, statistics
from pacifica.notifications.store.history import attempts_of
from pacifica.notifications.store.monitoring import snapshot
from pacifica.notifications.store.purging import Purged, purge_batch, purge_finished
from pacifica.notifications.store.statistics import Worker
from tests.support import stored
from tests.support.children import children, release

DAYS = timedelta(days=1)
OLD = 500 * DAYS


def finished(*to: UUID, age: timedelta = OLD) -> UUID:
    """Store an event of which every delivery has ended."""
    event = stored.matched(*to)
    stored.write(EventLogMatch, stored.deliveries_of(event), state="delivered", due=None)
    made(event, age)
    return event


def made(event: UUID, age: timedelta) -> None:
    stored.write(EventLog, [event], created=utcnow() - age, due=None)


@reading
def left() -> set[UUID]:
    return {row.uuid for row in EventLog.select(EventLog.uuid)}


@writing
def defer(event: UUID, *, parked: bool) -> None:
    due = None if parked else utcnow()
    DeferredMatch.create(event=event, user="alice", subscriptions="", due=due)


def test_finished_events_go_with_their_deliveries_when_they_are_too_old() -> None:
    subscription = stored.subscribe()
    new, old, unmatched = finished(subscription, age=DAYS), finished(subscription), finished()
    assert purge_finished([], utcnow() - 400 * DAYS) == Purged(2, 0)
    assert left() == {new}
    assert stored.deliveries_of(old) == []
    assert len(stored.deliveries_of(new)) == 1
    assert unmatched not in left()
    assert stored.tallies().take()["events_purged:"] == 2


def test_events_are_kept_when_they_have_something_left_to_do() -> None:
    subscription = stored.subscribe()
    waiting, turn, owner = finished(), finished(), finished()
    stored.write(EventLog, [waiting], due=utcnow())
    defer(turn, parked=False)
    defer(owner, parked=True)
    asked, allowed, held = (finished(subscription) for _ in range(3))
    for event, state in ((asked, "matched"), (allowed, "allowed"), (held, "held")):
        stored.write(EventLogMatch, stored.deliveries_of(event), state=state)
    unfinished = {waiting, turn, owner, asked, allowed, held}
    others = {finished(subscription) for _ in range(3)}
    assert purge_finished([], None, dry_run=True) == Purged(3, 6)
    assert left() == unfinished | others
    assert purge_finished([*unfinished, *others], None) == Purged(3, 6)
    assert left() == unfinished
    assert purge_finished(list(unfinished), None) == Purged(0, 6)
    assert left() == unfinished


def test_deliveries_that_are_held_for_a_disabled_subscription_are_kept() -> None:
    subscription = stored.subscribe()
    event = stored.matched(subscription)
    made(event, OLD)
    holding.disable(subscription, "gone")
    assert purge_finished([], utcnow()) == Purged(0, 1)
    assert left() == {event}


@pytest.mark.parametrize("unfinished", [True, False])
def test_purge_passes_by_events_that_are_kept_when_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, unfinished: bool
) -> None:
    monkeypatch.setattr(purging, "_EVENTS", 2)
    kept = [finished() for _ in range(5)]
    gone = [finished() for _ in range(5)]
    stored.write(EventLog, kept, due=utcnow())
    if unfinished:  # all of one moment, as those of a batch are
        stored.write(EventLog, [*kept, *gone], created=utcnow() - OLD)
    reports: list[int] = []
    assert purge_finished([], utcnow(), report=reports.append) == Purged(5, 5)
    assert left() == set(kept)
    assert reports == sorted(reports)
    assert reports[-1] == 10


def test_purge_deletes_few_deliveries_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "_DELIVERIES", 3)
    subscriptions = [stored.subscribe() for _ in range(7)]
    large, small = finished(*subscriptions), finished(*subscriptions[:3], age=OLD - DAYS)
    last, numbers = None, []
    for _ in range(5):
        batch = purge_batch(utcnow(), last)
        last = batch.last
        numbers.append(len(stored.deliveries_of(large)) + len(stored.deliveries_of(small)))
        if last is None:
            break
    assert all(before - after <= 3 for before, after in zip([10, *numbers], numbers, strict=False))
    assert left() == set()


def test_event_is_left_alone_when_a_worker_has_it_locked(migrated: str) -> None:
    if migrated.startswith("sqlite"):
        pytest.skip("SQLite locks no rows")
    locked, free = finished(), finished()
    program = f"""
from uuid import UUID
from pacifica.notifications.orm import EventLog, writing
@writing
def hold():
    list(EventLog.select().where(EventLog.uuid == UUID("{locked}")).for_update())
    proceed()
hold()
"""
    with children(program) as processes:
        assert purge_finished([], utcnow()).deleted == 1
        assert left() == {locked}
        release(processes)
    assert free not in left()
    assert purge_finished([], utcnow()).deleted == 1


def test_retention_deletes_some_events_with_each_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "_EVENTS", 2)
    kept, young = finished(), finished(age=399 * DAYS)
    stored.write(EventLog, [kept], due=utcnow())
    for _ in range(4):
        finished(age=OLD - DAYS)
    retention = Retention(RetentionSettings())
    counts = [retention.purge_some() for _ in range(4)]
    assert counts == [1, 2, 1, 0]
    assert left() == {kept, young}
    finished()
    assert retention.purge_some() == 0  # it rests for a minute
    assert Retention(RetentionSettings(max_age=0)).purge_some() == 0
    assert Retention(RetentionSettings()).purge_some() == 1


def test_late_answer_harms_nothing_when_its_event_was_purged() -> None:
    event, uuids = stored.allowed(stored.subscribe())
    (claimed,) = deliveries.claim_allowed(uuids, stored.LEASE, 10)
    stored.write(EventLogMatch, uuids, state="expired", due=None)
    made(event, OLD)
    assert purge_finished([event], None) == Purged(1, 0)
    made_attempt = Attempt(utcnow(), 9, "http://target.invalid/", "", "[]", 200, "[]", "", False)
    outcome = Outcome(claimed, True, None, "200", "", attempt=made_attempt)
    deliveries.record_outcomes([outcome])
    assert left() == set()
    assert attempts_of(claimed.uuid) == []


def test_very_many_events_go_in_short_transactions() -> None:
    now = utcnow() - OLD
    rows = [stored.event_row(now) for _ in range(1000)]
    writing(lambda: insert_rows(EventLog, rows))()
    assert purge_finished([], utcnow()) == Purged(1000, 0)


def test_sweep_deletes_old_events_and_dead_workers_and_is_counted() -> None:
    tasks.CELERY_APP.close_service()  # one that another test has left
    finished()
    dead = Worker(uuid4(), "celery@gone", utcnow())
    statistics.report({}, dead)
    stored.write(WorkerProcess, [dead.uuid], renewed=utcnow() - DAYS)
    try:
        tasks.sweep()
        assert left() == set()
        counts = tasks.CELERY_APP.service.tallies.take()
        assert (counts["sweeps:"], counts["events_purged:"]) == (1, 1)
    finally:
        tasks.CELERY_APP.close_service()
    assert statistics.forget_dead_workers() == 0
    assert statistics.NEAR_BOUND in snapshot().totals
