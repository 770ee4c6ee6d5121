"""How long a healthy subscription waits beside others of its host that hang.

`python -m tests.benchmarks.fairness` puts 1, 4, 40 and 400 hanging subscriptions and a healthy one
on the same host and port. All of them match each event. The first event comes when nothing is known
of any of them ("cold"), others follow while they hang ("warm"). Each round has a host of its own.
One worker process with default settings delivers. A healthy delivery is timed from the moment at
which the event is posted; one that has not arrived after `--timeout` seconds counts as lost.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable

from tests.benchmarks import services
from tests.benchmarks.report import Report, parser
from tests.benchmarks.services import EMBEDDED, EVENT, NAMES, POSTGRESQL_REDIS, Site
from tests.support.gateway import HANGING, Gateway

_COLUMNS = {
    "cold_median": "cold p50 s",
    "cold_max": "cold max s",
    "cold_lost": "cold lost",
    "warm_median": "warm p50 s",
    "warm_max": "warm max s",
    "warm_lost": "warm lost",
}
_HEALTHY = "/healthy"
_SETTLES = 20.0
#: Whose the hanging subscriptions are, by their number.
_OWNERS: dict[str, Callable[[int], str]] = {
    "one other user": lambda _number: "other",
    "the same user": lambda _number: "healthy",
    "many users": lambda number: f"user{number}",
}


def main() -> int:
    """Print a line for each number of hanging subscriptions; 1 when a healthy delivery was lost."""
    options = parser(__doc__, repeat=3, compares=False)
    options.add_argument("--hanging", type=int, nargs="*", default=[1, 4, 40, 400])
    options.add_argument("--owners", choices=_OWNERS, nargs="*", default=["one other user"])
    options.add_argument("--events", type=int, default=10, help="while warm (default: 10)")
    options.add_argument("--pause", type=float, default=1.0, help="between these (default: 1 s)")
    options.add_argument("--timeout", type=float, default=20.0, help="(default: 20 s)")
    options.add_argument("--embedded", action="store_true", help="on SQLite, without servers")
    args = options.parse_args()
    deployment = EMBEDDED if args.embedded else POSTGRESQL_REDIS
    what = (
        f"a healthy subscription beside hanging ones of its host ({NAMES[deployment]}); "
        f"{args.repeat} cold events, {args.repeat * args.events} warm ones"
    )
    report = Report("fairness", what, _COLUMNS)
    lost = 0.0
    with (
        services.measuring(),
        services.ours(deployment) as site,
        site.service.web_server(),
        site.service.worker(processes=1),
    ):
        _round(site, 0, "many users", 1, 0.0, _SETTLES)  # finds programs that have just started
        for count in args.hanging:
            for owners in args.owners:
                times: dict[str, list[float | None]] = {"cold": [], "warm": []}
                for _ in range(args.repeat):
                    cold, warm = _round(site, count, owners, args.events, args.pause, args.timeout)
                    times["cold"].append(cold)
                    times["warm"] += warm
                figures = {**_figures("cold", times["cold"]), **_figures("warm", times["warm"])}
                lost += figures["cold_lost"] + figures["warm_lost"]
                report.row(f"{count} hanging, of {owners}", [figures])
    report.finish(args)
    return int(bool(lost))


def _figures(phase: str, times: list[float | None]) -> dict[str, float]:
    arrived = [seconds for seconds in times if seconds is not None]
    figures = {f"{phase}_lost": float(len(times) - len(arrived))}
    if arrived:
        figures |= {
            f"{phase}_median": statistics.median(arrived),
            f"{phase}_max": max(arrived),
        }
    return figures


def _round(
    site: Site, hanging: int, owners: str, events: int, pause: float, timeout: float
) -> tuple[float | None, list[float | None]]:
    """Return how long the first event took to a new healthy subscription, and those after it."""
    with Gateway() as gateway:
        made = []
        for number in range(hanging):
            user = _OWNERS[owners](number)
            url = f"{gateway.url}{HANGING}/{number}"
            made.append((user, site.service.subscribe(url, user)))
        made.append(("healthy", site.service.subscribe(gateway.url + _HEALTHY, "healthy")))
        posted = [_post(site)]
        cold = _seconds(gateway, posted[0], timeout)
        for _ in range(events):
            time.sleep(pause)
            posted.append(_post(site))
        warm = [_seconds(gateway, each, timeout) for each in posted[1:]]
        for user, uuid in made:
            site.unsubscribe(user, uuid)
    return cold, warm


def _post(site: Site) -> tuple[str, float]:
    """Have an event come in; return its id and when that began."""
    name = f"event {time.monotonic_ns()}"
    began = time.monotonic()
    site.service.receive(json.dumps({**json.loads(EVENT), "eventID": name}).encode())
    return name, began


def _seconds(gateway: Gateway, posted: tuple[str, float], timeout: float) -> float | None:
    name, began = posted
    arrived = gateway.wait_for(_HEALTHY, name, max(began + timeout - time.monotonic(), 0.0))
    return None if arrived is None else arrived - began


if __name__ == "__main__":
    sys.exit(main())
