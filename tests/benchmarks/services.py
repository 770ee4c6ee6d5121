"""The service and the one that it replaces, set up alike to be compared."""

import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.benchmarks import replaced
from tests.benchmarks.peers import Peers, peers
from tests.benchmarks.programs import Ours
from tests.support import databases, deployments
from tests.support.deployments import Deployment, Service

CAPTURES = Path(__file__).parents[1] / "captures"
EVENT = (CAPTURES / "ingest.json").read_bytes()
OURS = f"pacifica-notifications {version('pacifica-notifications')}"
OLD = f"pacifica-notifications {replaced.VERSION}"
POSTGRESQL_REDIS = Deployment("postgresql", "redis")
POSTGRESQL_RABBITMQ = Deployment("postgresql", "amqp")
EMBEDDED = Deployment("sqlite", "filesystem")
NAMES = {
    POSTGRESQL_REDIS: "PostgreSQL + Redis",
    POSTGRESQL_RABBITMQ: "PostgreSQL + RabbitMQ",
    EMBEDDED: "embedded (SQLite, no server)",
}
_RECORDED = "SELECT COUNT(*) FROM eventlogmatch WHERE target_status_code = '200'"
_LOOK = 0.1
_CALL = 30

#: What people ask for of an ingest; the first constant fits the captured event, `{n}` makes others.
_FORMS = (
    ("Files", "mimetype", '"text/plain"', '"text/x-{n}"'),
    ("Transactions.instrument", "value", "54", "10{n}"),
    ("TransactionKeyValue", "key", '"Tag"', '"Tag{n}"'),
    ("Transactions.submitter", "value", "10", "10{n}"),
)


@dataclass(frozen=True)
class Subscription:
    """What a subscription is made of; `path` is that of its target."""

    user: str
    jsonpath: str
    path: str


def subscriptions(count: int, matching: int, users: int) -> list[Subscription]:
    """Return subscriptions to ingests, the first so many of which match the captured event."""
    made = []
    for n in range(count):
        table, key, fitting, other = _FORMS[n % len(_FORMS)]
        value = fitting if n < matching else other.format(n=n)
        jsonpath = f'$["data"][*][?(@["destinationTable"] = "{table}" and @["{key}"] = {value})]'
        made.append(Subscription(f"user{n % users}", jsonpath, f"/{n}"))
    return made


@dataclass(frozen=True)
class Site:
    """A service that can be started, with its peers."""

    service: Service
    peers: Peers

    def subscribe(self, wanted: Iterable[Subscription], url: str | None = None) -> list[str]:
        """Make subscriptions by REST, to the target or to another URL; a web server must run.

        Returns their UUIDs.
        """
        uuids = []
        with self._connection() as connection:
            for each in wanted:
                target = (url or self.peers.target.url) + each.path
                body = {"name": "n", "jsonpath": each.jsonpath, "target_url": target}
                answer = _called(connection, "POST", "/eventmatch", each.user, json.dumps(body))
                uuids.append(json.loads(answer)["uuid"])
        return uuids

    def unsubscribe(self, user: str, uuid: str) -> None:
        """End a subscription by REST; a web server must run."""
        with self._connection() as connection:
            _called(connection, "DELETE", f"/eventmatch/{uuid}", user)

    def recorded(self) -> int:
        """Return how many deliveries are on record as taken by their targets."""
        return databases.execute(self.service.database, _RECORDED)[0][0]

    def wait_recorded(self, count: int, timeout: float) -> int:
        """Wait until so many are on record; return how many are when the time is over."""
        deadline = time.monotonic() + timeout
        while (found := self.recorded()) < count and time.monotonic() < deadline:
            time.sleep(_LOOK)
        return found

    def _connection(self) -> AbstractContextManager[HTTPConnection]:
        return closing(HTTPConnection("127.0.0.1", self.service.port, timeout=_CALL))


def _called(
    connection: HTTPConnection, method: str, path: str, user: str, body: str | None = None
) -> bytes:
    headers = {"Http-Remote-User": user, "Content-Type": "application/json"}
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    answer = response.read()
    if response.status != 200:
        raise SystemExit(f"{method} of a subscription was refused: {answer!r}")
    return answer


@contextmanager
def ours(deployment: Deployment = POSTGRESQL_REDIS, **settings: str) -> Iterator[Site]:
    """Give the present service on a database and a broker of its own, and its peers."""
    with _folder() as folder, peers(folder / "peers") as beside:
        told = {**settings, "POLICY_URL": beside.policy.url}
        with deployments.prepared(deployment, folder, **told) as service:
            yield Site(Ours(service.folder, service.port, service.environment), beside)


def database_line(site: Site) -> str:
    """Say which database a service has, and whether it cleans up after itself.

    Without autovacuum PostgreSQL gathers no statistics either, and plans queries blindly.
    """
    if not site.service.database.startswith("postgresql"):
        return ""
    ((server,),) = databases.execute(site.service.database, "SHOW server_version")
    ((vacuums,),) = databases.execute(site.service.database, "SHOW autovacuum")
    return f"PostgreSQL {server.split()[0]}, autovacuum {vacuums}"


@contextmanager
def old(cache: Path, deployment: Deployment = POSTGRESQL_REDIS) -> Iterator[Site]:
    """Give 0.5.2 on a database and a broker of its own, and its peers."""
    with _folder() as folder, peers(folder / "peers") as beside:
        told = {"POLICY_URL": beside.policy.url}
        with replaced.prepared(deployment, folder / "service", cache, **told) as service:
            yield Site(service, beside)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)  # nginx drops root's rights and still opens its logs
        yield Path(name)


@contextmanager
def measuring() -> Iterator[None]:
    """Have everything stopped and dropped when the program is told to end (SIGTERM).

    Where a server that is needed is absent, ends the program with one line.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    except (pytest.skip.Exception, pytest.fail.Exception) as absent:
        raise SystemExit(str(absent)) from absent
