"""How long an event takes from `/receive` to its target while nothing else happens.

`python -m tests.benchmarks.latency` posts single events, with pauses of random length between them
so that no poll is met in step, and takes the time from before the request to when the target
(nginx) logged its own. One subscription, one worker process.
"""

import random
import sys
import time
from contextlib import AbstractContextManager

from tests.benchmarks import services
from tests.benchmarks.clients import post
from tests.benchmarks.report import Report, parser, percentile
from tests.benchmarks.services import (
    EMBEDDED,
    EVENT,
    NAMES,
    POSTGRESQL_RABBITMQ,
    POSTGRESQL_REDIS,
    Site,
    subscriptions,
)

_COLUMNS = {"median": "p50 ms", "p99": "p99 ms", "most": "longest ms", "lost": "not in 10 s"}
_TIMEOUT = 10.0
_WARM_UP = 10


def main() -> int:
    """Measure each deployment and print one line for each; 1 when an event was lost."""
    options = parser(__doc__, repeat=1)
    options.add_argument("--events", type=int, default=300, help="of each run (default: 300)")
    options.add_argument("--pause", type=float, default=0.1, help="between two (default: 0.1 s)")
    args = options.parse_args()
    what = f"{args.events} single events about {args.pause:g} s apart, to one subscription"
    report = Report("latency", what, _COLUMNS)
    lost = 0.0

    def measured(running: AbstractContextManager[Site]) -> dict[str, float]:
        with running as site, site.service.web_server():
            site.subscribe(subscriptions(1, 1, 1))
            with site.service.worker(processes=1):
                return spaced(site, args.events, args.pause)

    with services.measuring():
        for deployment in (POSTGRESQL_REDIS, POSTGRESQL_RABBITMQ, EMBEDDED):
            runs = [measured(services.ours(deployment)) for _ in range(args.repeat)]
            report.row(f"ours, {NAMES[deployment]}", runs)
            lost += sum(run["lost"] for run in runs)
        for deployment in (POSTGRESQL_REDIS, POSTGRESQL_RABBITMQ):
            if not args.no_old:
                runs = [measured(services.old(args.cache, deployment)) for _ in range(args.repeat)]
                report.row(f"0.5.2, {NAMES[deployment]}", runs)
    if not args.no_old:
        for deployment in (POSTGRESQL_REDIS, POSTGRESQL_RABBITMQ):
            name = NAMES[deployment]
            report.ratio(f"0.5.2, {name}", f"ours, {name}", "median")
    report.finish(args)
    return int(lost > 0)


def spaced(site: Site, count: int, pause: float) -> dict[str, float]:
    """Post events one by one and return how long their deliveries took (milliseconds)."""
    target = site.peers.target
    dice = random.Random(1)  # noqa: S311 spreads moments, hides nothing
    times: list[float] = []
    lost = 0
    for number in range(count + _WARM_UP):
        start = target.size()
        began = time.time()
        post(site.service.port, EVENT, 1)
        arrived = target.wait_for(1, _TIMEOUT, start)
        if not arrived:
            lost += 1
        elif number >= _WARM_UP:
            times.append(1000 * (arrived[0][0] - began))
        time.sleep(pause * dice.uniform(0.5, 1.5))
    return {
        "median": percentile(times, 0.5),
        "p99": percentile(times, 0.99),
        "most": max(times, default=0.0),
        "lost": lost,
    }


if __name__ == "__main__":
    sys.exit(main())
