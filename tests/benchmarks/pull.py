"""How many deliveries are fetched and acknowledged a second.

`python -m tests.benchmarks.pull` stores deliveries that wait to be fetched from one subscription,
and has processes fetch them by HTTP, 100 at a time, and acknowledge them: from the first request
until the last answer is the time that counts. Each event is what Pacifica Metadata sends of an
ingest. The database is PostgreSQL; web server, fetchers and database are on this machine.
"""

import http.client
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing
from multiprocessing import get_context
from typing import Any
from uuid import UUID, uuid4

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import State
from pacifica.notifications.orm import EventLog, EventLogMatch, insert_rows, reading, writing
from pacifica.notifications.store.deliveries import matched_row
from tests.benchmarks import services
from tests.benchmarks.programs import processor_seconds, seconds_of_servers
from tests.benchmarks.report import Report, parser
from tests.benchmarks.services import EVENT
from tests.support import databases, stored

_COLUMNS = {"rate": "deliveries/s", "web_ms": "web CPU ms", "postgres_ms": "PostgreSQL ms"}
_BATCH = 100
_TIMEOUT = 60


def main() -> int:
    """Measure, and print one line for each number of fetchers; 1 if a delivery was doubled."""
    options = parser(__doc__, compares=False)
    options.add_argument("--deliveries", type=int, default=50_000, help="a run (default: 50000)")
    options.add_argument("--fetchers", type=int, nargs="+", default=[1, 2, 4], help="processes")
    args = options.parse_args()
    what = (
        f"{args.deliveries:,} deliveries wait to be fetched from one subscription, and are fetched "
        f"and acknowledged {_BATCH} at a time; each figure in ms is CPU per delivery"
    )
    report = Report("pull", what, _COLUMNS, peers=False)
    exact = True
    with services.measuring():
        for fetchers in args.fetchers:
            runs = [measured(args.deliveries, fetchers) for _ in range(args.repeat)]
            exact &= all(run["fetched"] == run["recorded"] == args.deliveries for run in runs)
            report.row(f"{fetchers} fetching processes", runs)
    if not exact:
        report.note("NOT EXACT: some deliveries were not fetched, or twice, or have no record")
    report.finish(args)
    return int(not exact)


def measured(deliveries: int, fetchers: int) -> dict[str, float]:
    """Let processes fetch everything, and return what that took."""
    with ExitStack() as stack:
        site = stack.enter_context(services.ours())
        web = stack.enter_context(site.service.web_server())
        subscription = site.service.subscribe("pull:")
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        stack.enter_context(databases.configured(site.service.database, patch))
        fill(UUID(subscription), deliveries)
        pool = stack.enter_context(ProcessPoolExecutor(fetchers, get_context("spawn")))
        list(pool.map(time.sleep, [0.5] * fetchers))  # they have started
        web_before, servers_before = processor_seconds(web), seconds_of_servers()
        began = time.monotonic()
        path = f"/eventmatch/{subscription}/pull"
        counts = list(pool.map(fetch_all, [site.service.port] * fetchers, [path] * fetchers))
        seconds = time.monotonic() - began
        web_seconds = processor_seconds(web) - web_before
        postgres = seconds_of_servers()["postgres"] - servers_before["postgres"]
        recorded = acknowledged()
    fetched = sum(counts)
    return {
        "rate": fetched / seconds,
        "web_ms": 1000 * web_seconds / fetched,
        "postgres_ms": 1000 * postgres / fetched,
        "fetched": fetched,
        "recorded": recorded,
    }


def fetch_all(port: int, path: str) -> int:
    """Fetch and acknowledge until there is nothing left; return how many it were."""
    count = 0
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)) as client:
        while items := call(client, path, {"max": _BATCH})["items"]:
            call(client, f"{path}/acknowledge", {"locks": [each["lock"] for each in items]})
            count += len(items)
    return count


def call(client: http.client.HTTPConnection, path: str, body: Any) -> Any:
    headers = {"Content-Type": "application/json", "Http-Remote-User": "alice"}
    client.request("POST", path, json.dumps(body), headers)
    response = client.getresponse()
    answer = response.read()
    if response.status != http.client.OK:
        raise SystemExit(f"{path} was refused: {answer!r}")
    return json.loads(answer)


@writing
def fill(subscription: UUID, count: int) -> None:
    """Store deliveries that wait to be fetched."""
    now = utcnow()
    events = [
        {**stored.event_row(now), "jsondata": EVENT.decode(), "specversion": "0.1"}
        for _ in range(count)
    ]
    insert_rows(EventLog, events)
    available = {"state": State.AVAILABLE, "due": None, "policy_status_code": "200"}
    rows = [matched_row(uuid4(), each["uuid"], subscription, now) | available for each in events]
    insert_rows(EventLogMatch, rows)


@reading
def acknowledged() -> int:
    """Return how many deliveries are on record as acknowledged."""
    return int(EventLogMatch.select().where(EventLogMatch.state == State.DELIVERED).count())


if __name__ == "__main__":
    sys.exit(main())
