"""How the cost of an event grows with subscriptions, with subscribers and with its size.

`python -m tests.benchmarks.growth` lets a worker deal with backlogs as `deliveries` does, and
changes one thing at a time. `python -m tests.benchmarks.plots` draws what it found.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.benchmarks import services
from tests.benchmarks.deliveries import backlog
from tests.benchmarks.report import Report, parser
from tests.benchmarks.services import EVENT, OLD, OURS

_COLUMNS = {
    "event_ms": "ms per event",
    "event_cpu_ms": "worker CPU ms",
    "delivery_cpu_ms": "per delivery ms",
}
_SUBSCRIPTIONS = 1000
_MATCHING = 4
_PROCESSES = 2
_KILOBYTE = 1024
_AXES = ("subscriptions", "subscribers", "size")


@dataclass(frozen=True)
class Point:
    """What one measurement is about: the value of what is changed, and the load that follows."""

    axis: str
    value: int
    subscriptions: int = _SUBSCRIPTIONS
    matching: int = _MATCHING
    body: bytes = EVENT


def main() -> int:
    """Measure each point and print a line for it."""
    options = parser(__doc__, repeat=1)
    options.add_argument("--most", type=int, default=10_000, help="subscriptions (default: 10000)")
    options.add_argument(
        "--deliveries", type=int, default=4000, help="for each point, roughly (default: 4000)"
    )
    options.add_argument("--old-events", type=int, default=10, help="for 0.5.2 (default: 10)")
    options.add_argument("--axis", nargs="+", choices=_AXES, default=_AXES, help="(default: all)")
    args = options.parse_args()
    what = (
        f"{_SUBSCRIPTIONS:,} subscriptions, {_MATCHING} match each event of "
        f"{len(EVENT) / _KILOBYTE:.1f} KB, a worker of {_PROCESSES} processes; "
        "but for what the line says"
    )
    report = Report("growth", what, _COLUMNS)
    with services.measuring():
        for point in (each for each in points(args.most) if each.axis in args.axis):
            wanted = (point.subscriptions, point.matching)
            events = max(args.deliveries // point.matching, 8)
            events = min(events, 200_000 * _KILOBYTE // len(point.body))
            runs = []
            for _ in range(args.repeat):
                with services.ours() as site:
                    runs.append(of_event(backlog(site, wanted, _PROCESSES, events, point.body)))
            add(report, point, OURS, runs)
            if not args.no_old and point.axis != "size" and point.value <= _SUBSCRIPTIONS:
                events = max(min(args.old_events, 200 // point.matching), 1)
                with services.old(args.cache) as site:
                    figures = of_event(backlog(site, wanted, _PROCESSES, events))
                add(report, point, OLD, [figures])
    report.finish(args)
    return 0


def points(most: int) -> Iterator[Point]:
    """Give what is measured, along one axis after the other."""
    for count in (10, 100, 1000, 10_000, 100_000):
        if count <= most:
            yield Point("subscriptions", count, subscriptions=count)
    for count in (1, 10, 100, 1000):
        yield Point("subscribers", count, matching=count)
    for size in (2, 10, 100, 1000):
        yield Point("size", size, body=event_of(size * _KILOBYTE))


def add(report: Report, point: Point, service: str, runs: list[dict[str, float]]) -> None:
    """Print a point as a line and keep what it is about."""
    unit = "KB, size of the event" if point.axis == "size" else point.axis
    label = f"{point.value:,} {unit}" + (", 0.5.2" if service == OLD else "")
    report.row(label, runs, axis=point.axis, value=point.value, service=service)


def of_event(figures: dict[str, float]) -> dict[str, float]:
    """Return what an event cost where a backlog's figures are about deliveries (milliseconds)."""
    each = figures["each"]
    return {
        "event_ms": 1000 * each / figures["rate"] if figures["rate"] else 0.0,
        "event_cpu_ms": each * figures["worker_ms"],
        "delivery_cpu_ms": figures["worker_ms"],
    }


def event_of(size: int) -> bytes:
    """Return an ingest event of about so many bytes, by the number of its files."""
    event: dict[str, Any] = json.loads(EVENT)
    file = next(each for each in event["data"] if each["destinationTable"] == "Files")
    number = 0
    while len(json.dumps(event)) < size:
        missing = size - len(json.dumps(event))
        for _ in range(max(missing // (2 * len(json.dumps(file))), 1)):
            event["data"].append({**file, "_id": number, "name": f"{number}.txt"})
            number += 1
    return json.dumps(event).encode()


if __name__ == "__main__":
    sys.exit(main())
