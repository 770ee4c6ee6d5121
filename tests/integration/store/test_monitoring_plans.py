"""A scrape reads indexes, and never a whole table of events or deliveries."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import State
from pacifica.notifications.orm import DB, EventLog, EventLogMatch, insert_rows, reading, writing
from pacifica.notifications.settings import HoldingSettings, PullSettings
from pacifica.notifications.store import pulling
from pacifica.notifications.store.deliveries import matched_row
from pacifica.notifications.store.eventsearch import EventFilter, page_of_events
from pacifica.notifications.store.history import DeliveryFilter, page_of_deliveries
from pacifica.notifications.store.monitoring import snapshot
from pacifica.notifications.store.purging import purge_batch
from pacifica.notifications.store.statistics import note_bounds
from tests.support import stored
from tests.support.templates import migrated_database

EVENTS, DELIVERIES_EACH = 1500, 8
TYPE, SOURCE = "org.pacifica.metadata.ingest", "http://metadata.test"


@pytest.fixture
def migrated(engine: str, tmp_path: Path) -> Iterator[str]:
    """Give a database of its own: engines plan by the room that deleted rows still take, too."""
    with migrated_database(engine, tmp_path) as url:
        yield url


@writing
def fill() -> UUID:
    """Store enough rows that engines choose plans as for millions: few of them wait.

    Returns the subscription of all deliveries.
    """
    subscription = stored.subscribe()
    moments = [utcnow() - timedelta(minutes=number) for number in range(EVENTS)]
    events = [
        stored.event_row(moment)
        | {"event_type": TYPE, "event_source": SOURCE, "event_id": str(number)}
        for number, moment in enumerate(moments)
    ]
    insert_rows(EventLog, events)
    rows = []
    for number in range(EVENTS * DELIVERIES_EACH):
        of = events[number // DELIVERIES_EACH]
        row = matched_row(uuid4(), of["uuid"], subscription, of["created"])
        held = number % 50 == 0
        rows.append({**row, "state": State.HELD if held else State.DELIVERED, "due": None})
    insert_rows(EventLogMatch, rows)
    return subscription


@reading
def analyze(url: str) -> None:
    if url.startswith("postgresql"):
        DB.execute_sql("ANALYZE")
    elif url.startswith("mysql"):
        DB.execute_sql("ANALYZE TABLE eventlog, eventlogmatch").fetchall()


def statements_of(call: Callable[[], object], patch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """Return the statements that a call executes, with their values."""
    engine = DB.bound()
    execute, seen = engine.execute_sql, []

    def noting(sql: str, params: Any = None) -> Any:
        seen.append((sql, params))
        return execute(sql, params)

    with patch.context() as patched:
        patched.setattr(engine, "execute_sql", noting)
        call()
    return [(sql, params) for sql, params in seen if sql.lstrip("( ").startswith("SELECT")]


@reading
def tables_read_whole(url: str, sql: str, params: Any) -> list[str]:
    """Return which tables a statement reads from end to end, by the plan of the engine."""
    if url.startswith("postgresql"):
        plan = DB.execute_sql(f"EXPLAIN (FORMAT JSON) {sql}", params).fetchone()[0]
        return [
            node["Relation Name"]
            for node in nodes(plan if isinstance(plan, list) else json.loads(plan))
            if node.get("Node Type") == "Seq Scan"
        ]
    if url.startswith("mysql"):
        cursor = DB.execute_sql(f"EXPLAIN {sql}", params)
        names = [column[0] for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        return [str(row["table"]) for row in rows if row["type"] == "ALL"]
    plan = DB.execute_sql(f"EXPLAIN QUERY PLAN {sql}", params).fetchall()
    return [text.split()[1] for *_, text in plan if text.startswith("SCAN") and "INDEX" not in text]


@reading
def sorts(url: str, sql: str, params: Any) -> bool:
    """Return whether a statement sorts all rows that it finds, by the plan of the engine."""
    if url.startswith("postgresql"):
        plan = DB.execute_sql(f"EXPLAIN (FORMAT JSON) {sql}", params).fetchone()[0]
        found = nodes(plan if isinstance(plan, list) else json.loads(plan))
        return any(node.get("Node Type") == "Sort" for node in found)
    if url.startswith("mysql"):
        plan = DB.execute_sql(f"EXPLAIN {sql}", params).fetchall()
        return "filesort" in str(plan)
    plan = DB.execute_sql(f"EXPLAIN QUERY PLAN {sql}", params).fetchall()
    return any("FOR ORDER BY" in text for *_, text in plan)


def nodes(plan: Any) -> list[dict[str, Any]]:
    """Return every node of a plan of PostgreSQL."""
    found = [plan] if isinstance(plan, dict) else []
    for child in plan.values() if isinstance(plan, dict) else plan:
        if isinstance(child, dict | list):
            found += nodes(child)
    return found


def test_no_table_of_events_or_deliveries_is_read_whole(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill()
    analyze(database)
    calls: dict[Callable[[], object], int] = {
        snapshot: 9,
        lambda: note_bounds(HoldingSettings()): 1,
        lambda: purge_batch(utcnow() - timedelta(days=1), None, dry_run=True): 1,
    }
    for call, least in calls.items():
        statements = statements_of(call, monkeypatch)
        assert len(statements) >= least
        for sql, params in statements:
            whole = tables_read_whole(database, sql, params)
            # Some engines name a table by its alias.
            names = {"eventlog", "eventlogmatch", "t1"} if "eventlog" in sql else set()
            assert not names & set(whole), (sql, whole)


def test_page_of_deliveries_is_read_by_an_index_in_its_order(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscription = fill()
    analyze(database)
    first = page_of_deliveries(subscription, DeliveryFilter(), 50, None, list)
    # Of a few rows, to sort them costs as little.
    many = (State.DELIVERED,)
    filters = [
        DeliveryFilter(many),
        DeliveryFilter(many, type="type", status="4", end=utcnow()),
        DeliveryFilter(many, start=utcnow() - timedelta(minutes=EVENTS // 2)),
    ]
    for wanted in filters:

        def read(wanted: DeliveryFilter = wanted) -> object:
            return page_of_deliveries(subscription, wanted, 50, first.last, list)

        statements = statements_of(read, monkeypatch)
        assert statements
        for sql, params in statements:
            # The others read as many rows as there are in a page, by their ids.
            if "ORDER BY" in sql:
                assert not tables_read_whole(database, sql, params), sql
                assert not sorts(database, sql, params), sql


def test_page_of_events_is_read_by_an_index_in_its_order(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill()
    analyze(database)
    first = page_of_events(EventFilter(), 50, None, list, lambda: True)
    for wanted in (
        EventFilter(),
        EventFilter(type=TYPE),
        EventFilter(source=SOURCE),
        EventFilter(type=TYPE, source=SOURCE, end=utcnow()),
        EventFilter(name="an-id"),
        EventFilter(name="77"),
    ):

        def read(wanted: EventFilter = wanted) -> object:
            return page_of_events(wanted, 50, first.last, list, lambda: True)

        statements = statements_of(read, monkeypatch)
        assert statements
        for sql, params in statements:
            assert not tables_read_whole(database, sql, params), sql
            # Few events have one name, which costs nothing to sort.
            assert wanted.name or not sorts(database, sql, params), sql


def test_a_table_that_is_sorted_is_noticed(database: str) -> None:
    fill()
    analyze(database)
    sql = "SELECT attempts FROM eventlogmatch ORDER BY attempts"
    assert sorts(database, sql, ())


def test_a_table_that_is_read_whole_is_noticed(database: str) -> None:
    fill()
    analyze(database)
    sql = "SELECT COUNT(attempts) FROM eventlogmatch WHERE attempts > 0"
    assert "eventlogmatch" in tables_read_whole(database, sql, ())


def test_fetching_reads_an_index_in_its_order(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscription = fill()
    make_available(subscription)
    analyze(database)
    settings = PullSettings()
    calls: dict[Callable[[], object], set[str]] = {
        lambda: pulling.fetch(subscription, 5, 60, settings): {"t1", "eventlog", "eventlogmatch"},
        lambda: pulling.with_available([subscription]): {"t2", "eventlogmatch"},
    }
    for call, names in calls.items():  # MariaDB and SQLite name a table by its alias
        found = [each for each in statements_of(call, monkeypatch) if "eventlog" in each[0]]
        assert found
        for sql, params in found:
            assert not names & set(tables_read_whole(database, sql, params)), sql
            assert not sorts(database, sql, params), sql


@writing
def make_available(subscription: UUID) -> None:
    """Have every hundredth delivery wait to be fetched, and half of them locked."""
    (event,) = EventLog.select(EventLog.uuid).limit(1)
    rows = []
    for number in range(EVENTS * DELIVERIES_EACH // 100):
        row = matched_row(uuid4(), event.uuid, subscription, utcnow())
        leased = utcnow() + timedelta(minutes=1) if number % 2 else None
        rows.append({**row, "state": State.AVAILABLE, "due": None, "leased": leased})
    insert_rows(EventLogMatch, rows)
