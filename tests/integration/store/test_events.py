"""The log of events on every engine: recording, claims and leases, matches, purging."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.events import Event
from pacifica.notifications.flow import Delivery
from pacifica.notifications.orm import EventLog, EventMatch, writing
from pacifica.notifications.store import deliveries, events
from pacifica.notifications.subscriptions import Subscription
from tests.support import databases
from tests.support.stored import (
    LEASE,
    SOON,
    claim_events,
    claim_suspect,
    deliveries_of,
    let_leases_run_out,
    matched,
    receive,
    received,
    record_matches,
    row,
    subscribe,
    uuids_of,
    write,
)

ONLY_SERVERS = pytest.mark.parametrize("engine", databases.ON_SERVERS, indirect=True)


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
    assert claim_events() == [Event(event, text)]


def test_due_events_are_those_that_wait_longest_first() -> None:
    ids = received(4)
    for seconds, event in enumerate(reversed(ids)):
        write(EventLog, [event], due=utcnow() - timedelta(seconds=100 - seconds))
    assert events.due_events(10) == ids[::-1]
    assert events.due_events(2) == ids[:1:-1]
    write(EventLog, ids[:1], due=utcnow() + SOON)
    write(EventLog, ids[1:2], due=None)
    assert events.due_events(10) == ids[:1:-1]


def test_claimed_events_are_not_claimed_again_until_the_lease_ends() -> None:
    ids = received(3)
    assert uuids_of(claim_events(2)) == set(ids[:2])
    assert uuids_of(claim_events()) == set(ids[2:])
    assert claim_events() == []
    assert events.due_events(10) == []
    left = row(EventLog, ids[0]).due - utcnow()
    assert timedelta(seconds=LEASE) - SOON < left <= timedelta(seconds=LEASE)
    let_leases_run_out(EventLog, ids[1:])
    assert set(events.due_events(10)) == set(ids[1:])
    assert uuids_of(claim_events()) == set(ids[1:])


def test_concurrent_claims_are_disjoint_and_complete() -> None:
    ids = received(40)
    start = threading.Barrier(4)

    def claimer(_number: int) -> list[UUID]:
        start.wait(10)
        claimed: list[UUID] = []
        while some := claim_events(5):
            claimed += [event.uuid for event in some]
        return claimed

    with ThreadPoolExecutor(4) as threads:
        claimed = [uuid for each in threads.map(claimer, range(4)) for uuid in each]
    assert sorted(claimed) == sorted(ids)


@ONLY_SERVERS
def test_claim_skips_what_a_concurrent_one_is_claiming() -> None:
    ids = received(15)

    @writing
    def claim_while_another_does() -> tuple[set[UUID], set[UUID]]:
        mine = uuids_of(claim_events(10))
        with ThreadPoolExecutor(1) as thread:
            began = time.monotonic()
            theirs = uuids_of(thread.submit(claim_events).result(10))
            assert time.monotonic() - began < 1
        return mine, theirs

    assert claim_while_another_does() == (set(ids[:10]), set(ids[10:]))


def test_nothing_is_claimed_when_the_claim_fails() -> None:
    received(2)

    @writing
    def fail() -> None:
        assert len(claim_events()) == 2
        raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert len(claim_events()) == 2


def test_claimed_events_have_no_more_bytes_than_asked_unless_one_is_alone() -> None:
    for size in (100, 50, 60, 30):
        receive('"' + "x" * (size - 2) + '"')
    claimed = []
    while some := events.claim_events(10, 90, LEASE):
        claimed.append([len(event.text) for event in some])
    assert claimed == [[100], [50], [60, 30]]


def test_unclaimed_events_are_due_as_if_nobody_had_claimed_them() -> None:
    ids = received(3)
    claimed = claim_events()
    record_matches(ids[2], [])
    events.unclaim_events([event.uuid for event in claimed[1:]])
    assert events.due_events(10) == ids[1:2]
    assert row(EventLog, ids[1]).attempts == 0
    assert row(EventLog, ids[2]).due is None


def test_matches_are_recorded_once() -> None:
    to = [subscribe() for _ in range(3)]
    event = receive()
    for each in (event, event, uuid4()):
        record_matches(each, to)
    (logged,) = events.logged([event], start=None, end=None, limit=1)
    assert logged.dispatched
    assert {match.subscription for match in logged.matches} == set(to)
    assert {match.state for match in logged.matches} == {"matched"}
    assert claim_events() == []


def test_matches_are_recorded_once_by_workers_at_once() -> None:
    to, event = subscribe(), receive()
    start = threading.Barrier(4)

    def worker(_number: int) -> None:
        start.wait(10)
        record_matches(event, [to])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(worker, range(4)))
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
    assert uuids_of(claim_events()) == {event}
    record_matches(event, [to])
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
        events.record_all([Event(uuid4(), "{}")])
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


def test_lease_doubles_with_each_claim_of_an_event_up_to_the_maximum() -> None:
    event = receive()
    leases = []
    for _ in range(6):
        assert uuids_of(claim_suspect(event, 500.0)) == {event}
        leases.append(round((row(EventLog, event).due - utcnow()).total_seconds(), -1))
        let_leases_run_out(EventLog, [event])
    assert leases == [60, 120, 240, 480, 500, 500]


def test_lease_is_never_shorter_than_the_first_when_the_maximum_is() -> None:
    event = receive()
    claim_events()
    let_leases_run_out(EventLog, [event])
    assert uuids_of(claim_suspect(event, 1.0)) == {event}
    left = row(EventLog, event).due - utcnow()
    assert timedelta(seconds=LEASE) - SOON < left <= timedelta(seconds=LEASE)


def test_event_is_claimed_alone_when_two_dispatches_did_not_end() -> None:
    event = receive()
    for _ in range(2):
        assert events.due_events(10) == [event]
        assert events.suspect_events(10) == []
        assert uuids_of(claim_events()) == {event}
        let_leases_run_out(EventLog, [event])
    other = receive()
    assert events.suspect_events(10) == [event]
    assert events.due_events(10) == [other]
    assert uuids_of(claim_events()) == {other}
    assert uuids_of(claim_suspect(event)) == {event}
    assert events.suspect_events(10) == []  # while somebody has it
    record_matches(event, [])
    let_leases_run_out(EventLog, [other])
    assert events.due_events(10) == [other]


def test_event_is_no_longer_suspect_when_it_is_to_be_dispatched_again() -> None:
    event = receive()
    write(EventLog, [event], attempts=5)
    assert events.suspect_events(10) == [event]
    assert events.dispatch_again([event]) == [event]
    assert (events.due_events(10), events.suspect_events(10)) == ([event], [])
