"""What operators look at, on each engine."""

from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import AttemptOutcome, Cause
from pacifica.notifications.orm import Attempt, EventLog, EventMatch, insert_rows, writing
from pacifica.notifications.store import subscriptions
from pacifica.notifications.store.operating import MINUTES, SLOT, operation
from tests.integration.store.test_monitoring_plans import (
    analyze,
    fill,
    statements_of,
    tables_read_whole,
)
from tests.support import stored


@writing
def attempt(url: str, ago: float, status: int | None, outcome: AttemptOutcome) -> None:
    """Store an attempt of some minutes ago."""
    row = {
        "delivery": uuid4(),
        "started": utcnow() - timedelta(minutes=ago),
        "number": 1,
        "milliseconds": 5,
        "cause": Cause.AUTOMATIC,
        "url": url,
        "address": "",
        "request": "",
        "status": status,
        "response": "",
        "body": "",
        "truncated": False,
        "outcome": outcome,
        "next_attempt": None,
    }
    insert_rows(Attempt, [row])


@pytest.mark.usefixtures("database")
def test_rates_and_worst_targets_are_those_of_the_attempts() -> None:
    for ago, status, outcome in (
        (1, 503, AttemptOutcome.RETRYING),
        (3, None, AttemptOutcome.DISABLED),
        (200, 404, AttemptOutcome.DISABLED),
        (30 * 60, 500, AttemptOutcome.DISABLED),  # too long ago
    ):
        attempt("https://bad.example:8443/in", ago, status, outcome)
    attempt("https://good.example/in", 2, 200, AttemptOutcome.DELIVERED)
    attempt("https://good.example/in", 4, 500, AttemptOutcome.RETRYING)
    stored.receive()
    found = operation()
    assert [(each.host, each.failed, each.attempts, each.said) for each in found.targets] == [
        ("bad.example:8443", 3, 3, "503"),
        ("good.example", 1, 2, "500"),
    ]
    assert len(found.slots) == MINUTES // SLOT
    assert sum(each.taken for each in found.slots) == 1
    assert sum(each.failed for each in found.slots) == 3
    assert [each.events for each in found.slots][-1] == 1


@pytest.mark.usefixtures("database")
def test_disabled_subscriptions_say_why_and_deleted_ones_are_not_among_them() -> None:
    now = datetime(2026, 1, 31, 10, 42)
    paused, failing, broken, gone, _fine = (stored.subscribe("alice") for _ in range(5))
    stored.write(EventMatch, [paused], disabled=now)
    soon = now + timedelta(hours=1)
    stored.write(
        EventMatch, [failing], disabled=now, holding=True, error="a", probes=1, held_due=soon
    )
    stored.write(EventMatch, [broken], disabled=now, holding=True, error="b")
    stored.write(EventMatch, [gone], disabled=now, deleted=now)
    found = {each.uuid: (each.by_error, each.probe_due) for each in operation().disabled}
    assert found == {paused: (False, None), failing: (True, soon), broken: (True, None)}


@pytest.mark.usefixtures("database")
def test_operator_changes_for_the_owner_and_is_named_as_who_did_it() -> None:
    uuid = stored.subscribe("alice")
    changed = subscriptions.update(
        "alice", uuid, lambda _: {"disabled": utcnow(), "error": "x"}, actor="otto"
    )
    assert changed is not None
    assert changed["error"] == "x"
    assert subscriptions.update("bob", uuid, lambda _: {"disabled": None}, actor="otto") is None


def test_operation_reads_no_table_of_events_or_deliveries_from_end_to_end(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill()
    moments = [utcnow() - timedelta(minutes=number, days=2) for number in range(3000)]
    insert_rows(EventLog, [stored.event_row(moment) for moment in moments])
    analyze(database)
    statements = statements_of(operation, monkeypatch)
    assert len(statements) == 5
    for sql, params in statements:
        whole = set(tables_read_whole(database, sql, params))
        names = {"eventlog", "eventlogmatch", "t1"} if "eventlog" in sql else set()
        assert not whole & names, sql
