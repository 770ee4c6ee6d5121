"""Records what `/metrics` says during outages, for the tests of the alert rules.

`python -m tests.benchmarks.outages --save tests/alerts` runs the service on PostgreSQL and Redis
while something is away: its workers, Policy, the targets, the broker or the database. It posts an
event every other second, scrapes every few seconds, and writes each outage as a series of scrapes.
All outages are recorded at the same time.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import requests

from tests.benchmarks import services
from tests.benchmarks.services import EVENT, POSTGRESQL_REDIS
from tests.support.deployments import Service, link_to, prepared
from tests.support.links import Link
from tests.support.scraping import scrape
from tests.support.servers import AnswerTriple, Received, RecordingServer

SCRAPE_EVERY = 10
_EVENT_EVERY = 2.0
_BEFORE, _DURING, _AFTER = 60, 270, 90
# Nothing else of the scrapes is needed.
_UNUSED = ("_bucket", "_created")


@dataclass
class Site:
    """A service, and what can be taken away from it."""

    service: Service
    workers: ExitStack
    policy: RecordingServer
    target: RecordingServer
    broker: Link
    database: Link

    def start_worker(self) -> None:
        self.workers.enter_context(self.service.worker(processes=1))


def refuse(_received: Received) -> AnswerTriple:
    return 503, {}, b""


def accept(_received: Received) -> AnswerTriple:
    return 200, {}, b"{}"


def set_policy(site: Site, answer: Callable[[Received], AnswerTriple]) -> None:
    site.policy.answer = answer


def set_target(site: Site, answer: Callable[[Received], AnswerTriple]) -> None:
    site.target.answer = answer


#: What begins and what ends each outage.
OUTAGES: dict[str, tuple[Callable[[Site], object], Callable[[Site], object]]] = {
    "workers": (lambda site: site.workers.close(), Site.start_worker),
    "policy": (lambda site: set_policy(site, refuse), lambda site: set_policy(site, accept)),
    "targets": (lambda site: set_target(site, refuse), lambda site: set_target(site, accept)),
    "broker": (lambda site: site.broker.cut(), lambda site: site.broker.restore()),
    "database": (lambda site: site.database.cut(), lambda site: site.database.restore()),
}


def main() -> int:
    """Record all outages."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--save", type=Path, required=True, metavar="FOLDER")
    options.add_argument("--outage", nargs="+", choices=OUTAGES, default=list(OUTAGES))
    args = options.parse_args()
    with services.measuring(), ProcessPoolExecutor(len(OUTAGES)) as pool:
        recorded = {name: pool.submit(record, name) for name in args.outage}
        for name, scrapes in recorded.items():
            lines = (f" {json.dumps(each)}: {values}" for each, values in scrapes.result().items())
            (args.save / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    return 0


def record(outage: str) -> dict[str, str]:
    """Return the samples of each scrape by their names, as JSON; null where there was none."""
    begin, end = OUTAGES[outage]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        policy, target = (stack.enter_context(RecordingServer(accept)) for _ in range(2))
        settings = {"POLICY_URL": policy.url, "RECOVERY_WAITS": "30"}
        service = stack.enter_context(prepared(POSTGRESQL_REDIS, folder, **settings))
        broker, database = (
            stack.enter_context(link_to(url)) for url in (service.broker, service.database)
        )
        assert isinstance(broker, Link)
        assert isinstance(database, Link)
        linked = service.told(
            BROKER_URL=broker.url_of(service.broker), PEEWEE_URL=database.url_of(service.database)
        )
        stack.enter_context(linked.web_server())
        workers = stack.enter_context(ExitStack())
        site = Site(linked, workers, policy, target, broker, database)
        site.start_worker()
        for user in ("alice", "bob", "carol"):
            service.subscribe(target.url, user)
        scrapes: list[dict[str, float]] = []
        watch(linked, scrapes, _BEFORE)
        begin(site)
        watch(linked, scrapes, _DURING)
        end(site)
        watch(linked, scrapes, _AFTER)
        names = sorted({name for each in scrapes for name in each})
        return {name: json.dumps([rounded(each.get(name)) for each in scrapes]) for name in names}


def rounded(sample: float | None) -> float | None:
    return None if sample is None else round(sample, 1)


def watch(service: Service, scrapes: list[dict[str, float]], seconds: float) -> None:
    """Post events and scrape for some seconds."""
    for _ in range(int(seconds / SCRAPE_EVERY)):
        began = time.monotonic()
        for number in range(1, int(SCRAPE_EVERY / _EVENT_EVERY)):
            with suppress(OSError):  # the database may be away
                service.call("POST", "/receive", EVENT)
            time.sleep(max(began + number * _EVENT_EVERY - time.monotonic(), 0))
        with suppress(requests.RequestException):
            found = scrape(service.port)
            scrapes.append({k: v for k, v in found.items() if not any(u in k for u in _UNUSED)})
        time.sleep(max(began + SCRAPE_EVERY - time.monotonic(), 0))


if __name__ == "__main__":
    sys.exit(main())
