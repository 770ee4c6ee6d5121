"""How long a page of each list takes beside millions of deliveries.

`python -m tests.benchmarks.lists` makes subscriptions, events and deliveries on PostgreSQL, and a
tenth of them on SQLite and MariaDB. One user owns a subscription with as many deliveries as all
others have together. Each list is read on its first page, and far behind it where it has a cursor.
Policy is not asked. The last lines are what a delivery takes on disk.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID, uuid4

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import State
from pacifica.notifications.store import audit
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
from tests.benchmarks import millions, services
from tests.benchmarks.report import Report, parser
from tests.support import databases
from tests.support.templates import migrated_database

_COLUMNS = {"median": "median ms", "slowest": "slowest ms"}
ENGINES = ("sqlite", "mariadb", "postgresql")
_PATIENCE = "3600"
_LIMIT = 50


def main() -> int:
    """Make the rows on each engine and measure; 1 if a page took longer than `--bound`."""
    options = parser(__doc__, repeat=20, compares=False)
    options.add_argument("--deliveries", type=int, default=10_000_000, help="(default: 10000000)")
    options.add_argument("--engine", choices=ENGINES, action="append")
    options.add_argument("--bound", type=float, default=50, help="most ms (default: 50)")
    args = options.parse_args()
    what = (
        f"{args.deliveries:,} deliveries on PostgreSQL and {args.deliveries // 10:,} on SQLite and "
        f"MariaDB, half of them of one subscription; pages of {_LIMIT}"
    )
    slowest = 0.0
    with services.measuring(), TemporaryDirectory() as folder, ExitStack() as stack:
        filled = {
            engine: filled_database(stack, engine, Path(folder), args.deliveries)
            for engine in args.engine or ENGINES
        }
        report = Report("lists", what, _COLUMNS, peers=False)
        for engine, database in filled.items():
            with configured(database.url):
                slowest = max(slowest, measure(report, engine, database, args.repeat))
                tell_sizes(report, engine, database)
    report.finish(args)
    return int(slowest > args.bound)


@dataclass(frozen=True)
class Filled:
    """A database with very many rows: how many, and in how many seconds they were made."""

    url: str
    deliveries: int
    seconds: float
    subscription: UUID
    delivery: UUID


def filled_database(stack: ExitStack, engine: str, folder: Path, deliveries: int) -> Filled:
    """Make a database on an engine, with its share of the deliveries."""
    count = deliveries if engine == "postgresql" else deliveries // 10
    url = stack.enter_context(migrated_database(engine, folder))
    began = time.monotonic()
    with configured(url):
        subscription, delivery = millions.fill(engine, count)
    return Filled(url, count, time.monotonic() - began, subscription, delivery)


@contextmanager
def configured(url: str) -> Iterator[None]:
    """Configure the service for a database whose statements may take long."""
    with pytest.MonkeyPatch.context() as patch, databases.configured(url, patch):
        patch.setenv("DATABASE_STATEMENT_TIMEOUT", _PATIENCE)
        yield


def tell_sizes(report: Report, engine: str, database: Filled) -> None:
    """Say what a delivery takes on disk."""
    sizes = millions.bytes_of(engine)
    told = "; ".join(
        f"{name} {rows:.0f} bytes and {indexes:.0f} of indexes"
        for name, (rows, indexes) in zip(
            ("an event", "a delivery", "an attempt"), sizes.values(), strict=True
        )
    )
    made = f"{database.deliveries:,} deliveries were made in {database.seconds:.0f} s"
    report.note(f"{engine}: {told} ({made})")


def measure(report: Report, engine: str, database: Filled, repeat: int) -> float:
    """Time a page of each list; return the slowest (ms)."""
    subscription, delivery = database.subscription, database.delivery
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
        "events of a type that no event has": events(type="nothing"),
        "events of a source and type": events(type="type7", source="source2"),
        "events of a source that never has the type": events(type="type7", source="source1"),
        "events by id": events(name="event777"),
        "audit log": lambda: audit.entries(_LIMIT),
        "subscriptions at a glance": lambda: overview_of(millions.OWNER, _LIMIT),
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
