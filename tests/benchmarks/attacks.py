"""What random hostile users do to ten healthy ones.

`python -m tests.benchmarks.attacks` lets hostile users do random things for ten minutes, all on one
service with default settings: costly JSONPaths, targets that hang, dribble, fail or have no name,
large and deeply nested events, compressed bodies, garbage, and odd headers. Meanwhile an event
that ten healthy users have subscribed to comes in every half second. A healthy delivery is timed
from the moment at which its event is posted. `--seed` repeats a run, as far as time repeats.
"""

import gzip
import http.client
import json
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any

from tests.benchmarks import services
from tests.benchmarks.report import Report, parser
from tests.benchmarks.services import EMBEDDED, NAMES, POSTGRESQL_REDIS, Site
from tests.support import databases, servers
from tests.support.processes import memory
from tests.support.servers import AnswerTriple, RawServer, Received, RecordingServer

_COLUMNS = {
    "deliveries": "deliveries",
    "attacks": "attacks",
    "refused": "refused",
    "median": "p50 s",
    "p95": "p95 s",
    "slowest": "slowest s",
    "lost": "lost",
    "disabled": "disabled",
    "memory": "worker MB",
}
_HEALTHY_USERS = 10
_HOSTILE_USERS = 10
#: How many subscriptions a hostile user keeps, and how long it rests after each attack.
_KEPT, _REST = 100, 0.5
#: Seconds after the last event within which all deliveries must have arrived.
_SETTLES = 30.0
_LATEST = 2.0
_TYPE = "healthy"
_DISABLED = "SELECT error FROM eventmatch WHERE disabled IS NOT NULL AND name = 'all'"
_NONE: Mapping[str, str] = {}
_SLOW_TARGETS = (
    servers.hanging,
    servers.dribbling_headers,
    servers.dribbling_body,
    servers.huge_body,
    servers.endless_headers,
    servers.broken_body,
)


def main() -> int:
    """Print one line; 1 if a healthy delivery was late or lost, or a subscription disabled."""
    options = parser(__doc__, repeat=1, compares=False)
    options.add_argument("--seconds", type=float, default=600.0, help="(default: 600)")
    options.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    options.add_argument("--embedded", action="store_true", help="on SQLite, without servers")
    args = options.parse_args()
    deployment = EMBEDDED if args.embedded else POSTGRESQL_REDIS
    what = f"10 healthy users beside 10 hostile ones ({NAMES[deployment]}), seed {args.seed}"
    report = Report("attacks", what, _COLUMNS)
    with services.measuring(), services.ours(deployment) as site:
        report.note(services.database_line(site))
        found = report.row(f"{args.seconds:g} s", [_attacked(site, args.seed, args.seconds)])
    report.finish(args)
    return int(bool(found["lost"] or found["disabled"]) or found["slowest"] > _LATEST)


class _Target(RecordingServer):
    """The target of all healthy users; it knows when each event came to each of them."""

    def __init__(self) -> None:
        super().__init__(self._take)
        self.arrivals: dict[tuple[str, int], float] = {}

    def _take(self, received: Received) -> AnswerTriple:
        number = json.loads(received.body)["data"]["number"]
        self.arrivals.setdefault((received.path, number), time.monotonic())
        return 200, {}, b""


def _attacked(site: Site, seed: int, seconds: float) -> dict[str, float]:
    with (
        site.service.web_server(),
        site.service.worker(processes=2) as worker,
        _Target() as target,
        _slow_targets() as slow,
    ):
        paths = [f"/{number}" for number in range(_HEALTHY_USERS)]
        for path in paths:
            jsonpath = f'$[?(@.eventType = "{_TYPE}")].data.number'
            site.service.subscribe(target.url + path, f"healthy{path[1:]}", jsonpath=jsonpath)
        _post(site, 0)
        target.wait_for(len(paths), timeout=_SETTLES)
        over = threading.Event()
        attackers = [
            _Attacker(site, f"hostile{n}", slow, seed + n, over) for n in range(_HOSTILE_USERS)
        ]
        for each in attackers:
            each.start()
        posted = _posted(site, seconds)
        over.set()
        for each in attackers:
            each.join()
        with suppress(AssertionError):
            target.wait_for(len(paths) * (len(posted) + 1), timeout=_SETTLES)
        delays = sorted(
            target.arrivals[path, number] - began
            for path in paths
            for number, began in posted.items()
            if (path, number) in target.arrivals
        )
        disabled = databases.execute(site.service.database, _DISABLED)
        return {
            "deliveries": len(delays),
            "attacks": sum(each.count for each in attackers),
            "refused": sum(each.refused for each in attackers),
            "median": statistics.median(delays),
            "p95": delays[int(len(delays) * 0.95)],
            "slowest": delays[-1],
            "lost": len(paths) * len(posted) - len(delays),
            "disabled": len(disabled),
            "memory": memory(worker.pid) / 2**20,
        }


def _posted(site: Site, seconds: float) -> dict[int, float]:
    """Post an event every half second; return when each was begun to be posted."""
    posted = {}
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        number = len(posted) + 1
        posted[number] = time.monotonic()
        _post(site, number)
        time.sleep(max(posted[number] + 0.5 - time.monotonic(), 0.0))
    return posted


def _post(site: Site, number: int) -> None:
    site.service.receive(_event({"number": number}, _TYPE))


def _event(data: Any, kind: str = "hostile") -> bytes:
    event = {"cloudEventsVersion": "0.1", "eventType": kind, "source": "s", "eventID": "e"}
    return json.dumps({**event, "data": data}).encode()


@contextmanager
def _slow_targets() -> Iterator[list[str]]:
    with ExitStack() as stack:
        slow = [stack.enter_context(RawServer(behaviour)).url for behaviour in _SLOW_TARGETS]
        failing = stack.enter_context(RecordingServer(_fail))
        yield [*slow, *(f"{failing.url}/{status}" for status in (301, 404, 410, 429, 500, 508))]


def _fail(received: Received) -> AnswerTriple:
    return int(received.path.split("/")[1]), {"Retry-After": "1"}, received.body[:10_000]


class _Attacker(threading.Thread):
    """A user who does random things until it is over."""

    def __init__(
        self, site: Site, user: str, slow: list[str], seed: int, over: threading.Event
    ) -> None:
        super().__init__(daemon=True)
        self.count = self.refused = 0
        self._site = site
        self._user = user
        self._slow = slow
        self._chance = random.Random(seed)  # noqa: S311 to be repeated
        self._over = over
        self._made: list[str] = []

    def run(self) -> None:
        """Attack, with a rest after each attack."""
        attacks: list[Callable[[], None]] = [self._subscribe] * 6 + [self._send] * 3
        attacks += [self._send_garbage, self._list]
        while not self._over.wait(_REST):
            self._chance.choice(attacks)()
            self.count += 1

    def _subscribe(self) -> None:
        body = {"name": "x" * 200, "jsonpath": self._jsonpath(), "target_url": self._url()}
        if len(self._made) >= _KEPT:
            made = self._made.pop(self._chance.randrange(len(self._made)))
            self._ask("DELETE", f"/eventmatch/{made}")
        answer = self._ask("POST", "/eventmatch", json.dumps(body).encode())
        if answer.startswith(b"{"):
            self._made.append(json.loads(answer)["uuid"])

    def _jsonpath(self) -> str:
        n = self._chance.randrange(10**6)
        return self._chance.choice(
            [
                "$.data",
                f"$..[?($..[?($..[?(@ = {n})])])]",
                f"$.data[*][?(not (@.a <= {n}))]",
                f"$.data[*][?(@.a > {n} and @.b > {n})]",
                f"$..*..*[?(@.a = {n})]",
                f"$..a{n}..b[?(@ = 1)]",
                f"$.data[*][?(@.a = @.b and @.c{n})]",
                "$.data[::0]",
                f"$[?({' or '.join(f'@.data[*].a = {n + i}' for i in range(12))})]",
            ]
        )

    def _url(self) -> str:
        if self._chance.random() < 0.3:
            return f"http://name{self._chance.randrange(10**6)}.invalid/"
        return f"{self._chance.choice(self._slow)}/{self._chance.randrange(10**6)}"

    def _send(self) -> None:
        size = self._chance.choice([1, 10, 100, 1000, 3000])
        rows = [{"a": n, "b": n, "c": str(n)} for n in range(size)]
        data: Any = self._chance.choice([rows, [0] * 30 * size, "x" * 300 * size, [[rows]]])
        depth = self._chance.choice([0, 0, 50])
        body = _event(data).replace(b'"data": ', b'"data": ' + b"[" * depth, 1)
        body = body[:-1] + b"]" * depth + b"}"
        headers = {"Pacifica-Notifications-Hops": str(self._chance.randrange(5))}
        if self._chance.random() < 0.5:
            body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
        self._ask("POST", "/receive", body, headers)

    def _send_garbage(self) -> None:
        body = self._chance.randbytes(self._chance.choice([10, 10_000, 500_000]))
        path = self._chance.choice(["/receive", "/eventmatch"])
        self._ask("POST", path, body, {"Content-Encoding": self._chance.choice(["gzip", "br"])})

    def _list(self) -> None:
        self._ask("GET", "/eventmatch")

    def _ask(
        self, method: str, path: str, body: bytes | None = None, extra: Mapping[str, str] = _NONE
    ) -> bytes:
        headers = {"Http-Remote-User": self._user, "Content-Type": "application/json", **extra}
        port = self._site.service.port
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as client:
                client.request(method, path, body, headers)
                response = client.getresponse()
                answer = response.read()
        except (OSError, http.client.HTTPException):
            self.refused += 1
            return b""
        self.refused += response.status >= 400
        return answer if response.status < 400 else b""


if __name__ == "__main__":
    sys.exit(main())
