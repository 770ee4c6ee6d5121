"""How many deliveries a worker makes a second, and what processor time each one costs.

`python -m tests.benchmarks.deliveries` makes 1,000 subscriptions of 50 users, of which 4, of as
many users, match an ingest event. The worker is stopped (SIGSTOP) while events are posted, and goes
on with them as its backlog: from then until the last delivery has arrived is the time that counts.
Policy and the target are nginx's, database and broker PostgreSQL and Redis, all on this machine, as
is the worker with its two processes. Processor time is that of the worker's processes, the parent
included, from /proc.
"""

import sys
import time
from contextlib import AbstractContextManager, ExitStack

from tests.benchmarks import services
from tests.benchmarks.clients import post
from tests.benchmarks.programs import paused, processor_seconds, seconds_of_servers
from tests.benchmarks.report import Report, parser
from tests.benchmarks.services import EVENT, OLD, OURS, Site, subscriptions

_COLUMNS = {
    "rate": "deliveries/s",
    "worker_ms": "worker CPU ms",
    "postgres_ms": "PostgreSQL ms",
    "redis_ms": "Redis ms",
    "peers_ms": "nginx ms",
}
_USERS = 50
_SETTLES = 30.0


def main() -> int:
    """Measure both services and print one line for each; 1 when a delivery was lost or doubled."""
    options = parser(__doc__)
    options.add_argument("--events", type=int, default=3000, help="in the backlog (default: 3000)")
    options.add_argument("--old-events", type=int, default=40, help="for 0.5.2 (default: 40)")
    options.add_argument("--subscriptions", type=int, default=1000, help="(default: 1000)")
    options.add_argument("--matching", type=int, default=4, help="of these (default: 4)")
    options.add_argument("--processes", type=int, default=2, help="of the worker (default: 2)")
    args = options.parse_args()
    what = (
        f"{args.subscriptions:,} subscriptions, {args.matching} match each event; "
        f"a worker of {args.processes} processes; each figure in ms is CPU per delivery"
    )
    report = Report("deliveries", what, _COLUMNS)
    exact = True

    def measured(site: AbstractContextManager[Site], events: int) -> dict[str, float]:
        nonlocal exact
        with site as running:
            wanted = (args.subscriptions, args.matching)
            figures = backlog(running, wanted, args.processes, events)
        exact &= figures["arrived"] == figures["recorded"] == args.matching * events
        return figures

    with services.measuring():
        report.row(OURS, [measured(services.ours(), args.events) for _ in range(args.repeat)])
        if not args.no_old:
            runs = [measured(services.old(args.cache), args.old_events) for _ in range(args.repeat)]
            report.row(OLD, runs)
            report.ratio(OURS, OLD, "rate")
            report.ratio(OLD, OURS, "worker_ms")
    report.note(f"{args.events:,} events a run, {args.old_events:,} for 0.5.2; {args.repeat} runs")
    if not exact:
        report.note("NOT EXACT: of some deliveries none arrived, or two, or no record")
    report.finish(args)
    return int(not exact)


def backlog(
    site: Site, wanted: tuple[int, int], processes: int, events: int, body: bytes = EVENT
) -> dict[str, float]:
    """Let a worker deal with a backlog of events and return what that took.

    `wanted` are the number of subscriptions and how many of these match.
    """
    count, matching = wanted
    target = site.peers.target
    with ExitStack() as stack:
        stack.enter_context(site.service.web_server())
        site.subscribe(subscriptions(count, matching, _USERS))
        worker = stack.enter_context(site.service.worker(processes=processes))
        warm_up = min(10 * processes, events)
        post(site.service.port, body, warm_up)
        before = matching * warm_up
        target.wait_for(before, _SETTLES + 2 * before)
        site.wait_recorded(before, _SETTLES)
        start = target.size()
        with paused(worker):
            post(site.service.port, body, events)
            worker_before, servers_before = processor_seconds(worker), seconds_of_servers()
            began = time.time()
        expected = matching * events
        target.wait_for(expected, _SETTLES + expected, start)
        recorded = site.wait_recorded(before + expected, _SETTLES) - before
        used = processor_seconds(worker) - worker_before
        servers = {
            name: seconds - servers_before[name] for name, seconds in seconds_of_servers().items()
        }
        arrivals = target.requests(start)  # once more, for what came twice
    each = 1000 / max(len(arrivals), 1)
    last = arrivals[:expected][-1][0] if arrivals else began
    return {
        "rate": len(arrivals[:expected]) / (last - began) if arrivals else 0.0,
        "worker_ms": each * used,
        "postgres_ms": each * servers["postgres"],
        "redis_ms": each * servers["redis-server"],
        "peers_ms": each * servers["nginx"],
        "each": len(arrivals) / events,
        "arrived": len(arrivals),
        "recorded": recorded,
    }


if __name__ == "__main__":
    sys.exit(main())
