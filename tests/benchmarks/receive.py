"""How many events `/receive` takes a second, and how long each one waits for its answer.

`python -m tests.benchmarks.receive` measures the service under its own server and under uWSGI, on
SQLite and on PostgreSQL, and 0.5.2 under its own server. An event of ours is on disk when it is
answered; 0.5.2 leaves storing to its worker, and none runs here.

Two figures for each. Throughput: 16 clients on kept connections, each with its next request as soon
as the last one is answered. Latency: requests at a fixed rate, each timed from the moment at which
it was due, so that waiting behind a slow one counts.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tests.benchmarks import services
from tests.benchmarks.clients import CONNECTIONS, Requests
from tests.benchmarks.programs import Ours
from tests.benchmarks.replaced import Replaced
from tests.benchmarks.report import Report, parser, percentile
from tests.benchmarks.services import EMBEDDED, EVENT, OLD, POSTGRESQL_REDIS, Site
from tests.support import databases
from tests.support.deployments import Service
from tests.support.processes import Program

_ROOT = Path(__file__).parents[2]
_COLUMNS = {"a_second": "requests/s", "median": "p50 ms", "p99": "p99 ms"}
_MOST_REQUESTS = 50_000
_TIMEOUT = 30.0
_BEST = "uWSGI 2x8, PostgreSQL + Redis"
_OLD = f"{OLD}, own server, the same *"
_DURABILITY = ("fsync", "synchronous_commit")


def main() -> int:
    """Measure everything and print one line for each; 1 when a request or an event was lost."""
    options = parser(__doc__)
    options.add_argument("--seconds", type=float, default=5.0, help="for each figure (default: 5)")
    options.add_argument("--rate", type=float, default=500.0, help="for latency (default: 500/s)")
    options.add_argument("--client", type=int, metavar="PORT", help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.client:
        print(json.dumps(seen_by_clients(args.client, args.seconds, args.rate)))
        return 0
    what = f"{CONNECTIONS} clients for throughput, {args.rate:g} requests/s for latency"
    report = Report("receive", what, _COLUMNS)
    lost = 0.0
    with services.measuring():
        for label, deployment, serving in (
            ("own server, SQLite + filesystem", EMBEDDED, Service.web_server),
            ("uWSGI 2x8, SQLite + filesystem", EMBEDDED, under_uwsgi),
            ("own server, PostgreSQL + Redis", POSTGRESQL_REDIS, Service.web_server),
            (_BEST, POSTGRESQL_REDIS, under_uwsgi),
        ):
            runs = [answered(services.ours(deployment), serving, args) for _ in range(args.repeat)]
            report.row(label, runs)
            lost += sum(run["failed"] + max(run["answered"] - run["stored"], 0) for run in runs)
        if not args.no_old:
            old = [services.old(args.cache) for _ in range(args.repeat)]
            report.row(_OLD, [answered(site, Replaced.web_server, args) for site in old])
            report.note("* has stored nothing when it answers: that is left to its worker")
            report.ratio(_BEST, _OLD, "a_second")
        report.note(f"PostgreSQL: {durability()}; medians of {args.repeat} runs")
    if lost:
        report.note(f"LOST: {lost:.0f} requests failed, or events that are not on record")
    report.finish(args)
    return int(lost > 0)


def under_uwsgi(service: Service) -> AbstractContextManager[Program]:
    """Run the web server under uWSGI."""
    assert isinstance(service, Ours)
    return service.uwsgi()


def answered(
    starting: AbstractContextManager[Site],
    serving: Callable[[Any], AbstractContextManager[Program]],
    args: argparse.Namespace,
) -> dict[str, float]:
    """Have clients in a process of their own send requests; return what they saw."""
    with starting as site, serving(site.service):
        before = stored(site)
        command = [sys.executable, "-m", "tests.benchmarks.receive"]
        command += ["--client", str(site.service.port)]
        command += ["--seconds", str(args.seconds), "--rate", str(args.rate)]
        timeout = 10 * args.seconds + _TIMEOUT
        result = subprocess.run(
            command, cwd=_ROOT, check=True, capture_output=True, timeout=timeout
        )
        return {**json.loads(result.stdout), "stored": stored(site) - before}


def seen_by_clients(port: int, seconds: float, rate: float) -> dict[str, float]:
    """Send requests from this process and return what came back; times in milliseconds."""
    requests = Requests(f"http://127.0.0.1:{port}/receive", EVENT)
    warm_up = requests.as_fast_as_answered(min(seconds, 1.0), _MOST_REQUESTS)
    fast = requests.as_fast_as_answered(seconds, _MOST_REQUESTS)
    paced = requests.at_rate(rate, seconds)
    return {
        "a_second": len(fast) / seconds,
        "median": 1000 * percentile(paced, 0.5),
        "p99": 1000 * percentile(paced, 0.99),
        "answered": len(warm_up) + len(fast) + len(paced),
        "failed": requests.failed,
    }


def stored(site: Site) -> int:
    """Return how many events are on record."""
    return databases.execute(site.service.database, "SELECT COUNT(*) FROM eventlog")[0][0]


def durability() -> str:
    """Say what the database server is told of writing to disk before it answers."""
    server = os.environ.get(*databases.SERVERS["postgresql"])
    settings = ((name, databases.execute(server, f"SHOW {name}")[0][0]) for name in _DURABILITY)
    return ", ".join(f"{name} {value}" for name, value in settings)


if __name__ == "__main__":
    sys.exit(main())
