"""How much memory a worker has after its hundred-thousandth event.

`python -m tests.benchmarks.memory` posts events in stretches, waits until the deliveries of each
stretch are on record, and then looks at the resident memory of all processes of the worker.
"""

import sys
from contextlib import ExitStack

from tests.benchmarks import services
from tests.benchmarks.clients import post
from tests.benchmarks.programs import memory
from tests.benchmarks.report import Report, parser
from tests.benchmarks.services import EVENT, subscriptions

_COLUMNS = {"total": "all together MB", "most": "largest MB", "parent": "parent MB"}
_MEGABYTE = 2**20
_SETTLES = 60.0
#: The share of the run after which everything that is kept on purpose has been filled.
_SETTLED = 0.2


def main() -> int:
    """Print the curve, and how much a thousand events add once everything is filled."""
    options = parser(__doc__, repeat=1, compares=False)
    options.add_argument("--events", type=int, default=100_000, help="in all (default: 100000)")
    options.add_argument("--every", type=int, default=5_000, help="events a sample (default: 5000)")
    options.add_argument("--subscriptions", type=int, default=100, help="(default: 100)")
    options.add_argument("--matching", type=int, default=1, help="of these (default: 1)")
    options.add_argument("--processes", type=int, default=2, help="of the worker (default: 2)")
    args = options.parse_args()
    what = (
        f"a worker of {args.processes} processes and their parent, resident memory; "
        f"{args.subscriptions} subscriptions, {args.matching} match each event"
    )
    report = Report("memory", what, _COLUMNS)
    curve: list[tuple[int, float]] = []
    with services.measuring(), ExitStack() as stack:
        site = stack.enter_context(services.ours())
        stack.enter_context(site.service.web_server())
        site.subscribe(subscriptions(args.subscriptions, args.matching, args.subscriptions))
        worker = stack.enter_context(site.service.worker(processes=args.processes))
        done = 0
        while True:
            sizes = [size / _MEGABYTE for size in memory(worker)]
            figures = {"total": sum(sizes), "most": max(sizes), "parent": sizes[0]}
            report.row(f"after {done:,} events", [figures])
            curve.append((done, sum(sizes)))
            if done >= args.events:
                break
            stretch = min(args.every, args.events - done)
            post(site.service.port, EVENT, stretch)
            done += stretch
            expected = done * args.matching
            if site.wait_recorded(expected, _SETTLES + expected / 20) < expected:
                raise SystemExit("the deliveries were not made in time")
    settled = [point for point in curve if point[0] >= _SETTLED * args.events]
    report.note(f"{1000 * slope(settled):.3f} MB more for each 1,000 events, after the first fifth")
    report.finish(args)
    return 0


def slope(points: list[tuple[int, float]]) -> float:
    """Return the slope of the straight line that is nearest to some points; 0 for fewer than two.

    Nearest by the sum of squares.
    """
    if len(points) < 2:
        return 0.0
    middle_x = sum(x for x, _ in points) / len(points)
    middle_y = sum(y for _, y in points) / len(points)
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread


if __name__ == "__main__":
    sys.exit(main())
