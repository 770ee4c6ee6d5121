"""Events that wait for Metadata, as they are stored on every engine."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.events import Event, parse_event
from pacifica.notifications.flow import Settlement
from pacifica.notifications.metrics import EVENTS_SETTLED
from pacifica.notifications.orm import EventLog
from pacifica.notifications.settlement import Step
from pacifica.notifications.store import deduplication, events
from pacifica.notifications.store.claims import recall
from pacifica.notifications.store.monitoring import snapshot
from pacifica.notifications.store.pairs import facts_of
from pacifica.notifications.store.purging import purge_finished
from pacifica.notifications.store.settling import (
    claim_settling,
    next_settling,
    record_steps,
    stop_settling,
)
from pacifica.notifications.store.walking import next_events
from tests.support import stored

LEASE = 7.0
DAY = 86400.0
LATER = Step(Settlement.SETTLING, utcnow() + timedelta(days=1))
EXPIRED, SETTLED = Step(Settlement.EXPIRED), Step(Settlement.SETTLED)
UNKNOWN = Step(Settlement.UNKNOWN)


def event(kind: str = "org.pacifica.metadata.ingest", number: int = 7) -> Event:
    data = [{"destinationTable": "Transactions._id", "value": number}]
    document = {"cloudEventsVersion": "0.1", "eventType": kind, "source": "/s", "data": data}
    return parse_event(json.dumps({**document, "eventID": str(uuid4())}).encode(), 100)


def settling(count: int = 1) -> list[UUID]:
    """Store events about which Metadata is to be asked now."""
    found = [event() for _ in range(count)]
    events.record_all(found, settle_after=0.0)
    return [each.uuid for each in found]


def claimed(limit: int = 100, max_bytes: int = 2**20) -> set[UUID]:
    return stored.uuids_of(claim_settling(limit, max_bytes, LEASE))


def row(uuid: UUID) -> Any:
    return stored.row(EventLog, uuid)


def record(step: Step, *uuids: UUID) -> list[UUID]:
    return record_steps(dict.fromkeys(uuids, step))


def counts() -> Mapping[str, int]:
    return {
        key.partition(":")[2]: number
        for key, number in stored.tallies().take().items()
        if key.startswith(EVENTS_SETTLED.name)
    }


def test_only_events_of_metadata_wait_and_the_others_are_due() -> None:
    ours, others = event(), event("org.example.made")
    events.record_all([others, ours], settle_after=0.05)
    assert stored.uuids_of(stored.claim_events()) == {others.uuid}
    found = row(ours.uuid)
    assert (found.due, found.settlement) == (None, "settling")
    assert found.settle_due - found.created == timedelta(seconds=0.05)
    assert (row(others.uuid).settlement, row(others.uuid).settle_due) == (None, None)


def test_batches_and_first_events_wait_as_single_ones_do() -> None:
    ours, again = event(), event()
    events.record_batch([ours], settle_after=0.0)
    assert deduplication.record_first([again], 100.0, 0.0) == [again.uuid]
    assert claimed() == {ours.uuid, again.uuid}


def test_events_are_claimed_once_by_whoever_comes_first_up_to_number_and_bytes() -> None:
    uuids = settling(5)
    size = len(row(uuids[0]).jsondata)
    first = claimed(limit=2)
    second = claimed(max_bytes=size * 2)
    third = claimed(max_bytes=1)
    assert (len(first), len(second), len(third)) == (2, 2, 1)
    assert first | second | third == set(uuids)
    assert claimed() == set()
    due = next_settling()
    assert due is not None
    assert 0 < (due - utcnow()).total_seconds() <= LEASE


def test_claimed_event_has_what_is_asked() -> None:
    (uuid,) = settling()
    (found,) = claim_settling(1, 1, LEASE)
    assert (found.uuid, found.settlement) == (uuid, Settlement.SETTLING)
    assert (found.type, found.transaction) == ("org.pacifica.metadata.ingest", 7)
    assert found.received == row(uuid).created


def test_event_goes_on_once() -> None:
    (uuid,) = settling()
    assert record(SETTLED, uuid) == [uuid]
    assert record(SETTLED, uuid) == []
    assert record(UNKNOWN, uuid) == []
    assert record(LATER, uuid) == []
    assert next_settling() is None
    found = row(uuid)
    assert (found.settlement, found.settle_due) == ("settled", None)
    assert found.settled == found.due
    assert stored.uuids_of(stored.claim_events()) == {uuid}
    assert counts() == {"settled": 1}


def test_event_says_that_it_is_unknown_and_is_else_what_it_was() -> None:
    (uuid,) = settling()
    before = json.loads(row(uuid).jsondata)
    assert record(UNKNOWN, uuid, uuid4()) == [uuid]
    (found,) = stored.claim_events()
    assert found.document() == {**before, "extensions": {"pacificasettled": "unknown"}}
    assert counts() == {"unknown": 1}


def test_event_that_waits_or_is_unsettled_is_not_dispatched_and_not_purged() -> None:
    waiting, unsettled, expired = settling(3)
    record(LATER, waiting)
    hour = Step(Settlement.UNSETTLED, utcnow() + timedelta(hours=1))
    record(hour, unsettled)
    record(hour, unsettled, expired)
    record(EXPIRED, expired)
    assert counts() == {"unsettled": 2, "expired": 1}
    assert events.due_events(10) == []
    assert snapshot().events_settling == {"settling": 1, "unsettled": 1}
    assert snapshot().events_waiting == 0
    logged = events.logged([waiting, unsettled, expired], start=None, end=None, limit=3)
    assert {each.uuid: each.settlement for each in logged} == {
        waiting: Settlement.SETTLING,
        unsettled: Settlement.UNSETTLED,
        expired: Settlement.EXPIRED,
    }
    assert not any(each.dispatched for each in logged)
    purged = purge_finished([], utcnow() + timedelta(days=1))
    assert (purged.deleted, purged.kept) == (1, 2)


def test_operator_dispatches_whatever_waits_and_nothing_else_changes() -> None:
    waiting, settled = settling(2)
    record(SETTLED, settled)
    others = event("org.example.made")
    events.record_all([others])
    events.dispatch_again([waiting, settled, others.uuid])
    assert [row(each).settlement for each in (waiting, settled, others.uuid)] == [
        "retried",
        "settled",
        None,
    ]
    assert stored.uuids_of(stored.claim_events()) == {waiting, settled, others.uuid}


def test_question_that_a_changed_clock_puts_far_ahead_is_asked_now() -> None:
    near, far = settling(2)
    stored.write(EventLog, [near], settle_due=utcnow() + timedelta(hours=1))
    stored.write(EventLog, [far], settle_due=utcnow() + timedelta(days=1))
    assert recall(60.0, 3600.0) == 1
    assert claimed() == {far}


def test_events_go_on_without_metadata_but_for_unsettled_ones_which_expire() -> None:
    waiting, unsettled, old = settling(3)
    record(Step(Settlement.UNSETTLED, utcnow() + timedelta(hours=1)), unsettled, old)
    stored.write(EventLog, [old], created=utcnow() - timedelta(seconds=2 * DAY))
    assert stop_settling(10, DAY) == [waiting]
    assert [row(each).settlement for each in (waiting, unsettled, old)] == [
        "unknown",
        "unsettled",
        "expired",
    ]
    assert stop_settling(10, DAY) == []


@pytest.mark.parametrize("limit", [1, 3])
def test_no_more_events_go_on_at_once_than_the_limit(limit: int) -> None:
    settling(3)
    assert len(stop_settling(limit, DAY)) == limit


def test_event_is_replayed_only_if_metadata_showed_it() -> None:
    waiting, expired, settled, retried = settling(4)
    record(EXPIRED, expired)
    record(SETTLED, settled)
    events.dispatch_again([retried])
    for each in (settled, retried):
        stored.write(EventLog, [each], due=None)
    start, end = utcnow() - timedelta(hours=1), utcnow() + timedelta(hours=1)
    found = {each.event.uuid: each.is_shown for each in next_events(start, end, None)}
    assert found == {waiting: False, expired: False, settled: True, retried: True}


def test_explanation_says_when_metadata_showed_an_event_and_that_it_has_not() -> None:
    subscription = stored.subscribe()
    waiting, settled = settling(2)
    record(SETTLED, settled)
    at_once = stored.receive()
    found = [facts_of(subscription, each) for each in (waiting, settled, at_once)]
    moments = [each and each.event.settled for each in found]
    assert moments == [None, row(settled).settled, row(at_once).created]
