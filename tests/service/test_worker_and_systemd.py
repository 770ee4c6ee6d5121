"""The worker on RabbitMQ: what systemd hears of it, and two workers of one name."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deployments import Deployment, Service, link_to, prepared
from tests.support.notified import NotifySocket
from tests.support.processes import BIN, Program

pytestmark = pytest.mark.server


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with prepared(Deployment("sqlite", "amqp"), tmp_path) as prepared_service:
        yield prepared_service


def test_worker_says_that_it_works_also_while_its_broker_is_away(service: Service) -> None:
    with link_to(service.broker) as link, NotifySocket(watchdog=0.5) as systemd:
        assert link is not None
        # A worker that ends waits for the results of sweeps that it has begun.
        quiet = {"CELERY_SWEEP_INTERVAL": "60", **systemd.environment}
        told = service.told(BROKER_URL=link.url_of(service.broker), **quiet)
        with told.worker() as worker:
            assert set(systemd.wait_for("READY=1")) <= {"WATCHDOG=1"}
            assert {systemd.next() for _ in range(4)} == {"WATCHDOG=1"}
            link.cut()
            worker.wait_for_line("the broker fails: ")
            systemd.forget()
            assert {systemd.next() for _ in range(4)} == {"WATCHDOG=1"}
            link.restore()
            worker.wait_for_line("Connected to amqp")
            worker.signal(signal.SIGTERM)
            assert set(systemd.wait_for("STOPPING=1")) <= {"WATCHDOG=1"}
            assert worker.wait() == 0


def test_second_worker_of_a_name_ends_with_one_line(service: Service) -> None:
    with service.worker(name="one@host") as first:
        celery = [BIN / "celery", "-A", "pacifica.notifications.tasks", "worker"]
        # One process: Celery takes ten seconds to end a pool that has just begun.
        options = ["--hostname", "one@host", "--pool", "solo", "--without-mingle"]
        with Program([*celery, *options], service.environment, service.folder) as second:
            assert second.wait() == 1
        (line,) = (line for line in second.lines if "CRITICAL" in line)
        assert line.endswith(
            "another worker of this broker is named one@host: name each one by --hostname NAME@%h"
        )
        assert "Traceback" not in second.output
        first.signal(signal.SIGTERM)
        assert first.wait() == 0
