"""Mails of the whole service: beside webhooks, which they never hold up."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.endtoend.test_flow import embedded
from tests.support import databases
from tests.support.deployments import Service
from tests.support.mailserver import MailServer
from tests.support.servers import RecordingServer, eventually

MAILED = 20
EVENTS = 15
_STATES = "SELECT state, COUNT(*) FROM eventlogmatch GROUP BY state"


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server


@pytest.mark.timing
def test_mail_server_that_hangs_delays_no_webhook_and_loses_no_mail(
    tmp_path: Path, server: MailServer
) -> None:
    with (
        RecordingServer() as policy,
        RecordingServer() as target,
        embedded(
            tmp_path,
            POLICY_URL=policy.url,
            MAIL_SMTP_URL=f"smtp://127.0.0.1:{server.port}",
            MAIL_FROM="notifications@data.example",
            MAIL_BASE_URL="https://notify.example",
            MAIL_TRUSTED_DOMAINS="trusted.example",
            MAIL_TIMEOUT="3",
            RECOVERY_WAITS="1 1 1 1 1",
            CELERY_SWEEP_INTERVAL="0.5",
        ) as service,
        service.web_server(),
        service.worker(),
    ):
        server.hang = True
        for number in range(MAILED):
            service.subscribe("mailto:a@trusted.example", user=f"user-{number}")
        service.subscribe(target.url, user="bob")
        service.receive(event(-1))  # the worker has read all subscriptions
        eventually(lambda: len(target.requests) == 1, 20)
        waits = []
        for number in range(EVENTS):
            began = time.monotonic()
            service.receive(event(number))
            eventually(lambda: len(target.requests) == number + 2, 20)  # noqa: B023 it is called now
            waits.append(time.monotonic() - began)
        assert max(waits) < 1, waits
        assert not server.mails
        server.hang = False
        eventually(lambda: states(service) == {"delivered": (MAILED + 1) * (EVENTS + 1)}, 60)


def event(number: int) -> bytes:
    return json.dumps(
        {"data": [{"destinationTable": "Transactions._id", "value": number}]}
    ).encode()


def states(service: Service) -> dict[str, int]:
    return dict(databases.execute(service.database, _STATES))
