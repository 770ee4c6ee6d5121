"""A deployment that runs under load, with everything it depends on in a test's hand."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import databases, processes
from tests.support.deployments import Deployment, Service, link_to, prepared
from tests.support.links import Link
from tests.support.load import CountingTarget, Load, Tally, missing, tally
from tests.support.processes import Program
from tests.support.servers import RecordingServer

POOL = 2
#: Short enough that what a killed worker had is taken up while a test waits.
LEASE = 3
#: The most that one worker process has sent and not recorded, roughly: a bulk may wait as well.
UNFINISHED = 50
#: Seconds within which all is delivered once nothing is broken any more.
SETTLES = 20
#: The paths of the subscriptions; the last one's target is reached through a link.
DIRECT, SECOND, LINKED = PATHS = ("/direct", "/second", "/linked")
_SETTINGS = {
    "CELERY_LEASE": str(LEASE),
    "CELERY_MAX_LEASE": str(LEASE),
    "CELERY_SWEEP_INTERVAL": "0.5",
    "CELERY_PUBLISH_PAUSE": "0.5",
    "POLICY_CONNECT_TIMEOUT": "0.5",
    "POLICY_TIMEOUT": "1",
    "POLICY_RETRY_FIRST": "0.3",
    "POLICY_RETRY_MAX": "1",
    "DELIVERY_CONNECT_TIMEOUT": "0.5",
    "DELIVERY_TIMEOUT": "2",
    "DELIVERY_RETRY_FIRST": "0.2",
    "DELIVERY_ATTEMPTS": "3",
    "DELIVERY_UNFINISHED": str(UNFINISHED),
    "RECOVERY_WAITS": "1 1 1",
}
_UNDER_WAY = (
    "SELECT (SELECT COUNT(*) FROM eventlog WHERE due IS NOT NULL) + "
    "(SELECT COUNT(*) FROM eventlogmatch WHERE state IN ('matched', 'allowed', 'held'))"
)
_STATES = (
    "SELECT 'event', attempts, COUNT(*) FROM eventlog WHERE due IS NOT NULL GROUP BY attempts "
    "UNION ALL SELECT state, attempts, COUNT(*) FROM eventlogmatch GROUP BY state, attempts"
)
_LAST_LINES = 40
#: Seconds between two looks at a database, which the load needs more.
_LOOK = 0.1
_DISABLED = "SELECT target_url FROM eventmatch WHERE disabled IS NOT NULL"


class Unit:
    """A program that is kept running, as an init system does: told to end, or found dead."""

    def __init__(
        self, stack: ExitStack, start: Callable[[], AbstractContextManager[Program]]
    ) -> None:
        self._stack = stack
        self._start = start
        self.program = stack.enter_context(start())

    def start_another(self) -> Program:
        """Start the program anew and return the one before, which is left to the caller."""
        before = self.program
        self.program = self._stack.enter_context(self._start())
        return before

    def replace(self) -> None:
        """Kill the program with all that it started, and start it anew."""
        self.program.kill_group()
        self.program.wait()
        self.start_another()

    def stop(self) -> int:
        """Tell the program to end and return its exit status."""
        self.program.signal(signal.SIGTERM)
        return self.program.wait()


@dataclass(frozen=True)
class Rig:
    """What runs, what it depends on, and the numbers of what became of its events."""

    service: Service
    web: Unit
    worker: Unit
    target: CountingTarget
    policy: RecordingServer
    to_target: Link
    to_policy: Link
    to_database: Link | None
    to_broker: Link | None
    #: The service's broker and database, as they are reached past the links.
    broker: str
    database: str

    def load(self) -> Load:
        return Load(self.service.port)

    def settle(self, load: Load, timeout: float = SETTLES, paths: tuple[str, ...] = PATHS) -> Tally:
        """Wait until all is delivered and on record, or the time is over; tell what became of it.

        What was not delivered in time is lost. Of some of the paths, it may still be on its way to
        the others.
        """
        accepted = load.accepted

        def is_settled() -> bool:
            arrived = not missing(accepted, paths, self.target.times())
            return arrived and (paths != PATHS or not self.under_way())

        if not came_true(is_settled, timeout):
            print(self._account())
        return tally(load, paths, self.target.times())

    def repair(self) -> None:
        """Undo whatever a failed run left, so that the next one begins with nothing under way."""
        self.target.down = frozenset()
        for link in (self.to_target, self.to_policy, self.to_database, self.to_broker):
            if link is not None:
                link.restore()
        if not came_true(lambda: not self.under_way(), LEASE):
            self.worker.replace()
            came_true(lambda: not self.under_way(), SETTLES)

    def under_way(self) -> int:
        """Count events and deliveries that are on record as not finished."""
        return databases.execute(self.database, _UNDER_WAY)[0][0]

    def _account(self) -> str:
        states = databases.execute(self.database, _STATES)
        worker = self.worker.program
        runs = "runs" if processes.is_alive(worker.pid) else "has ended"
        said = worker.lines[-_LAST_LINES:]
        return "\n".join([f"not settled: {states}", f"the worker {runs}; it said:", *said])

    def disabled(self) -> set[str]:
        """Give the paths of the subscriptions that are disabled."""
        rows = databases.execute(self.database, _DISABLED)
        return {path for path in PATHS for (url,) in rows if url.endswith(path)}

    def pool(self) -> list[int]:
        """Give the worker's pool processes."""
        return sorted(processes.descendants(self.worker.program.pid))


@contextmanager
def running(deployment: Deployment, folder: Path) -> Iterator[Rig]:
    """Run a deployment: a web server, a worker of `POOL` processes, and a subscription a path."""
    with ExitStack() as stack:
        plain = stack.enter_context(prepared(deployment, folder, **_SETTINGS))
        target = stack.enter_context(CountingTarget())
        policy = stack.enter_context(RecordingServer(lambda _: (200, {}, b'[{"_id": 10}]')))
        to_target = stack.enter_context(Link("127.0.0.1", target.port))
        to_policy = stack.enter_context(Link("127.0.0.1", policy.port))
        to_database = stack.enter_context(link_to(plain.database))
        to_broker = stack.enter_context(link_to(plain.broker))
        service = plain.told(
            POLICY_URL=to_policy.url_of(policy.url),
            PEEWEE_URL=to_database.url_of(plain.database) if to_database else plain.database,
            BROKER_URL=to_broker.url_of(plain.broker) if to_broker else plain.broker,
        )
        programs = stack.enter_context(ExitStack())
        web = Unit(programs, service.web_server)
        worker = Unit(programs, lambda: service.worker(processes=POOL))
        for path in PATHS:
            url = to_target.url_of(target.url) if path == LINKED else target.url
            service.subscribe(url + path)
        yield Rig(
            service,
            web,
            worker,
            target,
            policy,
            to_target,
            to_policy,
            to_database,
            to_broker,
            plain.broker,
            plain.database,
        )


def came_true(condition: Callable[[], bool], timeout: float) -> bool:
    """Wait for a condition that is costly to look at; tell whether it came true in time."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK)
    return True


def seed() -> int:
    """Give the seed of this run's moments: the one of TEST_FAULTS_SEED, to repeat a run."""
    return int(os.environ.get("TEST_FAULTS_SEED") or random.SystemRandom().randrange(10**6))


def moments(chosen: int | str) -> random.Random:
    """Give the moments at which a run's faults strike, the same ones for the same seed."""
    return random.Random(chosen)  # noqa: S311 spreads faults, hides nothing
