"""How soon a change of a subscription counts, and whether it costs more beside many others.

`python -m tests.benchmarks.changes` makes a subscription and, as soon as it is answered, posts an
event that it matches: the event must reach it. Then it deletes the subscription and posts another
event, which must not. Both are done again and again beside 100, 1,000 and 10,000 subscriptions, of
which one matches: if all were read again at a change, it would take longer with each of them.
Another line has the same events without changes, to compare with.
"""

import random
import sys
import time
from collections import Counter

from tests.benchmarks import services
from tests.benchmarks.clients import post
from tests.benchmarks.report import Report, parser, percentile
from tests.benchmarks.services import EVENT, Site, Subscription, subscriptions

_COLUMNS = {
    "median": "p50 ms",
    "p99": "p99 ms",
    "missed": "not reached",
    "unwanted": "after its end",
}
_USER = "user0"
_ALWAYS = "/0"
_TIMEOUT = 10.0
_WARM_UP = 10
_PROCESSES = 2


def main() -> int:
    """Measure each number of subscriptions; 1 when a change did not count for the next event."""
    options = parser(__doc__, repeat=1, compares=False)
    options.add_argument("--changes", type=int, default=100, help="of each run (default: 100)")
    options.add_argument("--beside", type=int, nargs="+", default=[100, 1_000, 10_000])
    args = options.parse_args()
    what = (
        f"{args.changes} times a subscription is made, an event posted, the subscription deleted, "
        f"an event posted; PostgreSQL + Redis, a worker of {_PROCESSES} processes; "
        "times from /receive to the target"
    )
    report = Report("changes", what, _COLUMNS)
    late = 0.0
    with services.measuring():
        for beside in args.beside:
            for changing in (False, True):
                runs = [measured(beside, args.changes, changing) for _ in range(args.repeat)]
                kind = "changes" if changing else "no changes"
                report.row(f"{kind} beside {beside:,} subscriptions", runs)
                late += sum(run["missed"] + run["unwanted"] for run in runs)
    report.finish(args)
    return int(late > 0)


def measured(beside: int, count: int, changing: bool) -> dict[str, float]:
    """Post two events a round, with or without a subscription that only the first is to reach."""
    taken: list[float] = []
    missed = 0
    with services.ours() as site, site.service.web_server():
        site.subscribe(subscriptions(beside, 1, 50))
        (always, *_) = subscriptions(1, 1, 1)
        with site.service.worker(processes=_PROCESSES):
            for number in range(count + _WARM_UP):
                path = f"/new/{number}" if changing else _ALWAYS
                made = [Subscription(_USER, always.jsonpath, path)] if changing else []
                uuids = site.subscribe(made)
                took = reached(site, path)
                missed += took is None
                if took is not None and number >= _WARM_UP:
                    taken.append(took)
                for uuid in uuids:
                    site.unsubscribe(_USER, uuid)
                missed += reached(site, _ALWAYS) is None
            paths = Counter(path for _moment, path in site.peers.target.requests())
    del paths[_ALWAYS]
    return {
        "median": percentile(taken, 0.5),
        "p99": percentile(taken, 0.99),
        "missed": missed,
        "unwanted": sum(paths.values()) - len(paths),
    }


def reached(site: Site, path: str) -> float | None:
    """Post an event and return after how many ms a path was reached; None if it was not."""
    target = site.peers.target
    start = target.size()
    began = time.time()
    post(site.service.port, EVENT, 1)
    arrived: dict[str, float] = {}
    count = 0
    while path not in arrived and time.time() - began < _TIMEOUT:
        count += 1
        arrived = {each: moment for moment, each in target.wait_for(count, _TIMEOUT, start)}
    time.sleep(random.uniform(0.05, 0.15))  # noqa: S311 so that no poll is met in step
    return 1000 * (arrived[path] - began) if path in arrived else None


if __name__ == "__main__":
    sys.exit(main())
