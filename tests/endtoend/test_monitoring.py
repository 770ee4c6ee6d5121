"""What `/metrics` tells of workers, which are other processes."""

import signal
from pathlib import Path

import pytest

from tests.support import databases
from tests.support.deployments import Deployment, deployments, prepared
from tests.support.scraping import scrape
from tests.support.servers import RecordingServer, eventually

PROCESSES = 2
SWEPT = "SELECT 1 FROM notificationlease WHERE name = 'sweep'"


@pytest.mark.parametrize("deployment", deployments("sqlite-filesystem", "postgresql-redis"))
def test_metrics_tell_of_workers_and_of_what_they_did(
    deployment: Deployment, tmp_path: Path
) -> None:
    with (
        RecordingServer() as policy,
        RecordingServer() as target,
        prepared(deployment, tmp_path, POLICY_URL=policy.url) as service,
        service.web_server(),
        service.worker(processes=PROCESSES) as worker,
    ):
        # With the embedded broker, the worker's tasks are threads of one process.
        processes = 1 if deployment.is_embedded else PROCESSES
        eventually(lambda: scrape(service.port)["worker_processes"] == processes, 20)
        assert scrape(service.port)["workers"] == 1
        service.subscribe(target.url)
        event = service.receive()
        eventually(lambda: service.is_delivered(event), 20)
        eventually(lambda: bool(databases.execute(service.database, SWEPT)), 20)

        worker.signal(signal.SIGTERM)
        worker.wait()
        found = scrape(service.port)
    assert found["workers"] == found["worker_processes"] == 0
    assert found["sweeps_total"] >= 1
    assert found["deliveries_finished_total{state=delivered}"] == 1
    assert found["attempt_duration_seconds_count{status=2xx}"] == 1
    assert found["policy_question_duration_seconds_count{verdict=allow}"] == 1
    assert found["receive_to_target_seconds_count"] == 1
