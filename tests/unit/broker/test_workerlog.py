"""What a worker writes of its broker's outages."""

import logging

import pytest

from pacifica.notifications.broker.workerlog import BrokerOutageFilter
from pacifica.notifications.outages import Outage

LOG = logging.getLogger("tests.broker")


@pytest.fixture(autouse=True)
def _filtered(caplog: pytest.LogCaptureFixture) -> object:
    told = BrokerOutageFilter(Outage(LOG, "the broker", lambda: 0.0))
    worker = logging.getLogger("tests.worker")
    worker.addFilter(told)
    caplog.set_level(logging.INFO)
    yield
    worker.removeFilter(told)


def test_lines_of_celery_about_retries_become_one(caplog: pytest.LogCaptureFixture) -> None:
    worker = logging.getLogger("tests.worker")
    lost = ConnectionResetError(104, "Connection reset by peer")
    refused = ConnectionRefusedError(111, "Connection refused")
    worker.warning("%s (%r)", "consumer: Connection to broker lost. Trying to re-establish", lost)
    for number in range(20):
        said = f"Trying again in {number} seconds..."
        worker.error("consumer: Cannot connect to %s: %s.\n%s\n", "amqp://h", refused, said)
    worker.info("Connected to %s", "amqp://h")
    worker.warning("another line")
    assert caplog.messages == [
        "the broker fails: connection reset by peer",
        "the broker works again after 0.0 s and 21 failures",
        "Connected to amqp://h",
        "another line",
    ]


def test_line_without_an_error_has_a_cause(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("tests.worker").warning("consumer: Connection to broker lost. Trying")
    assert caplog.messages == ["the broker fails: connection lost"]
