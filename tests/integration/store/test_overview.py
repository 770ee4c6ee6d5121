"""All subscriptions of a user at a glance, on each engine."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import State
from pacifica.notifications.orm import EventLog, EventLogMatch, EventMatch, insert_rows, writing
from pacifica.notifications.store import overview
from pacifica.notifications.store.deliveries import matched_row
from pacifica.notifications.store.overview import HOURS, Standing, overview_of
from tests.integration.store.test_monitoring_plans import (
    analyze,
    statements_of,
    tables_read_whole,
)
from tests.support import stored

NOW = utcnow()


@writing
def deliver(subscription: UUID, states: list[tuple[State, str, float]]) -> None:
    """Store deliveries: their state, what Policy said, and how many hours ago they matched."""
    events = [stored.event_row(utcnow() - timedelta(hours=ago)) for _, _, ago in states]
    insert_rows(EventLog, events)
    rows = []
    for (state, policy, _), event in zip(states, events, strict=True):
        row = matched_row(uuid4(), event["uuid"], subscription, event["created"])
        rows.append({**row, "state": state, "policy_status_code": policy, "due": None})
    insert_rows(EventLogMatch, rows)


def change(subscription: UUID, **columns: Any) -> None:
    stored.write(EventMatch, [subscription], **columns)


def names(limit: int = 50) -> list[list[UUID]]:
    """Return the ids of all pages."""
    pages, after = [], None
    while True:
        page = overview_of("alice", limit, after)
        pages.append([UUID(each.subscription["uuid"]) for each in page.subscriptions])
        if page.last is None:
            return pages
        after = page.last


@pytest.mark.usefixtures("database")
def test_those_that_an_error_disabled_come_first_and_then_the_newest() -> None:
    first, second, third, fourth = (stored.subscribe("alice") for _ in range(4))
    stored.subscribe("bob")
    change(second, disabled=NOW, holding=True, error="status 404")
    change(first, disabled=NOW)
    expected = [second, fourth, third, first]
    for limit in (1, 2, 3, 4, 50):
        pages = names(limit)
        assert [uuid for page in pages for uuid in page] == expected
        assert all(len(page) <= limit for page in pages)


@pytest.mark.usefixtures("database")
def test_standing_says_who_must_act() -> None:
    uuids = [stored.subscribe("alice") for _ in range(4)]
    soon = NOW + timedelta(minutes=5)
    change(uuids[1], disabled=NOW)
    change(uuids[2], disabled=NOW, holding=True, error="x", probes=2, held_due=soon)
    change(uuids[3], disabled=NOW, holding=True, error="x")
    found = {each.subscription["uuid"]: each for each in overview_of("alice", 50).subscriptions}
    standings = [found[str(uuid)].standing for uuid in uuids]
    assert standings == [
        Standing.DELIVERING,
        Standing.PAUSED,
        Standing.FAILING,
        Standing.DISABLED,
    ]
    assert [found[str(uuid)].next_try for uuid in uuids] == [None, None, soon, None]


@pytest.mark.usefixtures("database")
def test_deleted_ones_and_those_of_others_are_not_shown() -> None:
    gone = stored.subscribe("alice")
    change(gone, deleted=NOW)
    stored.subscribe("bob")
    assert overview_of("alice", 50).subscriptions == ()


@pytest.mark.usefixtures("database")
def test_hours_count_what_was_delivered_and_what_failed_and_never_what_policy_denied() -> None:
    one, other = stored.subscribe("alice"), stored.subscribe("alice")
    deliver(
        one,
        [
            (State.DELIVERED, "200", 0),
            (State.DELIVERED, "200", 0),
            (State.FAILED, "200", 3),
            (State.EXPIRED, "200", 3),
            (State.FAILED, "", 3),  # Policy was not asked
            (State.DENIED, "412", 3),
            (State.MATCHED, "", 0),
            (State.HELD, "200", 0),
            (State.DELIVERED, "200", 30),
        ],
    )
    deliver(other, [(State.DENIED, "412", 0)])
    found = {each.subscription["uuid"]: each for each in overview_of("alice", 50).subscriptions}
    hours = found[str(one)].hours
    assert len(hours) == HOURS
    assert (hours[-1].delivered, hours[-1].failed) == (2, 0)
    assert (hours[-4].delivered, hours[-4].failed) == (0, 2)
    assert sum(each.delivered + each.failed for each in hours) == 4
    assert found[str(one)].delivered is not None
    assert utcnow() - found[str(one)].delivered < timedelta(minutes=5)
    assert sum(each.delivered + each.failed for each in found[str(other)].hours) == 0
    assert found[str(other)].delivered is None


@pytest.mark.usefixtures("database")
def test_deliveries_of_a_busy_day_are_counted_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deliver(stored.subscribe("alice"), [(State.DELIVERED, "200", ago) for ago in (0, 0, 0, 0, 2)])
    assert overview_of("alice", 50).all_counted
    monkeypatch.setattr(overview, "_MAX_COUNTED", 3)
    found = overview_of("alice", 50)
    assert not found.all_counted
    hours = found.subscriptions[0].hours
    assert (hours[-1].delivered, hours[-3].delivered) == (3, 1)


def test_page_reads_no_table_of_deliveries_or_subscriptions_from_end_to_end(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill()
    analyze(database)
    statements = statements_of(lambda: overview_of("alice", 50), monkeypatch)
    assert len(statements) <= 5
    for sql, params in statements:
        # What was counted is a bounded part of the index, which is then grouped.
        whole = tables_read_whole(database, sql, params)
        assert not [each for each in whole if not each.startswith(("found", "<derived"))], sql


@writing
def _fill() -> None:
    """Store so many rows that engines choose plans as for millions."""
    mine = stored.subscribe("alice")
    others = [stored.subscribe("bob") for _ in range(400)]
    events = [stored.event_row(utcnow() - timedelta(minutes=number)) for number in range(3000)]
    insert_rows(EventLog, events)
    rows = []
    for number, event in enumerate(events):
        for subscription in (mine if number % 100 == 0 else others[0], *others[1:4]):
            row = matched_row(uuid4(), event["uuid"], subscription, event["created"])
            state = State.FAILED if number % 50 == 0 else State.DELIVERED
            rows.append({**row, "state": state, "policy_status_code": "200", "due": None})
    insert_rows(EventLogMatch, rows)
