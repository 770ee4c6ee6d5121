"""Backtests and replays end as if nothing had happened when workers are killed in their middle."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.orm import EventLog, insert_rows, writing
from pacifica.notifications.store.purging import purge_finished
from tests.support import databases
from tests.support.deployments import Deployment, Service, deployments, prepared
from tests.support.jobs import begin_backtest, begin_replay, ended, moment, request
from tests.support.load import CountingTarget, Load, event, missing
from tests.support.rig import Unit, came_true
from tests.support.servers import RecordingServer

#: Ingests that are stored, of which one in `EACH` is found; enough for several slices and batches.
STORED, EACH = 3000, 15
FOUND = STORED // EACH
_NUMBER = 10_000_000
_SETTINGS = {
    "CELERY_LEASE": "3",
    "CELERY_MAX_LEASE": "3",
    "CELERY_SWEEP_INTERVAL": "0.5",
    "POLICY_CONNECT_TIMEOUT": "0.5",
    "POLICY_TIMEOUT": "1",
    "DELIVERY_CONNECT_TIMEOUT": "0.5",
    "DELIVERY_TIMEOUT": "0.9",
}
#: Seconds within which a job ends after its worker was killed: its lease, and that of the lock.
ENDS = 60
_DELIVERIES = "SELECT event_log_id, event_match_id FROM eventlogmatch"
_KILLS = 2


@contextmanager
def stack(deployment: Deployment, folder: Path) -> Iterator[tuple[Service, Unit, CountingTarget]]:
    """Run a deployment with stored ingests, and a worker that can be killed."""
    with ExitStack() as stack:
        policy = stack.enter_context(RecordingServer(lambda _: (200, {}, b'[{"_id": 10}]')))
        target = stack.enter_context(CountingTarget())
        service = stack.enter_context(
            prepared(deployment, folder, **_SETTINGS, POLICY_URL=policy.url)
        )
        fill(service)
        stack.enter_context(service.web_server())
        programs = stack.enter_context(ExitStack())
        yield service, Unit(programs, lambda: service.worker(processes=2)), target


@contextmanager
def bound(service: Service) -> Iterator[None]:
    """Let this process use the database of a service for the block."""
    with pytest.MonkeyPatch.context() as patch, databases.configured(service.database, patch):
        yield


def fill(service: Service) -> None:
    """Store ingests of the last hour that were dispatched when nobody had subscribed."""
    with bound(service):
        for start in range(0, STORED, 1000):
            _store(range(start, start + 1000))


@writing
def _store(numbers: range) -> None:
    rest = {"due": None, "attempts": 1, "hops": 0, "specversion": "0.1", "revision": None}
    rows = []
    for number in numbers:
        document = json.loads(event(_NUMBER + number))
        if number % EACH == 0:
            document["data"]["found"] = True
        created = utcnow() - timedelta(seconds=3000 * (1 - number / STORED))
        text = json.dumps(document)
        rows.append({"uuid": uuid4(), "jsondata": text, "created": created, **rest})
    blank = {"event_type": "x", "event_source": "", "event_id": "", "event_time": ""}
    insert_rows(EventLog, [{**row, **blank, "transaction_id": None} for row in rows])


def kill_in_the_middle(service: Service, worker: Unit, path: str, random: Random) -> None:
    """Kill the worker with all its processes while a job is on its way, some times."""
    for number in range(1, _KILLS + 1):
        least = number / (2 * _KILLS + 1)

        def is_there(least: float = least) -> bool:
            found = request(service, "GET", path)[1]
            assert found["state"] == "running"
            return bool(found["progress"] >= least)

        assert came_true(is_there, ENDS)
        time.sleep(0.1 * random.random())
        worker.replace()


@pytest.mark.parametrize("deployment", deployments())
def test_a_replay_loses_and_doubles_nothing_when_its_workers_are_killed(
    deployment: Deployment, tmp_path: Path, random: Random
) -> None:
    with stack(deployment, tmp_path) as (service, worker, target):
        service.subscribe(f"{target.url}/live", jsonpath="$.data.number")
        subscription = service.subscribe(f"{target.url}/replayed", jsonpath="$.data.found")
        with Load(service.port, 1) as load:
            path = begin_replay(service, subscription, "missing", match="now")
            kill_in_the_middle(service, worker, path, random)
            answer = ended(service, path, timeout=ENDS)
        assert (answer["state"], answer["stopped_by"]) == ("finished", None)
        assert answer["deliveries"] == FOUND

        def is_settled() -> bool:
            arrived = {number for where, number in target.times() if where == "/replayed"}
            is_live_there = not missing(load.accepted, ["/live"], target.times())
            return len(arrived) == FOUND and is_live_there

        assert came_true(is_settled, 30)
        counts = deliveries(service, subscription)
        assert set(counts.values()) == {1}, "an event has two deliveries"
        assert len(counts) == FOUND


def deliveries(service: Service, subscription: str) -> Counter[UUID]:
    """Return how many deliveries each event has to a subscription."""
    rows = databases.execute(service.database, _DELIVERIES)
    return Counter(
        UUID(str(event)) for event, match in rows if UUID(str(match)) == UUID(subscription)
    )


@pytest.mark.parametrize("deployment", deployments())
def test_a_backtest_counts_each_event_once_when_its_workers_are_killed(
    deployment: Deployment, tmp_path: Path, random: Random
) -> None:
    with stack(deployment, tmp_path) as (service, worker, _target):
        path = begin_backtest(service, jsonpath="$.data.found", to=moment())
        kill_in_the_middle(service, worker, path, random)
        answer = ended(service, path, timeout=ENDS)
    assert (answer["state"], answer["stopped_by"]) == ("finished", None)
    assert answer["matched"] == FOUND
    assert sum(day["matched"] for day in answer["days"]) == FOUND
    assert len({each["uuid"] for each in answer["examples"]}) == 20


@pytest.mark.parametrize("deployment", deployments("sqlite-filesystem", "postgresql-redis"))
def test_events_are_purged_beside_a_replay_which_passes_them_by(
    deployment: Deployment, tmp_path: Path
) -> None:
    with stack(deployment, tmp_path) as (service, _worker, target), bound(service):
        subscription = service.subscribe(f"{target.url}/replayed", jsonpath="$.data.found")
        path = begin_replay(service, subscription, "missing", match="now")
        over = threading.Event()
        purged: list[int] = []

        def purge() -> None:
            before = utcnow() - timedelta(seconds=1600)
            while not over.is_set():
                purged.append(purge_finished([], before).deleted)

        thread = threading.Thread(target=purge)
        thread.start()
        try:
            answer = ended(service, path, timeout=ENDS)
        finally:
            over.set()
            thread.join()
        assert answer["state"] == "finished"
        assert sum(purged) > 0
        counts = deliveries(service, subscription)
        assert set(counts.values()) == {1}
        assert FOUND // 2 <= len(counts) <= answer["deliveries"] <= FOUND
