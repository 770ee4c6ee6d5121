"""Whether twice the workers do twice the work.

`python -m tests.benchmarks.scaling` measures two loads. The first costs processor time: events with
many files are matched with subscriptions each of which has to look at all that is in them, by a
worker of one process and of two. The second costs waiting: targets answer after 100 ms, to one, two
and four workers of one process each.
"""

import json
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from statistics import median
from typing import Any

from tests.benchmarks import services
from tests.benchmarks.clients import post
from tests.benchmarks.peers import Peer, slow_target
from tests.benchmarks.programs import paused
from tests.benchmarks.report import Report, parser
from tests.benchmarks.services import EVENT, Site, Subscription
from tests.support.processes import Program

_COLUMNS = {
    "rate": "deliveries/s",
    "share": "of linear %",
    "middle": "middle half/s",
    "middle_share": "of linear %",
}
_DELAY = 0.1
_SETTLES = 30.0
_WARM_UP = 50
#: Costly on purpose: every value of the event has to be looked at.
_COSTLY = '$..["attribute {n}"]'
_FILES = 200
_COSTLY_SUBSCRIPTIONS = 20
#: A number of processes or workers, and what each run of them did.
Measured = tuple[int, list[dict[str, float]]]


def main() -> int:
    """Measure both loads and print a line for each number of processes or workers."""
    options = parser(__doc__, compares=False)
    options.add_argument("--events", type=int, default=300, help="that cost (default: 300)")
    options.add_argument(
        "--waiting", type=int, default=1500, help="events per worker that wait (default: 1500)"
    )
    args = options.parse_args()
    what = (
        f"A: events of {_FILES} files, {_COSTLY_SUBSCRIPTIONS} subscriptions that look at all; "
        f"B: one subscription, whose target answers after {_DELAY * 1000:g} ms"
    )
    report = Report("scaling", what, _COLUMNS)
    with services.measuring():
        costly: list[Measured] = []
        for processes in (1, 2):
            runs = [costing(processes, args.events) for _ in range(args.repeat)]
            costly.append((processes, runs))
            compared(report, "A: processes of one worker", costly)
        waiting: list[Measured] = []
        for workers in (1, 2, 4):
            runs = [waiting_for(workers, workers * args.waiting) for _ in range(args.repeat)]
            waiting.append((workers, runs))
            compared(report, "B: workers of one process", waiting)
    report.note(
        "The middle half leaves out how workers begin, and that not all of them end at once"
    )
    report.note("A can reach twice the first only where nobody else needs the second core")
    report.finish(args)
    return 0


def compared(report: Report, what: str, measured: Sequence[Measured]) -> None:
    """Print the last of some measurements, compared with the first of them."""
    (first, base), (count, runs) = measured[0], measured[-1]
    rate, middle = (median(run[name] for run in base) for name in ("rate", "middle"))
    linear = count / first / 100
    row = [
        {
            **run,
            "share": run["rate"] / rate / linear,
            "middle_share": run["middle"] / middle / linear,
        }
        for run in runs
    ]
    report.row(f"{what}: {count}", row)


def costing(processes: int, events: int) -> dict[str, float]:
    """Return the deliveries a second of a worker whose processor time is what bounds it."""
    wanted = [
        Subscription(f"user{n}", _COSTLY.format(n=n), f"/{n}") for n in range(_COSTLY_SUBSCRIPTIONS)
    ]
    wanted[0] = Subscription("user0", "$.data", "/0")
    with ExitStack() as stack:
        site = stack.enter_context(services.ours())
        stack.enter_context(site.service.web_server())
        site.subscribe(wanted)
        programs = [stack.enter_context(site.service.worker(processes=processes))]
        return drained(site, site.peers.target, programs, many_files(_FILES), events)


def waiting_for(workers: int, events: int) -> dict[str, float]:
    """Return the deliveries a second of workers that wait for their target."""
    with ExitStack() as stack:
        site = stack.enter_context(services.ours())
        target = stack.enter_context(slow_target(site.service.folder, _DELAY))
        stack.enter_context(site.service.web_server())
        site.subscribe([Subscription("user0", "$.data", "/0")], target.url)
        programs = [stack.enter_context(site.service.worker()) for _ in range(workers)]
        return drained(site, target, programs, EVENT, events)


def drained(
    site: Site, target: Peer, programs: Sequence[Program], body: bytes, events: int
) -> dict[str, float]:
    """Return how many events of a backlog, each of which has one delivery, are done a second."""
    post(site.service.port, body, _WARM_UP)
    site.wait_recorded(_WARM_UP, _SETTLES)
    start = target.size()
    with paused(*programs):
        post(site.service.port, body, events)
        began = time.time()
    moments = [moment for moment, _ in target.wait_for(events, _SETTLES + events, start)]
    if len(moments) < events:
        raise SystemExit(f"{len(moments)} of {events} deliveries were made in time")
    quarter, three_quarters = events // 4, 3 * events // 4
    return {
        "rate": events / (moments[-1] - began),
        "middle": (three_quarters - quarter) / (moments[three_quarters] - moments[quarter]),
    }


def many_files(count: int) -> bytes:
    """Return an ingest event of so many files."""
    event: dict[str, Any] = json.loads(EVENT)
    file = next(each for each in event["data"] if each["destinationTable"] == "Files")
    event["data"] += [{**file, "_id": n, "name": f"{n}.txt", "size": n} for n in range(count)]
    return json.dumps(event).encode()


if __name__ == "__main__":
    sys.exit(main())
