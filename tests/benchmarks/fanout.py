"""How long one event takes to reach a thousand subscribers.

`python -m tests.benchmarks.fanout` makes 1,000 subscriptions of 50 users, all of which match an
ingest event, posts one such event on an idle system and waits for its last delivery; then the next.
Times are those at which the target (nginx) logged a request, less the one at which `/receive` was
called. Policy should be asked once for each user.
"""

import sys
import time
from contextlib import AbstractContextManager

from tests.benchmarks import services
from tests.benchmarks.clients import post
from tests.benchmarks.report import Report, parser
from tests.benchmarks.services import EVENT, OLD, OURS, Site, subscriptions

_COLUMNS = {
    "first": "first after s",
    "last": "last after s",
    "asked": "Policy calls",
    "arrived": "deliveries",
}
_SETTLES = 30.0


def main() -> int:
    """Measure both services and print one line for each; 1 when a delivery was lost or doubled."""
    options = parser(__doc__, repeat=5)
    options.add_argument("--subscriptions", type=int, default=1000, help="(default: 1000)")
    options.add_argument("--users", type=int, default=50, help="that these are of (default: 50)")
    options.add_argument("--processes", type=int, default=2, help="of the worker (default: 2)")
    args = options.parse_args()
    what = (
        f"one event, {args.subscriptions:,} matching subscriptions of {args.users} users; "
        f"a worker of {args.processes} processes"
    )
    report = Report("fanout", what, _COLUMNS)

    def measured(running: AbstractContextManager[Site], repeat: int) -> list[dict[str, float]]:
        with running as site, site.service.web_server():
            site.subscribe(subscriptions(args.subscriptions, args.subscriptions, args.users))
            with site.service.worker(processes=args.processes):
                # The first ones find workers that have yet to read the subscriptions.
                return [fan_out(site, args.subscriptions) for _ in range(repeat + 2)][2:]

    with services.measuring():
        runs = measured(services.ours(), args.repeat)
        report.row(OURS, runs)
        if not args.no_old:
            report.row(OLD, measured(services.old(args.cache), min(args.repeat, 1)))
            report.ratio(OLD, OURS, "last")
    report.note(f"{args.repeat} events, one after the other; 1 for {OLD}")
    exact = all(run["arrived"] == args.subscriptions for run in runs)
    if not exact:
        report.note("NOT EXACT: some deliveries did not arrive, or twice")
    report.finish(args)
    return int(not exact)


def fan_out(site: Site, count: int) -> dict[str, float]:
    """Post one event and return when its deliveries arrived (seconds), and what was asked."""
    target, policy = site.peers.target, site.peers.policy
    before, asked, start = site.recorded(), len(policy.requests()), target.size()
    began = time.time()
    post(site.service.port, EVENT, 1)
    target.wait_for(count, _SETTLES + count / 5, start)
    site.wait_recorded(before + count, _SETTLES)
    arrivals = target.requests(start)
    moments = [moment - began for moment, _ in arrivals] or [0.0]
    return {
        "first": moments[0],
        "last": moments[-1],
        "asked": len(policy.requests()) - asked,
        "arrived": len(arrivals),
    }


if __name__ == "__main__":
    sys.exit(main())
