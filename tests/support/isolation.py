"""A running deployment with a healthy subscription, beside which tests put bad ones."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import databases
from tests.support.deployments import EVENT, Deployment, Service, prepared
from tests.support.processes import descendants, is_alive
from tests.support.servers import AnswerTriple, Received, RecordingServer, eventually

#: Seconds within which a healthy target has its event, whatever the others do.
SOON = 1.0
#: Seconds after which a target that does not answer is given up, with the first attempt.
GIVEN_UP = 3
HEALTHY, BAD = "healthy", "bad"
_SETTINGS = {
    "DELIVERY_TIMEOUT": str(GIVEN_UP),
    "DELIVERY_ATTEMPTS": "1",
    "DELIVERY_HORIZON": "0",
    "CELERY_SWEEP_INTERVAL": "0.3",
}


@dataclass
class Isolation:
    """A web server and one worker process; `policy` answers what a test has it answer."""

    service: Service
    policy: RecordingServer
    programs: frozenset[int]

    def subscribe(self, target: str, **body: Any) -> str:
        """Subscribe a target as the user whom tests harm others with."""
        return self.service.subscribe(target, BAD, **body)

    def subscription(self, uuid: str) -> dict[str, Any]:
        """Return one of the bad user's subscriptions as the API shows it."""
        status, body = self.service.call("GET", f"/eventmatch/{uuid}", user=BAD)
        assert status == 200, body
        return json.loads(body)

    def error(self, uuid: str) -> str:
        """Return why a subscription of the bad user was disabled, '' while it is not."""
        found = self.subscription(uuid)
        return found["error"] if found["disabled"] else ""

    def wait_for_error(self, uuid: str, part: str) -> None:
        """Wait until a subscription of the bad user is disabled, with `part` in its error."""
        eventually(lambda: bool(self.error(uuid)), timeout=GIVEN_UP + 10)
        assert part in self.error(uuid)

    def is_unharmed(self) -> bool:
        """Tell whether all processes live that there were, and no healthy user has an error."""
        status, body = self.service.call("GET", "/eventmatch", user=HEALTHY)
        return (
            status == 200
            and not any(each["disabled"] or each["error"] for each in json.loads(body))
            and all(map(is_alive, self.programs))
        )

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return databases.execute(self.service.database, query)

    def forget(self) -> None:
        """Delete all subscriptions, so that the next test's events go to its own targets alone."""
        for user in (HEALTHY, BAD):
            for each in json.loads(self.service.call("GET", "/eventmatch", user=user)[1]):
                self.service.call("DELETE", f"/eventmatch/{each['uuid']}", user=user)


class Healthy(RecordingServer):
    """A target that answers at once, and a subscription of its own user."""

    def __init__(self, isolation: Isolation) -> None:
        super().__init__(lambda _: (200, {}, b"thank you"))
        self._isolation = isolation

    def subscribe(self, **body: Any) -> None:
        self._isolation.service.subscribe(self.url, HEALTHY, **body)

    def gets(self, event: bytes = EVENT, timeout: float = SOON) -> Received:
        """Have an event come in; return what arrives here, which takes at most `timeout`."""
        before = len(self.requests)
        self._isolation.service.receive(event)
        began = time.monotonic()
        received = self.wait_for(before + 1, timeout)[before]
        assert time.monotonic() - began <= timeout
        return received


def allow(_: Received) -> AnswerTriple:
    """Answer as Policy does when a user may see an event."""
    return 200, {}, b'{"status": "success"}'


def isolation_of(deployments: Sequence[Any], **options: Any) -> Any:
    """Return the fixture `isolation` for a module, which gives it each of some deployments."""

    @pytest.fixture(scope="module", params=deployments)
    def isolation(
        request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[Isolation]:
        folder = tmp_path_factory.mktemp("isolation")
        with isolation_on(request.param, folder, **options) as isolation:
            yield isolation

    return isolation


@contextmanager
def isolation_on(
    deployment: Deployment, folder: Path, *, processes: int = 1, **settings: str
) -> Iterator[Isolation]:
    """Give a deployment of which the web server and one worker, of so many processes, run."""
    with (
        RecordingServer(allow) as policy,
        prepared(
            deployment, folder, **{"POLICY_URL": policy.url, **_SETTINGS, **settings}
        ) as service,
        service.web_server() as web,
        service.worker(processes=processes) as worker,
    ):
        programs = {web.pid, worker.pid, *descendants(worker.pid)}
        isolation = Isolation(service, policy, frozenset(programs))
        with Healthy(isolation) as first:  # the first event finds programs that have just started
            first.subscribe()
            first.gets(timeout=15)
            isolation.forget()
        yield isolation


@contextmanager
def healthy_in(isolation: Isolation) -> Iterator[Healthy]:
    """Give a healthy subscription; at the end, nothing of the deployment may have been harmed."""
    isolation.policy.answer = allow
    with Healthy(isolation) as healthy:
        healthy.subscribe()
        yield healthy
        assert isolation.is_unharmed()
        isolation.forget()
