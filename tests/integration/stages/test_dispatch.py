"""Dispatching: which subscriptions an event goes to, and what a bad JSONPath does."""

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.errors import StoreUnavailable
from pacifica.notifications.matching import SubscriptionIndex
from pacifica.notifications.orm import Counter, EventLog, EventMatch, reading, writing
from pacifica.notifications.stages import authorise, dispatch
from pacifica.notifications.store import events, subscriptions
from tests.integration.stages.flow import (
    EVENT,
    Flow,
    change_row,
    match_of,
    matches,
    row,
    state_of,
)
from tests.support import databases

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)

#: Looks at all values for each value.
QUADRATIC = "$..[?($..[?(@.x = 1)])]"


def test_dispatch_matches_enabled_subscriptions_only(flow: Flow) -> None:
    matching = flow.subscribe(jsonpath='$.data[*][?(@["value"] = 1234)]')
    flow.subscribe(jsonpath='$.data[*][?(@["value"] = 1)]')
    flow.subscribe(jsonpath="$.absent")
    assert match_of(flow.send()).subscription == matching


def test_dispatch_records_event_without_matches(flow: Flow) -> None:
    event = flow.send()
    (logged,) = events.logged([event], start=None, end=None, limit=1)
    assert (logged.dispatched, logged.matches) == (True, ())


def test_dispatch_sees_what_changed_since_the_last_event(flow: Flow) -> None:
    flow.send()
    first, second = flow.subscribe(), flow.subscribe()
    assert {m.subscription for m in matches(flow.send())} == {first, second}
    subscriptions.update("alice", first, lambda _stored: {"jsonpath": "$.absent"})
    subscriptions.delete("alice", second)
    assert matches(flow.send()) == ()
    third = flow.subscribe()
    assert {m.subscription for m in matches(flow.send())} == {third}
    subscriptions.update("alice", third, lambda _stored: {"disabled": utcnow()})
    assert matches(flow.send()) == ()


def test_dispatch_does_nothing_when_event_was_dispatched(flow: Flow) -> None:
    flow.subscribe()
    event = flow.send()
    flow.run()
    assert len(matches(event)) == len(flow.target.requests) == 1


@pytest.mark.parametrize("stored", ["$.data[::0]", "not a jsonpath [", "$.data.length("])
def test_dispatch_disables_only_subscription_whose_jsonpath_fails(flow: Flow, stored: str) -> None:
    before, bad, after = flow.subscribe(), flow.subscribe(), flow.subscribe()
    change_row(bad, jsonpath=stored)
    event = flow.send()
    assert state_of(event, before) == state_of(event, after) == "delivered"
    assert "its JSONPath failed" in (row(bad).error or "")
    assert row(bad).disabled is not None
    assert row(before).disabled is row(after).disabled is None


@pytest.mark.parametrize("expensive", ["$..*..*..*", "$.data[0:100000000]", "$..*..*[?(@.x = 1)]"])
def test_dispatch_takes_bounded_time_when_a_jsonpath_is_expensive(
    flow: Flow, expensive: str
) -> None:
    flow.subscribe(jsonpath=expensive)
    good = flow.subscribe()
    event = flow.receive({**EVENT, "data": [[{"a": number} for number in range(100)]] * 300})
    began = time.monotonic()
    flow.run()
    assert time.monotonic() - began < 5
    assert state_of(event, good) == "delivered"
    assert row(good).disabled is None


def test_dispatch_disables_only_subscription_that_exceeds_the_budget(
    make_flow: Callable[..., Flow],
) -> None:
    flow = make_flow(matching_budget=1000)
    bad, good = flow.subscribe(jsonpath=QUADRATIC), flow.subscribe()
    event = flow.receive({**EVENT, "data": list(range(10_000))})
    flow.run()
    assert state_of(event, good) == "delivered"
    assert row(good).disabled is None
    assert (row(bad).disabled is not None, row(bad).unmatched) == (True, True)
    # It is not evaluated again until its owner changes it, and then with all that came meanwhile.
    later = flow.send()
    assert {m.subscription for m in matches(later)} == {good}
    changes = {"jsonpath": "$.data", "disabled": None, "error": None}
    subscriptions.update("alice", bad, lambda _stored: changes)
    assert {m.subscription for m in matches(flow.send())} == {bad, good}
    assert [state_of(each, bad) for each in (event, later)] == ["delivered"] * 2
    assert len(matches(event)) == len(matches(later)) == 2


def test_dispatch_records_the_pair_and_disables_nothing_when_a_large_event_exceeds_the_budget(
    flow: Flow,
) -> None:
    costly, linear = flow.subscribe(jsonpath=QUADRATIC), flow.subscribe()
    event = flow.receive({**EVENT, "data": [[[0] * 10] * 30] * 100})
    flow.run()
    assert state_of(event, linear) == "delivered"
    assert state_of(event, costly) == "failed"
    (pair,) = (each for each in matches(event) if each.subscription == costly)
    assert "steps on this event" in pair.target_body
    assert row(costly).disabled is row(linear).disabled is None
    assert state_of(flow.send(), linear) == "delivered"


@pytest.mark.parametrize("data", [[0] * 240_000, [{}] * 110_000])
def test_dispatch_disables_no_ordinary_subscription_however_large_an_event_is(
    make_flow: Callable[..., Flow], data: list[Any]
) -> None:
    flow = make_flow(matching_budget=1000)
    records = "$.data[*][?(@.destinationTable = 'Files' and @.mimetype = 'text/plain')]"
    ordinary = [
        flow.subscribe(jsonpath=records.replace("'", '"')),
        flow.subscribe(jsonpath=records.replace("'", '"').replace("=", "!=")),
        flow.subscribe(jsonpath="$.data[*][?(@.size > 1000 or @.subdir = @.name)]"),
    ]
    wanting = flow.subscribe()
    event = flow.receive({**EVENT, "data": data})
    flow.run()
    assert [(each.subscription, each.state) for each in matches(event)] == [(wanting, "delivered")]
    assert [row(uuid).disabled for uuid in ordinary] == [None] * 3
    assert [row(uuid).error for uuid in ordinary] == [None] * 3


def test_dispatch_matches_other_events_when_one_on_record_is_not_json(flow: Flow) -> None:
    subscription = flow.subscribe()
    broken, good = flow.receive(), flow.receive()
    cut_off(broken)
    flow.run()
    assert state_of(good, subscription) == "delivered"
    assert matches(broken) == ()
    assert events.due_events(10) == []


@writing
def cut_off(event: UUID) -> None:
    """Leave half of an event, as MariaDB did to large ones when nobody made it strict."""
    text = EventLog.get_by_id(event).jsondata
    EventLog.update(jsondata=text[:100]).where(EventLog.uuid == event).execute()


def test_worker_notes_that_the_database_is_another_one(flow: Flow) -> None:
    flow.subscribe()
    flow.subscribe()
    flow.send()
    rewind_revisions()
    fresh = flow.subscribe()
    assert state_of(flow.send(), fresh) == "delivered"


@writing
def rewind_revisions() -> None:
    """Put the counter of revisions back, as restoring a backup does."""
    Counter.update(value=0).execute()
    EventMatch.update(revision=0).execute()


def test_event_whose_matching_ends_unexpectedly_does_not_keep_others_of_its_batch(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow.subscribe()
    ids = [flow.receive({**EVENT, "eventID": str(number)}) for number in range(3)]
    match = SubscriptionIndex.match

    def failing(index: SubscriptionIndex, document: Any, *bounds: Any) -> Any:
        if document["eventID"] == "1":
            raise RuntimeError("a fault of the matcher")
        return match(index, document, *bounds)

    monkeypatch.setattr(SubscriptionIndex, "match", failing)
    flow.run()
    monkeypatch.undo()
    assert [len(matches(event)) for event in ids] == [1, 0, 1]
    assert events.due_events(10) == []
    make_events_due()
    assert events.due_events(10) == [ids[1]]
    flow.run()
    assert match_of(ids[1]).state == "delivered"


@writing
def make_events_due() -> None:
    EventLog.update(due=utcnow()).where(EventLog.due.is_null(False)).execute()


def test_event_that_cannot_be_recorded_does_not_keep_others_of_its_batch(
    flow: Flow, database: str
) -> None:
    subscription, refused = flow.subscribe(), flow.subscribe()
    trigger = f"""
        CREATE TRIGGER refuse BEFORE INSERT ON eventlogmatch
        WHEN NEW.event_match_id = '{refused.hex}'
        BEGIN SELECT RAISE(ABORT, 'refused'); END
    """
    change_row(refused, jsonpath='$[?(@["eventID"] = "1")]')
    databases.execute(database, trigger)
    ids = [flow.receive({**EVENT, "eventID": str(number)}) for number in range(3)]
    flow.run()
    assert [len(matches(event)) for event in ids] == [1, 0, 1]
    assert state_of(ids[2], subscription) == "delivered"
    databases.execute(database, "DROP TRIGGER refuse")
    make_events_due()
    flow.run()
    assert state_of(ids[1], refused) == "delivered"


def test_events_that_a_slow_batch_has_not_come_to_are_left_to_others_at_once(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    nudged: list[UUID] = []
    monkeypatch.setattr(flow.pipeline.dispatcher, "_nudge", nudged.extend)
    monkeypatch.setattr(dispatch, "_BATCH_SECONDS", 0.0)
    flow.subscribe()
    ids = [flow.receive() for _ in range(3)]
    flow.run()
    assert [len(matches(event)) for event in ids] == [1, 0, 0]
    assert nudged == ids[1:]
    assert events.due_events(10) == ids[1:]
    assert [tries_of(event) for event in ids] == [1, 0, 0]


def test_small_events_do_not_wait_for_large_ones_but_the_oldest_has_its_turn(flow: Flow) -> None:
    sizes = [20_000, 30_000, 10, 10_000]
    ids = [flow.receive({**EVENT, "data": "x" * size}) for size in sizes]
    matched = flow.pipeline.dispatcher.match()
    assert [each.event.uuid for each in matched] == [ids[0], ids[2], ids[3], ids[1]]


def test_events_are_due_again_at_once_when_the_database_refuses_to_record_them(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscription = flow.subscribe()
    ids = [flow.receive() for _ in range(2)]

    def refuse(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("a deadlock")

    monkeypatch.setattr(authorise, "record_dispatched", refuse)
    with pytest.raises(StoreUnavailable):
        flow.pipeline.dispatch()
    monkeypatch.undo()
    assert set(events.due_events(10)) == set(ids)
    assert [tries_of(event) for event in ids] == [1, 1]
    flow.run()
    assert [state_of(event, subscription) for event in ids] == ["delivered"] * 2


@reading
def tries_of(event: UUID) -> int:
    return EventLog.get_by_id(event).attempts
