"""Ten thousand programs that fetch in vain delay no webhook, on the real stack."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from uuid import uuid4

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.orm import EventMatch, insert_rows, writing
from tests.endtoend.stage import Stage
from tests.support import databases
from tests.support.deployments import deployments, prepared
from tests.support.servers import RecordingServer

PULLERS = 10_000
SECONDS = 16.0
# Fetches that are answered in this time, even on a machine that is busy.
MANY = 1000
# Seconds by which a webhook may be delayed.
BOUND = 1.0
ROOT = Path(__file__).parents[2]


@pytest.fixture(params=deployments("postgresql-redis"))
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    with (
        RecordingServer() as policy,
        RecordingServer() as target,
        prepared(request.param, tmp_path, POLICY_URL=policy.url) as service,
        service.web_server(),
        service.worker(),
    ):
        yield Stage(service, policy, target)


@pytest.mark.timing
def test_ten_thousand_pullers_delay_no_webhook(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.service.subscribe(stage.target.url)
    with databases.configured(stage.service.database, monkeypatch):
        pulled = subscribe_pullers()
    before = [seconds_to_target(stage) for _ in range(20)]
    command = [sys.executable, "-m", "tests.support.pullers", str(stage.service.port), str(SECONDS)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as pullers:
        assert pullers.stdin is not None
        assert pullers.stdout is not None
        pullers.stdin.write("\n".join(pulled))
        pullers.stdin.close()
        assert pullers.stdout.readline() == "pulling\n"
        beside = []
        while pullers.poll() is None:
            beside.append(seconds_to_target(stage))
            time.sleep(0.1)
        answered = int(pullers.stdout.read())
    print(f"{answered} fetches; before {median(before):.3f} s, beside {max(beside):.3f} s at most")
    # Most come at first as fast as they are answered, on many connections at once.
    assert answered > MANY
    assert max(beside) < median(before) + BOUND


def seconds_to_target(stage: Stage) -> float:
    """Return how long an event takes from its producer to its target."""
    count = len(stage.target.requests)
    began = time.monotonic()
    stage.receive()
    stage.target.wait_for(count + 1, 20)
    return time.monotonic() - began


@writing
def subscribe_pullers() -> list[str]:
    """Store subscriptions that are pulled, of as many users, which match nothing that comes."""
    now = utcnow()
    rows = [
        {
            "uuid": uuid4(),
            "name": "pulled",
            "jsonpath": "$.nothing",
            "user": "default_user",
            "target_url": "pull:",
            "version": "v0.1",
            "extensions": "{}",
            "auth": "{}",
            "created": now,
            "updated": now,
            "holding": False,
            "unmatched": False,
            "probes": 0,
            "specversion": "",
            "mode": "structured",
            "format": "event",
            "digest": "each",
            "tell_owner": True,
            "revision": 1,
        }
        for _ in range(PULLERS)
    ]
    insert_rows(EventMatch, rows)
    return [str(row["uuid"]) for row in rows]
