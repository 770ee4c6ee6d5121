"""How long a backtest of 50,000 ingests takes, and what jobs cost the events beside them.

`python -m tests.benchmarks.jobs` stores ingests of the last hour, and takes the time of a backtest
of all of them. Then it posts single events, as `latency` does, alone, beside backtests that follow
each other, and beside replays that do. One worker with two processes. Ends with 1 when an event was
lost, when the backtest took more than a minute, or when p99 beside jobs was more than twice the
one alone.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.client import HTTPException
from uuid import uuid4

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.orm import EventLog, insert_rows, writing
from tests.benchmarks import services
from tests.benchmarks.latency import spaced
from tests.benchmarks.peers import slow_target
from tests.benchmarks.report import Report, parser
from tests.benchmarks.services import EMBEDDED, EVENT, NAMES, POSTGRESQL_REDIS, Site, Subscription
from tests.support import databases
from tests.support.jobs import begin_backtest, begin_replay, ended, moment

_COLUMNS = {
    "seconds": "backtest s",
    "median": "p50 ms",
    "p99": "p99 ms",
    "most": "longest ms",
    "jobs": "jobs ended",
    "lost": "not in 10 s",
}
_MAX_SECONDS = 60.0
_MAX_RATIO = 2.0
# Seconds between two looks at a job, which themselves cost something.
_LOOK = 0.5
_USER = "historian"
# Of so many events, one is found by the backtest, and one is replayed.
_RARE, _OFTEN = 200, 10


def main() -> int:
    """Measure two deployments and print three lines for each; 1 when a bound was missed."""
    options = parser(__doc__, repeat=1, compares=False)
    options.add_argument("--stored", type=int, default=50_000, help="ingests (default: 50000)")
    options.add_argument("--events", type=int, default=300, help="of each run (default: 300)")
    options.add_argument("--pause", type=float, default=0.1, help="between two (default: 0.1 s)")
    args = options.parse_args()
    what = f"{args.stored} stored ingests; {args.events} events about {args.pause:g} s apart"
    report = Report("jobs", what, _COLUMNS)
    missed = False
    with services.measuring():
        for deployment in (POSTGRESQL_REDIS, EMBEDDED):
            name = NAMES[deployment]
            with services.ours(deployment) as site:
                fill(site, args.stored)
                missed |= measured(report, name, site, args.events, args.pause)
    report.finish(args)
    return int(missed)


def measured(report: Report, name: str, site: Site, events: int, pause: float) -> bool:
    """Measure one deployment; tell whether it missed a bound."""
    with (
        site.service.web_server(),
        slow_target(site.service.folder, 0.0) as other,
        site.service.worker(processes=2),
    ):
        site.subscribe([Subscription("alice", "$.data", "/live")])
        (replayed,) = site.subscribe([Subscription(_USER, of("Often"), "/replayed")], other.url)
        to = moment()
        began = time.perf_counter()
        backtest(site, to)
        seconds = time.perf_counter() - began
        alone = spaced(site, events, pause)
        report.row(f"{name}: alone", [{**alone, "seconds": seconds}])
        missed = seconds > _MAX_SECONDS or alone["lost"] > 0
        beside: dict[str, Callable[[], None]] = {
            "backtests": lambda: backtest(site, to),
            "replays": lambda: replay(site, replayed),
        }
        for jobs, run in beside.items():
            with again_and_again(run) as times:
                found = spaced(site, events, pause)
            label = f"{name}: beside {jobs}"
            report.row(label, [{**found, "jobs": len(times)}])
            report.ratio(label, f"{name}: alone", "p99")
            missed |= found["lost"] > 0 or found["p99"] > _MAX_RATIO * alone["p99"]
    return missed


def of(name: str) -> str:
    """Return the JSONPath of the stored ingests with a mark."""
    return f'$.data[*][?(@.destinationTable = "{name}")]'


def backtest(site: Site, to: str) -> None:
    """Run a backtest of what was stored before a time to its end."""
    whole = {"jsonpath": of("Rare"), "to": to}
    path = begin_backtest(site.service, _USER, **whole)
    answer = ended(site.service, path, _USER, 2 * _MAX_SECONDS, _LOOK)
    assert (answer["state"], answer["stopped_by"]) == ("finished", None), answer


def replay(site: Site, subscription: str) -> None:
    """Run a replay to its end."""
    path = begin_replay(site.service, subscription, "all", user=_USER, match="now")
    answer = ended(site.service, path, _USER, 600, _LOOK)
    assert answer["state"] == "finished", answer


@contextmanager
def again_and_again(run: Callable[[], None]) -> Iterator[list[float]]:
    """Run one job after another for the block; yields how long each took (seconds)."""
    times: list[float] = []
    over = threading.Event()

    def go_on() -> None:
        while not over.is_set():
            began = time.perf_counter()
            try:
                run()
            except (OSError, HTTPException):  # the web server has ended
                return
            times.append(time.perf_counter() - began)

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield times
    finally:
        over.set()
        thread.join(1.0)


def fill(site: Site, count: int) -> None:
    """Store ingests of the last hour that were dispatched long ago, some with a mark."""
    with pytest.MonkeyPatch.context() as patch, databases.configured(site.service.database, patch):
        for start in range(0, count, 1000):
            _store(range(start, min(start + 1000, count)), count)


@writing
def _store(numbers: range, count: int) -> None:
    rows = []
    for number in numbers:
        event = json.loads(EVENT)
        for mark, each in (("Rare", _RARE), ("Often", _OFTEN)):
            if number % each == 0:
                event["data"].append({"destinationTable": mark, "value": number})
        moment = utcnow() - timedelta(seconds=3000 * (1 - number / count))
        rows.append({"uuid": uuid4(), "jsondata": json.dumps(event), "created": moment, **_REST})
    insert_rows(EventLog, rows)


_REST = {
    "due": None,
    "attempts": 1,
    "hops": 0,
    "specversion": "",
    "revision": None,
    "event_type": "org.pacifica.metadata.ingest",
    "event_source": "",
    "event_id": "",
    "event_time": "",
    "transaction_id": None,
}


if __name__ == "__main__":
    sys.exit(main())
