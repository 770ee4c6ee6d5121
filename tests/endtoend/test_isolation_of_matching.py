"""Costly JSONPaths and large events harm nobody else, on programs that really run."""

import gzip
import http.client
import json
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from tests.support.deployments import USER, deployments
from tests.support.isolation import Healthy, Isolation, isolation_of
from tests.support.servers import RecordingServer, eventually

#: Seconds within which a healthy subscription has its event.
SOON = 0.2
#: Seconds within which what was matched later has arrived.
LATER = 30
DUE = "SELECT uuid FROM notificationdeferred WHERE due IS NOT NULL"
ORDINARY = '$.data[*][?(@.destinationTable = "Files" and @.mimetype = "text/plain")]'
isolation = isolation_of(deployments("sqlite-filesystem"), processes=2)


def event(data: Any) -> bytes:
    envelope = {"cloudEventsVersion": "0.1", "eventType": "x", "source": "s", "eventID": "e"}
    return json.dumps({**envelope, "data": data}).encode()


def files(count: int) -> bytes:
    """Return an event about so many files."""
    return event(
        [
            {"destinationTable": "Files", "_id": number, "size": number, "mimetype": "text/plain"}
            for number in range(count)
        ]
    )


def receive_gzip(isolation: Isolation, body: bytes) -> int:
    port = isolation.service.port
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        headers = {**USER, "Content-Encoding": "gzip"}
        connection.request("POST", "/receive", gzip.compress(body), headers)
        response = connection.getresponse()
        response.read()
        return response.status


def test_one_large_event_disables_nobody_and_what_follows_arrives(isolation: Isolation) -> None:
    with RecordingServer() as target:
        users = [f"user{number}" for number in range(100)]
        for user in users:
            isolation.service.subscribe(target.url, user, jsonpath=ORDINARY)
        assert receive_gzip(isolation, event([0] * 300_000)) == 413
        assert receive_gzip(isolation, event([0] * 240_000)) == 200
        for _ in range(3):
            isolation.service.receive(files(10))
        target.wait_for(3 * len(users), timeout=LATER)
        eventually(lambda: not isolation.rows(DUE), timeout=LATER)
        assert isolation.rows("SELECT error FROM eventmatch WHERE disabled IS NOT NULL") == []
        for user in users:
            for each in json.loads(isolation.service.call("GET", "/eventmatch", user=user)[1]):
                isolation.service.call("DELETE", f"/eventmatch/{each['uuid']}", user=user)


def nested(number: int) -> str:
    return f"$..[?($..[?($..[?(@ = {10_000 + number})])])]"


def negated(number: int) -> str:
    return f"$.data[*][?(not (@.size <= {10_000 + number}))]"


def paired(number: int) -> str:
    return f"$.data[*][?(@.size > {number} and @._id > {10_000 + number})]"


@pytest.mark.timing
@pytest.mark.parametrize(
    ("jsonpath", "count", "costly"),
    [(nested, 300, files(10)), (negated, 300, files(3000)), (paired, 300, files(3000))],
    ids=["nested", "negated", "paired"],
)
def test_healthy_subscription_has_its_events_soon_beside_costly_jsonpaths_of_another_user(
    isolation: Isolation,
    healthy: Healthy,
    jsonpath: Callable[[int], str],
    count: int,
    costly: bytes,
) -> None:
    with RecordingServer() as target:
        for number in range(count):
            isolation.subscribe(target.url, jsonpath=jsonpath(number))
        took = []
        for number in range(20):
            if number % 4 == 3:
                healthy.gets(costly, timeout=10)
            time.sleep(0.2)  # ordinary traffic
            began = time.monotonic()
            healthy.gets(files(1), timeout=10)
            took.append(time.monotonic() - began)
        # A single pause of the machine is no fault.
        assert sorted(took)[-2] <= SOON, sorted(took)
        assert max(took) <= 2 * SOON, sorted(took)
        assert target.requests == []
