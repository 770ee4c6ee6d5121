"""Finding events: by name and page by page, and that what is not shown leaves no trace."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from pacifica.notifications.events import Event, parse_event
from pacifica.notifications.orm import EventLog, insert_rows, writing
from pacifica.notifications.store.deduplication import copies_of, record_first
from pacifica.notifications.store.events import events_by_uuid
from pacifica.notifications.store.eventsearch import (
    EventFilter,
    EventPage,
    FoundEvent,
    events_named,
    page_of_events,
)
from pacifica.notifications.store.position import Position, concealed
from tests.support import stored

#: So many events a page looks at together.
CANDIDATES = 50
NOON = datetime(2026, 1, 31, 12, 0, 0, 250_000)


def event_of_0_1(id_: str) -> Event:
    """Return an event as it is received."""
    event = {"cloudEventsVersion": "0.1", "eventType": "t", "source": "s", "eventID": id_}
    return parse_event(json.dumps(event).encode(), 100)


@writing
def store(count: int, *, apart: float = 1.0, **columns: Any) -> list[UUID]:
    """Store events, each `apart` seconds before the one that was stored before it."""
    rows = [
        stored.event_row(NOON - timedelta(seconds=number * apart))
        | {"event_type": "t", "event_source": "s", "event_id": f"id-{number}"}
        | {"transaction_id": None, **columns}
        for number in range(count)
    ]
    insert_rows(EventLog, rows)
    return [row["uuid"] for row in rows]


def all_shown(found: Sequence[FoundEvent]) -> Sequence[FoundEvent]:
    return found


def pages(
    wanted: EventFilter, limit: int, hidden: frozenset[UUID] = frozenset()
) -> list[EventPage]:
    """Return all pages, of which each looks at candidates once."""

    def shown(found: Sequence[FoundEvent]) -> Sequence[FoundEvent]:
        return [each for each in found if each.uuid not in hidden]

    found = [page_of_events(wanted, limit, None, shown, lambda: False)]
    while found[-1].last is not None:
        found.append(page_of_events(wanted, limit, found[-1].last, shown, lambda: False))
    return found


def listed(found: Sequence[EventPage]) -> list[UUID]:
    return [each.uuid for page in found for each in page.events]


@pytest.mark.parametrize("limit", [1, 7, 50, 200])
@pytest.mark.parametrize(
    "wanted", [EventFilter(), EventFilter("t"), EventFilter("t", "s")], ids=str
)
def test_pages_have_every_event_once_newest_first(wanted: EventFilter, limit: int) -> None:
    uuids = store(230)
    store(3, event_type="T", event_source="S", apart=0.5)
    found = listed(pages(wanted, limit))
    assert [each for each in found if each in uuids] == uuids
    assert len(found) == (233 if wanted == EventFilter() else 230)


def test_event_that_a_page_looked_at_last_is_on_it() -> None:
    uuids = sorted(store(CANDIDATES + 10, apart=0.0), reverse=True)
    last = uuids[CANDIDATES - 1]
    assert listed(pages(EventFilter(), 5, frozenset(uuids) - {last})) == [last]


@pytest.mark.parametrize("apart", [0.0, 0.0001, 0.3, 5000.0])
def test_pages_are_complete_where_most_events_are_hidden(apart: float) -> None:
    uuids = store(230, apart=apart)
    kept = set(uuids[::29])
    hidden = frozenset(uuids) - kept
    found = pages(EventFilter(), 5, hidden)
    assert set(listed(found)) == kept
    assert len(listed(found)) == len(kept)
    rows = {uuid: NOON - timedelta(seconds=number * apart) for number, uuid in enumerate(uuids)}
    for page in found:
        # Where many events came within a millisecond, no other place is between them.
        assert page.last is None or page.last.uuid not in hidden or apart < 0.001
        if page.last is not None and page.last.uuid not in kept and apart > 0.001:
            assert page.last.created not in {rows[uuid] for uuid in hidden}


def test_hidden_events_change_nothing_in_a_page_that_is_complete() -> None:
    wanted = EventFilter("t", start=NOON - timedelta(seconds=20))
    shown = store(5)
    before = pages(wanted, 50)
    hidden = frozenset(store(12, apart=1.5))
    assert pages(wanted, 50, hidden) == before
    assert listed(before) == shown


def test_period_includes_its_start_and_not_its_end() -> None:
    uuids = store(5)
    wanted = EventFilter(start=NOON - timedelta(seconds=3), end=NOON - timedelta(seconds=1))
    assert listed(pages(wanted, 50)) == uuids[2:4]


@pytest.mark.parametrize("name", ["id-1", "77", "Id é/1 ", "x" * 255])
def test_event_is_found_by_exactly_its_name(name: str) -> None:
    columns: dict[str, Any] = {"transaction_id": 77} if name == "77" else {"event_id": name}
    (wanted,) = store(1, **columns)
    for other in (name.upper() + "1", f"{name}9", "a" + name):
        store(1, event_id=other[:255] if other[:255] != name else "other")
    assert [each.uuid for each in events_named(name)] == [wanted]
    found = page_of_events(EventFilter(name=name), 50, None, all_shown, lambda: True)
    assert [each.uuid for each in found.events] == [wanted]


def test_event_with_our_id_comes_before_a_newer_one_that_only_has_that_name() -> None:
    ours = store(2)[1]
    newer = store(1, event_id=str(ours))[0]
    assert [each.uuid for each in events_named(str(ours))] == [ours, newer]
    assert [each.uuid for each in events_named(ours.hex.upper())] == [ours]


@pytest.mark.parametrize("name", ["", "none", "\0", "\ud800", "-1", "9" * 30, str(2**63), "{}"])
def test_name_that_no_event_has_finds_nothing(name: str) -> None:
    store(3, event_id="")
    assert events_named(name) == []


def test_place_of_the_next_page_is_the_fullest_that_is_before_the_newest() -> None:
    last = Position(NOON, uuid4())

    def before(**newest: float) -> datetime:
        return concealed(last, Position(NOON + timedelta(**newest), uuid4())).created

    assert before(hours=2) == datetime(2026, 1, 31, 13)
    assert before(minutes=2) == datetime(2026, 1, 31, 12, 1)
    assert before(seconds=2) == datetime(2026, 1, 31, 12, 0, 1)
    assert before(milliseconds=5) == NOON + timedelta(milliseconds=1)
    assert concealed(last, last) == last


def test_copies_of_an_event_are_counted_until_the_window_ends() -> None:
    first = event_of_0_1("one")
    record_first([first, event_of_0_1("one"), event_of_0_1("two")], 60)
    assert record_first([event_of_0_1("one")], 60) == [first.uuid]
    assert events_by_uuid([first.uuid])
    copies = copies_of(first)
    assert copies.count == 2
    assert copies.newest is not None
    assert copies_of(event_of_0_1("three")).count == 0
    (again,) = record_first([anew := event_of_0_1("one")], -1)
    assert (again, copies_of(anew).count, copies_of(first).count) == (anew.uuid, 0, 0)
