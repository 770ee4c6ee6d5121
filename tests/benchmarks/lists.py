"""How long a page of each list takes beside millions of deliveries.

`python -m tests.benchmarks.lists` makes subscriptions, events and deliveries on PostgreSQL, and a
tenth of them on SQLite and MariaDB. One user owns a subscription with as many deliveries as all
others have together. Each list is read on its first page, and far behind it where it has a cursor.
Policy is not asked.
"""

import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID, uuid4

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import State
from pacifica.notifications.orm import DB, Attempt, EventLog, EventLogMatch, insert_rows, writing
from pacifica.notifications.store import audit
from pacifica.notifications.store.deliveries import matched_row
from pacifica.notifications.store.eventsearch import EventFilter, page_of_events
from pacifica.notifications.store.history import (
    DeliveryFilter,
    attempts_of,
    delivery_of,
    page_of_deliveries,
)
from pacifica.notifications.store.overview import overview_of
from pacifica.notifications.store.position import Position
from pacifica.notifications.store.revisionlog import revisions_of
from tests.benchmarks import services
from tests.benchmarks.report import Report, parser
from tests.support import databases, stored
from tests.support.deployments import migrated_database

_COLUMNS = {"median": "median ms", "slowest": "slowest ms"}
_PATIENCE = "3600"
_OWNER = "alice"
_SUBSCRIPTIONS = 100
_PORTION = 20_000
_LIMIT = 50
_STATES = (State.DELIVERED,) * 47 + (State.DENIED, State.HELD, State.FAILED)


def main() -> int:
    """Make the rows on each engine and measure; 1 if a page took longer than `--bound`."""
    options = parser(__doc__, repeat=20, compares=False)
    options.add_argument("--deliveries", type=int, default=10_000_000, help="(default: 10000000)")
    options.add_argument("--bound", type=float, default=50, help="most ms (default: 50)")
    args = options.parse_args()
    what = (
        f"{args.deliveries:,} deliveries on PostgreSQL and {args.deliveries // 10:,} on SQLite and "
        f"MariaDB, half of them of one subscription; pages of {_LIMIT}"
    )
    report = Report("lists", what, _COLUMNS, peers=False)
    slowest = 0.0
    for engine in ("sqlite", "mariadb", "postgresql"):
        count = args.deliveries if engine == "postgresql" else args.deliveries // 10
        with (
            services.measuring(),
            TemporaryDirectory() as folder,
            migrated_database(engine, Path(folder)) as url,
            pytest.MonkeyPatch.context() as patch,
            databases.configured(url, patch),
        ):
            patch.setenv("DATABASE_STATEMENT_TIMEOUT", _PATIENCE)
            subscription, delivery = fill(count)
            slowest = max(slowest, measure(report, engine, subscription, delivery, args.repeat))
    report.finish(args)
    return int(slowest > args.bound)


def fill(deliveries: int) -> tuple[UUID, UUID]:
    """Make the rows; return the subscription that has half of them, and one of its deliveries."""
    largest = stored.subscribe(_OWNER)
    others = [stored.subscribe(f"user{number}") for number in range(_SUBSCRIPTIONS)]
    now, delivery = utcnow(), uuid4()
    for start in range(0, deliveries, _PORTION):
        numbers = range(start, min(start + _PORTION, deliveries))
        events = [
            {
                **stored.event_row(now - timedelta(seconds=number)),
                "event_type": f"type{number % 50}",
                "event_source": f"source{number % 5}",
                "event_id": f"event{number}",
            }
            for number in numbers[::2]
        ]
        rows = []
        for number in numbers:
            event = events[(number - start) // 2]
            whose = largest if number % 2 else others[number // 2 % _SUBSCRIPTIONS]
            row = matched_row(uuid4(), event["uuid"], whose, event["created"])
            state = _STATES[number // 2 % len(_STATES)]
            status = "200" if state is State.DELIVERED else "503"
            row |= {"state": state, "due": None, "policy_status_code": "200"}
            rows.append(row | {"target_status_code": status, "tries": 1})
        delivery = rows[1]["uuid"]
        _insert(events, rows)
    _analyze()
    return largest, delivery


@writing
def _insert(events: list[dict[str, object]], rows: list[dict[str, object]]) -> None:
    insert_rows(EventLog, events)
    insert_rows(EventLogMatch, rows)
    attempt = {
        "number": 1,
        "milliseconds": 9,
        "cause": "automatic",
        "url": "http://target.invalid/",
        "address": "192.0.2.1:80",
        "request": "[]",
        "status": 200,
        "response": "[]",
        "body": "",
        "truncated": False,
        "outcome": "delivered",
        "next_attempt": None,
    }
    insert_rows(
        Attempt,
        [{"delivery": row["uuid"], "started": row["created"], **attempt} for row in rows],
    )


def _analyze() -> None:
    DB.connect(reuse_if_open=True)
    engine = str(DB.bound().__class__.__name__).lower()
    if "postgresql" in engine:
        DB.execute_sql("VACUUM ANALYZE")
    elif "mysql" in engine:
        DB.execute_sql("ANALYZE TABLE eventlog, eventlogmatch, notificationattempt").fetchall()
    else:
        DB.execute_sql("ANALYZE")


def measure(report: Report, engine: str, subscription: UUID, delivery: UUID, repeat: int) -> float:
    """Time a page of each list; return the slowest (ms)."""
    first = page_of_deliveries(subscription, DeliveryFilter(), _LIMIT, None, list)
    far = Position(utcnow() - timedelta(days=3), uuid4())
    month = utcnow() - timedelta(days=30)

    def deliveries(after: Position | None = None, **wanted: object) -> Callable[[], object]:
        filters = DeliveryFilter(**wanted)  # type: ignore[arg-type]
        return lambda: page_of_deliveries(subscription, filters, _LIMIT, after, list)

    def events(after: Position | None = None, **wanted: object) -> Callable[[], object]:
        filters = EventFilter(**wanted)  # type: ignore[arg-type]
        return lambda: page_of_events(filters, _LIMIT, after, list, lambda: False)

    calls: dict[str, Callable[[], object]] = {
        "deliveries": deliveries(),
        "deliveries, second page": deliveries(first.last),
        "deliveries, far behind": deliveries(far),
        "deliveries that failed": deliveries(states=(State.FAILED,)),
        "deliveries of a type": deliveries(type="type7"),
        "deliveries of a type that no event has": deliveries(type="nothing"),
        "deliveries answered 5xx": deliveries(status="5"),
        "deliveries of a month": deliveries(end=month),
        "one delivery": lambda: delivery_of(subscription, delivery),
        "its attempts": lambda: attempts_of(delivery),
        "revisions": lambda: revisions_of(subscription, _LIMIT),
        "events": events(),
        "events, far behind": events(far),
        "events of a type": events(type="type7"),
        "events of a source and type": events(type="type7", source="source1"),
        "events by id": events(name="event777"),
        "audit log": lambda: audit.entries(_LIMIT),
        "subscriptions at a glance": lambda: overview_of(_OWNER, _LIMIT),
    }
    slowest = 0.0
    for label, call in calls.items():
        call()  # the first one also connects
        runs = []
        for _ in range(repeat):
            began = time.perf_counter()
            call()
            runs.append(1000 * (time.perf_counter() - began))
        ordered = sorted(runs)
        figures = {"median": ordered[len(ordered) // 2], "slowest": ordered[-1]}
        report.row(f"{engine}: {label}", [figures])
        slowest = max(slowest, figures["median"])
    return slowest


if __name__ == "__main__":
    sys.exit(main())
