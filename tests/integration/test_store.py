"""The store on every engine: claims and leases, holding and releasing, revisions, purging."""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.config import load_settings
from pacifica.notifications.errors import StoreUnavailable
from pacifica.notifications.events import Event
from pacifica.notifications.flow import Delivery, Outcome, Ruling, State
from pacifica.notifications.orm import DB, EventLog, EventLogMatch, EventMatch, Lease
from pacifica.notifications.orm.transaction import writing
from pacifica.notifications.store import deliveries, events, holding, recovery, subscriptions
from pacifica.notifications.store.leases import take_lease
from pacifica.notifications.store.revisions import advance_revision, current_revision
from pacifica.notifications.store.subscriptions import Change
from pacifica.notifications.subscriptions import Subscription
from tests.support import databases
from tests.support.stored import (
    LEASE,
    allowed,
    claim_events,
    deliveries_of,
    forget_rows,
    let_leases_run_out,
    matched,
    migrated_database,
    receive,
    received,
    row,
    state,
    subscribe,
    uuids_of,
    write,
)

ONLY_SERVERS = pytest.mark.parametrize("migrated", databases.ON_SERVERS, indirect=True)
ONLY_SQLITE = pytest.mark.parametrize("migrated", ["sqlite"], indirect=True)
SOON = timedelta(seconds=10)


@pytest.fixture(scope="module", params=databases.ENGINES)
def migrated(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Give the URL of a migrated database that the tests of this module share."""
    with migrated_database(request.param, tmp_path_factory.mktemp("store")) as url:
        yield url


@pytest.fixture(autouse=True)
def database(migrated: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Configure the service for a database without rows."""
    with databases.configured(migrated, monkeypatch):
        forget_rows()
        yield migrated


# Events


@pytest.mark.parametrize(
    "value", ["é 😀", "\0", "\ud800", 2**70, 1.5e-300, None, ["x" * 100_000], [[[]]] * 30_000]
)
def test_record_keeps_the_text_of_an_event(value: Any) -> None:
    text = json.dumps({"data": value})
    event = receive(text)
    (logged,) = events.logged([event], start=None, end=None, limit=1)
    assert (logged.text, logged.dispatched) == (text, False)
    claimed = Delivery(uuid4(), event, 1, Subscription(uuid4(), "", "", {}, {}, 0))
    assert deliveries.events_of([claimed]) == {event: Event(event, text)}
    assert claim_events([event]) == [Event(event, text)]


def test_due_events_are_those_that_wait_longest_first() -> None:
    ids = received(4)
    for seconds, event in enumerate(reversed(ids)):
        write(EventLog, [event], due=utcnow() - timedelta(seconds=100 - seconds))
    assert events.due_events(10) == ids[::-1]
    assert events.due_events(2) == ids[:1:-1]
    write(EventLog, ids[:1], due=utcnow() + SOON)
    write(EventLog, ids[1:2], due=None)
    assert events.due_events(10) == ids[:1:-1]


def test_claimed_events_are_nobody_elses_until_the_lease_runs_out() -> None:
    ids = received(3)
    assert uuids_of(claim_events(ids[:2])) == set(ids[:2])
    assert uuids_of(claim_events(ids)) == set(ids[2:])
    assert claim_events(ids) == []
    assert events.due_events(10) == []
    left = row(EventLog, ids[0]).due - utcnow()
    assert timedelta(seconds=LEASE) - SOON < left <= timedelta(seconds=LEASE)
    let_leases_run_out(EventLog, ids[1:])
    assert set(events.due_events(10)) == set(ids[1:])
    assert uuids_of(claim_events(ids)) == set(ids[1:])


def test_claimers_at_once_take_disjoint_sets_that_leave_nothing() -> None:
    ids = received(40)
    start = threading.Barrier(4)

    def claimer(number: int) -> list[UUID]:
        start.wait(10)
        taken: list[UUID] = []
        for begin in range(0, 40, 5):
            part = ids[begin + number :] + ids[: begin + number]
            taken += [event.uuid for event in claim_events(part[:10])]
        return taken

    with ThreadPoolExecutor(4) as threads:
        taken = [uuid for each in threads.map(claimer, range(4)) for uuid in each]
    assert sorted(taken) == sorted(ids)


@ONLY_SERVERS
def test_claim_skips_what_another_one_is_claiming_at_the_moment() -> None:
    ids = received(15)

    @writing
    def claim_while_another_does() -> tuple[set[UUID], set[UUID]]:
        mine = uuids_of(claim_events(ids[:10]))
        with ThreadPoolExecutor(1) as thread:
            began = time.monotonic()
            theirs = uuids_of(thread.submit(claim_events, ids[5:]).result(10))
            assert time.monotonic() - began < 1
        return mine, theirs

    assert claim_while_another_does() == (set(ids[:10]), set(ids[10:]))


def test_claim_that_fails_takes_nothing() -> None:
    ids = received(2)

    @writing
    def fail() -> None:
        assert len(claim_events(ids)) == 2
        raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert len(claim_events(ids)) == 2


def test_matches_are_recorded_once() -> None:
    to = [subscribe() for _ in range(3)]
    event = receive()
    assert events.record_matches(event, to)
    assert not events.record_matches(event, to)
    assert not events.record_matches(uuid4(), to)
    (logged,) = events.logged([event], start=None, end=None, limit=1)
    assert logged.dispatched
    assert {match.subscription for match in logged.matches} == set(to)
    assert {match.state for match in logged.matches} == {"matched"}
    assert claim_events([event]) == []


def test_matches_are_recorded_once_by_workers_at_once() -> None:
    to, event = subscribe(), receive()
    start = threading.Barrier(4)

    def worker(_number: int) -> bool:
        start.wait(10)
        return events.record_matches(event, [to])

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(worker, range(4))) == [False, False, False, True]
    assert len(deliveries_of(event)) == 1


def test_matches_are_recorded_whatever_their_number() -> None:
    to = [subscribe()] * 250
    assert len(deliveries_of(matched(*to))) == 250


def test_event_that_is_dispatched_again_gets_its_matches_once_more() -> None:
    to = subscribe()
    event = matched(to)
    absent = uuid4()
    assert events.dispatch_again([event, absent]) == [event]
    assert events.unknown([event, absent]) == [absent]
    assert events.due_events(10) == [event]
    assert uuids_of(claim_events([event])) == {event}
    assert events.record_matches(event, [to])
    assert len(deliveries_of(event)) == 2


def test_logged_gives_the_newest_events_of_a_time() -> None:
    ids = received(4)
    noon = datetime(2026, 1, 31, 12, 0, 0, 123456)
    for minutes, event in enumerate(ids):
        write(EventLog, [event], created=noon + timedelta(minutes=minutes))
    start, end = noon + timedelta(minutes=1), noon + timedelta(minutes=3)

    def found(**of: Any) -> list[UUID]:
        given = {"uuids": (), "start": None, "end": None, "limit": 10, **of}
        return [each.uuid for each in events.logged(given.pop("uuids"), **given)]

    assert found() == ids[::-1]
    assert found(limit=2) == ids[:1:-1]
    assert found(start=start, end=end) == ids[:0:-1]
    assert found(end=noon) == ids[:1]
    assert found(uuids=ids[:2]) == ids[1::-1]
    (oldest,) = events.logged(ids[:1], start=None, end=None, limit=1)
    assert oldest.created == noon


def test_purge_deletes_all_there_are_when_they_are_more_than_one_transaction_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events, "_EVENTS_PER_PURGE", 2)
    for _ in range(5):
        events.record(Event(uuid4(), "{}"))
    assert events.purge([], utcnow() + SOON) == 5
    assert EventLog.select().count() == 0


def test_purge_deletes_old_events_with_their_matches_and_no_others() -> None:
    to = subscribe()
    old, new, other = matched(to), matched(to), matched(to)
    write(EventLog, [old, other], created=utcnow() - timedelta(days=2))
    yesterday = utcnow() - timedelta(days=1)
    assert events.purge([old, new], yesterday) == 1
    assert events.unknown([old, new, other]) == [old]
    assert deliveries_of(old) == []
    assert len(deliveries_of(new)) == len(deliveries_of(other)) == 1
    assert events.purge([], yesterday) == 1
    assert events.purge([new, uuid4()], None) == 1
    assert events.unknown([old, new, other]) == [old, new, other]
    assert row(EventMatch, to).deleted is None


# Deliveries


def test_claimed_delivery_tells_what_its_subscription_says() -> None:
    to = subscribe()
    changes = {"extensions": {"é": [1]}, "auth": {"type": "header"}}
    subscriptions.update("alice", to, lambda _stored: changes)
    event = matched(to)
    (claimed,) = deliveries.claim_matched([event], LEASE, 10)
    assert (claimed.event, claimed.attempts) == (event, 1)
    subscription = claimed.subscription
    assert (subscription.uuid, subscription.user) == (to, "alice")
    assert (subscription.extensions, subscription.auth) == ({"é": [1]}, {"type": "header"})
    assert subscription.revision == current_revision()


def test_claimed_deliveries_are_nobody_elses_until_the_lease_runs_out() -> None:
    event = matched(subscribe(), subscribe())
    (first,) = deliveries.claim_matched([event], LEASE, 1)
    (second,) = deliveries.claim_matched([event], LEASE, 10)
    assert {first.uuid, second.uuid} == set(deliveries_of(event))
    assert deliveries.claim_matched([event], LEASE, 10) == []
    assert deliveries.due_matched(10) == []
    let_leases_run_out(EventLogMatch, [first.uuid])
    assert deliveries.due_matched(10) == [event]
    (again,) = deliveries.claim_matched([event], LEASE, 10)
    assert (again.uuid, again.attempts) == (first.uuid, 2)


def test_due_functions_tell_what_each_stage_has_to_do() -> None:
    to, other = subscribe(), subscribe("bob")
    waiting = matched(to, other)
    _event, sendable = allowed(to, other)
    assert deliveries.due_matched(10) == [waiting]
    assert sorted(deliveries.due_allowed(10)) == sorted(sendable)
    assert len(deliveries.due_allowed(1)) == 1
    assert deliveries.claim_allowed(deliveries_of(waiting), LEASE) == []
    assert uuids_of(deliveries.claim_allowed(sendable, LEASE)) == set(sendable)
    assert deliveries.due_allowed(10) == []
    matched(to)
    assert len(deliveries.due_matched(1)) == 1
    assert len(deliveries.due_matched(10)) == 2


@pytest.mark.parametrize(
    ("ruled", "due", "expected"),
    [
        (State.ALLOWED, utcnow(), ("allowed", True, 0)),
        (State.DENIED, None, ("denied", False, 0)),
        (State.MATCHED, utcnow() + SOON, ("matched", True, 1)),
    ],
)
def test_ruling_is_recorded_with_what_policy_answered(
    ruled: State, due: datetime | None, expected: tuple[str, bool, int]
) -> None:
    event = matched(subscribe())
    (claimed,) = deliveries.claim_matched([event], LEASE, 10)
    deliveries.record_rulings([Ruling((claimed,), ruled, due, "412", "é 😀")])
    assert state(claimed.uuid) == expected
    (logged,) = events.logged([event], start=None, end=None, limit=1)
    assert (logged.matches[0].policy_status, logged.matches[0].policy_body) == ("412", "é 😀")


def test_ruling_does_not_take_back_what_was_held_meanwhile() -> None:
    to = subscribe()
    (claimed,) = deliveries.claim_matched([matched(to)], LEASE, 10)
    holding.disable(to, "broken")
    deliveries.record_rulings([Ruling((claimed,), State.ALLOWED, utcnow(), "200", "")])
    assert state(claimed.uuid)[0] == "held"


def test_delivered_outcome_is_recorded_whatever_became_of_the_delivery() -> None:
    to = subscribe()
    event, uuids = allowed(to)
    (claimed,) = deliveries.claim_allowed(uuids, LEASE)
    holding.disable(to, "broken")
    deliveries.record_outcomes([Outcome(claimed, True, None, "200", "thanks")])
    assert state(claimed.uuid) == ("delivered", False, 1)
    (logged,) = events.logged([event], start=None, end=None, limit=1)
    assert (logged.matches[0].target_status, logged.matches[0].target_body) == ("200", "thanks")


def test_failed_outcome_of_an_earlier_try_does_not_count() -> None:
    _event, uuids = allowed(subscribe())
    (slow,) = deliveries.claim_allowed(uuids, LEASE)
    let_leases_run_out(EventLogMatch, uuids)
    (later,) = deliveries.claim_allowed(uuids, LEASE)
    deliveries.record_outcomes([Outcome(slow, False, utcnow(), "500", "")])
    assert deliveries.due_allowed(10) == []
    deliveries.record_outcomes([Outcome(later, True, None, "200", "")])
    deliveries.record_outcomes([Outcome(slow, False, utcnow(), "500", "")])
    assert state(slow.uuid) == ("delivered", False, 2)


def test_outcome_that_the_target_had_no_part_in_is_no_attempt() -> None:
    _event, uuids = allowed(subscribe())
    (claimed,) = deliveries.claim_allowed(uuids, LEASE)
    deliveries.record_outcomes([Outcome(claimed, False, utcnow(), "", "closed", tried=False)])
    (again,) = deliveries.claim_allowed(uuids, LEASE)
    assert again.attempts == 1


def test_outcome_with_an_error_disables_and_holds() -> None:
    to = subscribe()
    _event, uuids = allowed(to)
    also = matched(to)
    (claimed,) = deliveries.claim_allowed(uuids, LEASE)
    deliveries.record_outcomes([Outcome(claimed, False, utcnow(), "404", "no", "gone é\0")])
    found = row(EventMatch, to)
    assert (found.error, found.holding) == ("gone é\ufffd", True)
    assert utcnow() - SOON < found.disabled <= utcnow()
    assert state(claimed.uuid)[:2] == ("held", False)
    assert state(deliveries_of(also)[0])[:2] == ("held", False)


def test_outcome_with_an_error_does_not_disable_what_its_owner_changed() -> None:
    to = subscribe()
    _event, uuids = allowed(to)
    (claimed,) = deliveries.claim_allowed(uuids, LEASE)
    subscriptions.update("alice", to, lambda _stored: {"name": "changed"})
    deliveries.record_outcomes([Outcome(claimed, False, utcnow(), "404", "no", "gone")])
    assert row(EventMatch, to).disabled is None
    assert deliveries.due_allowed(10) == uuids


def test_delivery_is_dropped_when_its_subscription_was_deleted() -> None:
    to, other = subscribe(), subscribe()
    event = matched(to, other)
    subscriptions.delete("alice", to)
    claimed = deliveries.claim_matched([event], LEASE, 10)
    assert [each.subscription.uuid for each in claimed] == [other]
    assert sorted(state(each)[0] for each in deliveries_of(event)) == ["dropped", "matched"]


# Holding


def test_disable_happens_once_and_only_to_what_is_enabled() -> None:
    to, other, gone = subscribe(), subscribe(), subscribe()
    subscriptions.delete("alice", gone)
    before = current_revision()
    assert holding.disable(to, "first")
    assert current_revision() == row(EventMatch, to).revision == before + 1
    assert not holding.disable(to, "second")
    assert not holding.disable(gone, "error")
    assert not holding.disable(uuid4(), "error")
    assert row(EventMatch, to).error == "first"
    assert row(EventMatch, other).disabled is None
    assert row(EventMatch, gone).disabled is None


def test_disable_with_a_revision_only_when_nothing_changed_since() -> None:
    to = subscribe()
    seen = row(EventMatch, to).revision
    subscriptions.update("alice", to, lambda _stored: {"name": "changed"})
    assert not holding.disable(to, "error", revision=seen)
    assert holding.disable(to, "error", revision=row(EventMatch, to).revision)


def test_what_is_held_is_released_when_its_owner_enables_the_subscription() -> None:
    to, other = subscribe(), subscribe()
    (held, kept) = (deliveries_of(matched(each))[0] for each in (to, other))
    _event, (sendable,) = allowed(to)
    holding.disable(to, "error")
    holding.disable(other, "error")
    assert [state(each)[:2] for each in (held, sendable, kept)] == [("held", False)] * 3
    assert deliveries.due_matched(10) == []
    subscriptions.update("alice", to, lambda _stored: {"error": None})
    assert state(held)[0] == "held"
    enabled = {"disabled": None, "error": None}
    subscriptions.update("alice", to, lambda _stored: enabled)
    assert recovery.due_held(10) == [to]
    recovery.hand_on_held(to, load_settings())
    assert [state(each) for each in (held, sendable)] == [("matched", True, 0)] * 2
    assert state(kept)[0] == "held"
    assert recovery.due_held(10) == []
    assert len(deliveries.due_matched(10)) == 2


def test_hold_for_disabled_leaves_enabled_subscriptions_alone() -> None:
    to, other = subscribe(), subscribe()
    event = matched(to, other)
    write(EventMatch, [to], disabled=utcnow())
    holding.hold_for_disabled([to, other])
    assert sorted(state(each)[0] for each in deliveries_of(event)) == ["held", "matched"]


# Revisions


def test_every_change_of_a_subscription_advances_the_revision() -> None:
    seen = [current_revision()]
    to = subscribe()
    for change in (
        lambda: None,
        lambda: subscriptions.update("alice", to, lambda _stored: {"name": "changed"}),
        lambda: holding.disable(to, "error"),
        lambda: subscriptions.delete("alice", to),
    ):
        change()
        seen.append(current_revision())
        assert row(EventMatch, to).revision == seen[-1]
    assert seen == list(range(seen[0], seen[0] + 5))


def test_changed_since_gives_each_changed_subscription_as_matching_sees_it() -> None:
    before = current_revision()
    plain, own, held, exhausted, gone, changed = (subscribe() for _ in range(6))
    subscriptions.update("alice", own, lambda _stored: {"disabled": utcnow()})
    holding.disable(held, "error")
    holding.disable(exhausted, "too much", holding=False)
    subscriptions.delete("alice", gone)
    between = current_revision()
    subscriptions.update("alice", changed, lambda _stored: {"jsonpath": "$.other"})
    now = current_revision()
    expected = {plain: "$.data", own: None, held: "$.data", exhausted: None, gone: None}

    def found(known: int, upto: int) -> dict[UUID, str | None]:
        changes: list[Change] = subscriptions.changed_since(known, upto)
        assert len(changes) == len({each.uuid for each in changes})
        return {each.uuid: each.jsonpath for each in changes}

    assert found(before, between) == expected
    assert found(before, now) == {**expected, changed: "$.other"}
    assert found(between, now) == {changed: "$.other"}
    assert found(now, now) == {}


def test_revisions_of_changes_at_once_are_all_different() -> None:
    before = current_revision()
    with ThreadPoolExecutor(4) as threads:
        taken = list(threads.map(lambda _: advance_revision(), range(40)))
    assert sorted(taken) == list(range(before + 1, before + 41))


def test_revision_of_a_change_that_fails_is_not_taken() -> None:
    to, before = subscribe(), current_revision()

    def refuse(_stored: dict[str, Any]) -> dict[str, Any]:
        raise KeyError

    with pytest.raises(KeyError):
        subscriptions.update("alice", to, refuse)
    assert subscriptions.update("bob", to, refuse) is None
    assert row(EventMatch, to).revision <= current_revision()
    assert subscriptions.changed_since(before, current_revision()) == []


# Owners


@pytest.mark.parametrize("other", ["Alice", "ALICE", "álice", "alice ", "alic"])
def test_users_with_names_that_look_alike_do_not_see_each_other(other: str) -> None:
    mine, theirs = subscribe("alice"), subscribe(other)
    assert [each["uuid"] for each in subscriptions.of_user("alice")] == [str(mine)]
    assert [each["uuid"] for each in subscriptions.of_user(other)] == [str(theirs)]
    assert subscriptions.one_of_user(other, mine) is None
    assert subscriptions.update(other, mine, lambda _stored: {"name": "taken"}) is None
    assert not subscriptions.delete(other, mine)
    stored = subscriptions.one_of_user("alice", mine)
    assert stored is not None
    assert stored["name"] == "n"


# Leases


def test_lease_is_one_workers_until_it_runs_out() -> None:
    assert take_lease("sweep", LEASE)
    assert not take_lease("sweep", LEASE)
    assert take_lease("other", 0.0)
    assert take_lease("other", LEASE)
    assert not take_lease("other", LEASE)


def test_lease_is_taken_by_one_of_workers_at_once() -> None:
    for _ in range(3):
        start = threading.Barrier(4)

        def worker(_number: int, start: threading.Barrier = start) -> bool:
            start.wait(10)
            return take_lease("sweep", LEASE)

        with ThreadPoolExecutor(4) as threads:
            assert sorted(threads.map(worker, range(4))) == [False, False, False, True]
        let_duties_run_out()


@writing
def let_duties_run_out() -> None:
    Lease.update(expires=utcnow() - SOON).execute()


# Transactions


@ONLY_SERVERS
def test_function_runs_again_when_its_idle_connection_had_died(database: str) -> None:
    event = receive()
    databases.hang_up(database)
    assert events.due_events(10) == [event]
    databases.hang_up(database)
    assert uuids_of(claim_events([event])) == {event}


@ONLY_SERVERS
def test_functions_that_are_in_each_others_way_both_take_place_in_the_end() -> None:
    first, second = received(2)
    both_have_one = threading.Barrier(2)

    @writing
    def touch(mine: UUID, other: UUID, runs: list[int]) -> None:
        runs.append(1)
        EventLog.update(due=None).where(EventLog.uuid == mine).execute()
        if len(runs) == 1:
            both_have_one.wait(10)
        EventLog.update(due=None).where(EventLog.uuid == other).execute()

    attempts: tuple[list[int], list[int]] = ([], [])
    with ThreadPoolExecutor(2) as threads:
        one = threads.submit(touch, first, second, attempts[0])
        other = threads.submit(touch, second, first, attempts[1])
        one.result(20)
        other.result(20)
    assert sum(map(len, attempts)) == 3


@ONLY_SQLITE
def test_write_waits_while_another_program_writes(database: str) -> None:
    to = subscribe()
    with writing_program(database) as finish, ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(events.record, Event(uuid4(), "{}"))
        assert events.due_events(10) == []  # a reader does not wait
        assert not waiting.done()
        finish()
        waiting.result(10)
    assert len(events.due_events(10)) == 1
    assert row(EventMatch, to).name == "n"


@ONLY_SQLITE
def test_write_is_given_up_when_another_program_writes_too_long(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_BUSY_TIMEOUT", "0.1")
    DB.unbind()
    with writing_program(database):
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            receive()
        assert time.monotonic() - began < 3
    assert receive()


class writing_program:  # noqa: N801 (a context manager)
    """Another program that is in the middle of a write to an SQLite database."""

    def __init__(self, database: str) -> None:
        file = urlsplit(database).path[1:]
        self._connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)

    def __enter__(self) -> Callable[[], None]:
        self._connection.execute("BEGIN IMMEDIATE")
        return lambda: self._connection.rollback()

    def __exit__(self, *_: object) -> None:
        with closing(self._connection) as connection:
            connection.rollback()


def test_store_without_tables_says_that_dbsync_is_needed() -> None:
    rename("notificationcounter", "absent")
    try:
        with pytest.raises(StoreUnavailable, match="dbsync"):
            current_revision()
        with pytest.raises(StoreUnavailable, match="dbsync"):
            subscribe()
    finally:
        rename("absent", "notificationcounter")
    assert subscribe()


@writing
def rename(table: str, name: str) -> None:
    DB.execute_sql(f"ALTER TABLE {table} RENAME TO {name}")
