"""What a scrape reads is what is stored, on every engine."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import State
from pacifica.notifications.metrics import DELIVERIES_FINISHED
from pacifica.notifications.orm import (
    DeferredMatch,
    EventLog,
    EventLogMatch,
    EventMatch,
    Statistic,
    WorkerProcess,
    writing,
)
from pacifica.notifications.settings import Settings
from pacifica.notifications.store import (
    deliveries,
    events,
    expiring,
    holding,
    monitoring,
    statistics,
)
from pacifica.notifications.store.monitoring import Snapshot, snapshot
from pacifica.notifications.store.statistics import WORKER_EXPIRES, Worker
from tests.support import stored
from tests.support.children import children, release
from tests.support.configured import changed

AGE = timedelta(seconds=100)


@pytest.fixture(autouse=True)
def _no_statistics(database: str) -> None:  # noqa: ARG001 (it is configured by then)
    forget()


@writing
def forget() -> None:
    for model in (Statistic, WorkerProcess):
        model.delete().execute()


@writing
def defer(due: Any) -> None:
    DeferredMatch.create(event=uuid4(), user="alice", subscriptions="", due=due)


def totals() -> Mapping[str, int]:
    return snapshot().totals


def test_nothing_waits_when_there_is_nothing() -> None:
    assert snapshot() == Snapshot()


def test_events_that_wait_are_counted_with_the_age_of_the_one_that_is_due_first() -> None:
    first, failing, dispatched = stored.received(3)
    stored.write(EventLog, [first], due=utcnow() - AGE)
    stored.write(EventLog, [failing], attempts=3, due=utcnow() + AGE)
    stored.write(EventLog, [dispatched], due=None)
    found = snapshot()
    assert (found.events_waiting, found.events_failing) == (2, 1)
    assert 100 <= found.oldest_event < 130


def test_deliveries_that_wait_are_counted_by_state_and_others_are_not() -> None:
    subscription, other = stored.subscribe(), stored.subscribe("bob")
    stored.matched(subscription)
    stored.matched(subscription)
    _event, (sent, *_) = stored.allowed(other)
    for state in ("delivered", "denied", "dropped"):
        _event, uuids = stored.allowed(other)
        stored.write(EventLogMatch, uuids, state=state, due=None)
    stored.write(EventLogMatch, [sent], due=utcnow() - AGE)
    found = snapshot()
    waiting = {"matched": 2, "allowed": 1, "collected": 0, "available": 0, "held": 0}
    assert found.deliveries_waiting == waiting
    assert 100 <= found.oldest_delivery < 130
    holding.disable(subscription, "gone")
    assert snapshot().deliveries_waiting == {**waiting, "matched": 0, "held": 2}


def test_no_more_rows_are_counted_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitoring, "MAX_COUNTED", 2)
    subscription = stored.subscribe()
    for _ in range(3):
        stored.matched(subscription)
        defer(None)
    stored.received(3)
    found = snapshot()
    assert found.events_waiting == 2
    assert found.deliveries_waiting["matched"] == 2
    assert found.events_deferred == (0, 2)


def test_deferred_events_are_counted_by_what_they_wait_for() -> None:
    for due in (utcnow(), None, None):
        defer(due)
    assert snapshot().events_deferred == (1, 2)


def test_subscriptions_are_counted_by_state_without_deleted_ones() -> None:
    uuids = [stored.subscribe() for _ in range(6)]
    for_good, recovering, jsonpath, by_owner, deleted, _enabled = uuids
    holding.disable(for_good, "404")
    holding.disable(recovering, "503", probe_due=utcnow() + AGE)
    holding.disable(jsonpath, "its JSONPath failed", unmatched=True)
    stored.write(EventMatch, [by_owner], disabled=utcnow())
    stored.write(EventMatch, [deleted], disabled=utcnow(), deleted=utcnow())
    assert snapshot().subscriptions == {
        "enabled": 1,
        "owner": 1,
        "jsonpath": 1,
        "recovering": 1,
        "failed": 1,
    }


def test_counts_add_up_when_they_are_reported_again(monkeypatch: pytest.MonkeyPatch) -> None:
    statistics.report({"a": 1, "b": 2}, None)
    statistics.report({"a": 10}, None)
    monkeypatch.setattr("os.getpid", lambda: 12345)
    statistics.report({"a": 100, "c": 5}, None)
    assert totals() == {"a": 111, "b": 2, "c": 5}


REPORT = """
from pacifica.notifications.store.statistics import report
proceed()
for _ in range(50):
    report({"a": 1, "b": 2, "c": 3}, None)
"""


def test_no_count_is_lost_when_processes_report_at_once() -> None:
    with children(REPORT, REPORT, REPORT) as processes:
        release(processes)
    assert totals() == {"a": 150, "b": 300, "c": 450}


def test_worker_lives_from_its_first_report_to_its_end() -> None:
    one, other = (Worker(uuid4(), "celery@one", utcnow() - AGE) for _ in range(2))
    third = Worker(uuid4(), "celery@two", utcnow())
    for worker in (one, other, third, one):
        statistics.report({}, worker)
    found = snapshot().workers
    assert (found.workers, found.processes) == (2, 3)
    assert found.newest < 30
    statistics.worker_ended(third)
    found = snapshot().workers
    assert (found.workers, found.processes) == (1, 2)
    assert 100 <= found.newest < 130


def test_worker_is_dead_when_it_says_no_more_that_it_lives() -> None:
    worker, alive = (Worker(uuid4(), "celery@one", utcnow()) for _ in range(2))
    for each in (worker, alive):
        statistics.report({}, each)
    stored.write(
        WorkerProcess, [worker.uuid], renewed=utcnow() - timedelta(seconds=WORKER_EXPIRES + 1)
    )
    assert snapshot().workers.processes == 1
    assert statistics.forget_dead_workers() == 1
    assert statistics.forget_dead_workers() == 0
    statistics.report({}, worker)  # an outage of the database had kept it from saying so
    assert snapshot().workers.processes == 2


def test_bounds_are_near_when_much_or_long_is_held(settings: Settings) -> None:
    many, old, few = (stored.subscribe() for _ in range(3))
    for subscription, count in ((many, 9), (old, 1), (few, 8)):
        for _ in range(count):
            stored.matched(subscription)
        holding.disable(subscription, "gone")
    (ancient,) = [
        row.uuid for row in EventLogMatch.select().where(EventLogMatch.event_match == old)
    ]
    stored.write(EventLogMatch, [ancient], created=utcnow() - timedelta(seconds=95))
    bounds = changed(settings, holding_max_held=10, holding_max_age=100.0).holding
    for _ in range(2):
        statistics.note_bounds(bounds)
        assert totals()[statistics.NEAR_BOUND] == 2
    stored.forget_rows()
    statistics.note_bounds(bounds)
    assert totals()[statistics.NEAR_BOUND] == 0


def taken() -> Mapping[str, int]:
    """Return what the functions of the store have counted since the last time."""
    return stored.tallies().take()


def test_events_are_counted_when_they_are_stored_and_begun_again() -> None:
    taken()
    event, _ = stored.received(2)
    assert taken() == {"events_received:": 2}
    stored.claim_events()
    assert taken() == {}
    stored.let_leases_run_out(EventLog, [event])
    stored.claim_events()
    assert taken() == {"leases_expired:event": 1}
    stored.let_leases_run_out(EventLog, [event])
    stored.claim_suspect(event)
    assert taken() == {"leases_expired:event": 1}


def test_deliveries_are_counted_when_a_lease_ran_out() -> None:
    _event, uuids = stored.allowed(stored.subscribe())
    taken()
    deliveries.claim_allowed(uuids, stored.LEASE, 10)
    assert taken() == {}
    stored.let_leases_run_out(EventLogMatch, uuids)
    deliveries.claim_allowed(uuids, stored.LEASE, 10)
    assert taken() == {"leases_expired:delivery": 1}


def test_deliveries_are_counted_when_they_expire_or_are_dropped() -> None:
    kept, deleted = stored.subscribe(), stored.subscribe()
    stored.matched(kept, deleted)
    stored.matched(kept)
    holding.disable(kept, "gone")
    taken()
    assert expiring.expire(max_held=1, max_age=1000) == 1
    assert taken() == {"deliveries_finished:expired": 1}
    stored.subscriptions.delete("alice", deleted)
    assert taken() == {"deliveries_finished:dropped": 1}


def test_nothing_is_counted_when_a_transaction_is_rolled_back() -> None:
    taken()

    @writing
    def fail() -> None:
        events.record_all([stored.Event(uuid4(), "{}")])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert taken() == {}


def test_states_that_wait_and_states_that_are_counted_are_all_there_are() -> None:
    assert {*DELIVERIES_FINISHED.values, *monitoring.WAITING_STATES} == set(State)
