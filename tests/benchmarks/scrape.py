"""What a scrape of `/metrics` costs on a database with millions of rows.

`python -m tests.benchmarks.scrape` makes a PostgreSQL database with ten million deliveries of five
million events, nearly all finished, and times the statements of a scrape, one by one and together.
Then it times what the sweep does on the same rows. The last lines are with a large backlog.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.orm import DB, EventLog, EventLogMatch, Statistic, reading
from pacifica.notifications.rest.metrics import scrape
from pacifica.notifications.settings import HoldingSettings
from pacifica.notifications.store import monitoring
from pacifica.notifications.store.purging import purge_batch
from pacifica.notifications.store.statistics import note_bounds, report
from tests.benchmarks import services
from tests.benchmarks.report import Report, parser
from tests.support import databases
from tests.support.templates import migrated_database

_COLUMNS = {"median": "median ms", "slowest": "slowest ms"}
_SUBSCRIPTIONS = 100_000
# Seconds that making the rows may take.
_PATIENCE = "3600"
_EVENTS = """
SET session_replication_role = replica;
INSERT INTO eventlog (uuid, jsondata, created, due, attempts, hops, specversion,
    event_type, event_source, event_id, event_time, transaction_id)
SELECT md5('event' || n)::uuid, '{"data": 1}', now() - n * interval '4 seconds', NULL, 1, 0, '1.0',
    'type' || n %% 50, 'source' || n %% 5, 'event' || n, '', n
FROM generate_series(1, %(events)s) AS n;
"""
_DELIVERIES = """
SET session_replication_role = replica;
INSERT INTO eventlogmatch (uuid, event_log_id, event_match_id, policy_status_code,
    policy_resp_body, target_status_code, target_resp_body, created, state, due, attempts, updated,
    tries, cause)
SELECT md5('delivery' || n)::uuid, md5('event' || n / 2)::uuid,
    md5('subscription' || n %% %(subscriptions)s)::uuid, '200', '{"status": "success"}', '200', '',
    now() - n * interval '2 seconds',
    CASE WHEN n %% 50 = 0 THEN 'held' WHEN n %% 1000 = 1 THEN 'allowed'
         WHEN n %% 1000 = 2 THEN 'matched' WHEN n %% 20 = 3 THEN 'denied' ELSE 'delivered' END,
    CASE WHEN n %% 1000 IN (1, 2) THEN now() - n * interval '1 microsecond' END, 1, now(),
    1, 'automatic'
FROM generate_series(1, %(deliveries)s) AS n;
"""
_SUBSCRIBED = """
INSERT INTO eventmatch (uuid, name, jsonpath, "user", disabled, error, target_url, version,
    extensions, auth, created, updated, holding, unmatched, probes, specversion, mode, revision)
SELECT md5('subscription' || n)::uuid, 'n', '$.data', 'user' || n %% 1000,
    CASE WHEN n %% 100 = 0 THEN now() END, NULL, 'http://target.invalid/', 'v0.1', '{}', '{}',
    now(), now(), n %% 100 = 0, false, 0, '', 'structured', n
FROM generate_series(1, %(subscriptions)s) AS n;
"""
_BACKLOG = "UPDATE eventlog SET due = created WHERE uuid IN (SELECT uuid FROM eventlog LIMIT {})"


def main() -> int:
    """Make the rows, and measure; 1 if a scrape took longer than `--bound`."""
    options = parser(__doc__, repeat=20, compares=False)
    options.add_argument("--deliveries", type=int, default=10_000_000, help="(default: 10000000)")
    options.add_argument("--bound", type=float, default=1000, help="most ms (default: 1000)")
    args = options.parse_args()
    what = (
        f"PostgreSQL with {args.deliveries:,} deliveries of {args.deliveries // 2:,} events and "
        f"{_SUBSCRIPTIONS:,} subscriptions; 2% of the deliveries are held, 0.2% wait"
    )
    report_of = Report("scrape", what, _COLUMNS, peers=False)
    with (
        services.measuring(),
        TemporaryDirectory() as folder,
        migrated_database("postgresql", Path(folder)) as url,
        pytest.MonkeyPatch.context() as patch,
        databases.configured(url, patch),
    ):
        patch.setenv("DATABASE_STATEMENT_TIMEOUT", _PATIENCE)
        fill(args.deliveries)
        slowest = measure(report_of, args.repeat)
        execute(_BACKLOG.format(min(1_000_000, args.deliveries // 4)))
        execute("VACUUM ANALYZE eventlog")
        slowest = max(slowest, timed(report_of, "scrape, a million events wait", args.repeat))
    report_of.finish(args)
    return int(slowest > args.bound)


def fill(deliveries: int) -> None:
    """Make the rows, and the indexes after them, which is faster."""
    numbers = {
        "deliveries": deliveries,
        "events": deliveries // 2,
        "subscriptions": _SUBSCRIPTIONS,
    }
    indexes = execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename IN "
        "('eventlog', 'eventlogmatch') AND indexname NOT LIKE '%%_pkey'"
    )
    for name, _definition in indexes:
        execute(f"DROP INDEX {name}")
    for sql in (_SUBSCRIBED, _EVENTS, _DELIVERIES):
        execute(sql, numbers)
    for _name, definition in indexes:
        execute(definition)
    execute("VACUUM ANALYZE")
    report(dict.fromkeys(monitoring.SUBSCRIPTION_STATES, 1), None)


def measure(report_of: Report, repeat: int) -> float:
    """Time the parts of a scrape, a scrape, and the sweep's work; return the slowest scrape."""
    for name, part in {
        "events that wait": monitoring._events_waiting,
        "first due event and delivery": oldest,
        "deliveries that wait, held included": waiting,
        "subscriptions by state": monitoring._subscriptions,
        "totals": lambda: list(Statistic.select().tuples()),
    }.items():
        timed(report_of, name, repeat, reading(part))
    slowest = timed(report_of, "scrape", repeat)
    timed(report_of, "a process reports its counts", repeat, lambda: report({"a": 1, "b": 2}, None))
    timed(report_of, "bounds on holding (once a minute)", 3, lambda: note_bounds(HoldingSettings()))
    timed(report_of, "a batch of retention", repeat, lambda: purge_batch(utcnow(), None))
    return slowest


def oldest() -> None:
    for due in (EventLog.due, EventLogMatch.due):
        monitoring._overdue(due, utcnow())


def waiting() -> None:
    for state in monitoring.WAITING_STATES:
        monitoring._deliveries_in(state)


def timed(
    report_of: Report, label: str, repeat: int, call: Callable[[], object] | None = None
) -> float:
    """Print how long calls took; without one, those of a scrape."""
    runs = []
    for _ in range(repeat):
        began = time.perf_counter()
        (call or scrape)()
        runs.append(1000 * (time.perf_counter() - began))
    ordered = sorted(runs)
    figures = {"median": ordered[len(ordered) // 2], "slowest": ordered[-1]}
    report_of.row(label, [figures])
    return ordered[-1]


def execute(sql: str, values: dict[str, Any] | None = None) -> list[Any]:
    """Execute SQL outside of any transaction."""
    DB.connect(reuse_if_open=True)
    DB.execute_sql("SET synchronous_commit = off")
    cursor = DB.execute_sql(sql, values or {})
    return cursor.fetchall() if cursor.description else []


if __name__ == "__main__":
    sys.exit(main())
