"""What hundreds of hostile clients do to those who behave.

`python -m tests.benchmarks.hostile` measures the web server, and uWSGI with and without nginx in
front. Some clients send heads and bodies byte by byte, others nothing, read no answers, or send
heads that are too large, garbage, and half requests; at the same time two others send events and
ask for their subscriptions.
"""

import shutil
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from tests.benchmarks import services
from tests.benchmarks.programs import Ours
from tests.benchmarks.report import Report, parser
from tests.benchmarks.services import EMBEDDED
from tests.support import hostile
from tests.support.healthy import Healthy
from tests.support.processes import Program, descendants, is_alive, memory
from tests.support.proxies import nginx_in_front, nginx_path
from tests.support.servers import free_port

_COLUMNS = {
    "tried": "hostile",
    "healthy": "healthy",
    "unanswered": "not 200",
    "median": "median ms",
    "slowest": "slowest ms",
    "failures": "5xx",
    "ended": "crashes",
    "grown": "MB more",
}
_BOUNDS = {"WEB_HEADER_TIMEOUT": "5", "WEB_BODY_TIMEOUT": "10"}

Serving = Callable[[Ours], AbstractContextManager[tuple[Program, int]]]


def main() -> int:
    """Print a line for each server; 1 where ours kept somebody waiting for a second, or failed."""
    options = parser(__doc__, repeat=1, compares=False)
    options.add_argument("--seconds", type=float, default=20.0, help="(default: 20)")
    args = options.parse_args()
    counts = ", ".join(f"{count} {kind}" for kind, count in hostile.ALL.items())
    report = Report("hostile", f"2 healthy clients beside {counts}", _COLUMNS, peers=False)
    servers: dict[str, Serving] = {"own server": own_server, "uWSGI 2x8": under_uwsgi}
    if nginx_path():
        servers["uWSGI 2x8 behind nginx"] = behind_nginx
    with services.measuring():
        found = {
            label: report.row(label, [attacked(serving, args.seconds) for _ in range(args.repeat)])
            for label, serving in servers.items()
        }
    report.finish(args)
    ours = found["own server"]
    return int(ours["slowest"] >= 1000 or any(ours[name] for name in ("unanswered", "ended")))


def attacked(serving: Serving, seconds: float) -> dict[str, float]:
    """Attack a server, and return what those saw who attacked, and those who behaved."""
    with services.ours(EMBEDDED) as site:
        service = site.service.told(**_BOUNDS)
        with service.web_server():
            hostile.prepare(service)
        with serving(service) as (program, port):
            processes = [program.pid, *descendants(program.pid)]
            before = sum(memory(pid) for pid in processes)
            with (
                hostile.attack(port, seconds, hostile.ALL) as seen,
                Healthy(port, seconds) as healthy,
            ):
                healthy.wait()
            ended = sum(not is_alive(pid) for pid in processes)
            after = 0 if ended else sum(memory(pid) for pid in processes)
    return {
        "tried": seen.tried.total(),
        "healthy": len(healthy.times),
        "unanswered": len(healthy.times) - healthy.statuses[200],
        "median": 1000 * statistics.median(healthy.times),
        "slowest": 1000 * max(healthy.times),
        "failures": seen.failures + sum(n for s, n in healthy.statuses.items() if s and s >= 500),
        "ended": ended,
        "grown": (after - before) / 2**20,
    }


@contextmanager
def own_server(service: Ours) -> Iterator[tuple[Program, int]]:
    """Run `pacifica-notifications`; gives it and its port."""
    with service.web_server() as program:
        yield program, service.port


@contextmanager
def under_uwsgi(service: Ours) -> Iterator[tuple[Program, int]]:
    """Run uWSGI; gives it and its port."""
    with service.uwsgi() as program:
        yield program, service.port


@contextmanager
def behind_nginx(service: Ours) -> Iterator[tuple[Program, int]]:
    """Run uWSGI with nginx in front; gives uWSGI and nginx's port."""
    port, folder = free_port(), service.folder / "nginx"
    with (
        service.uwsgi() as program,
        nginx_in_front(f"http://127.0.0.1:{service.port}", folder, port),
    ):
        yield program, port
    shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
