"""Names whose servers do not answer delay only their own user, on real programs with one worker."""

import json
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.support.deployments import EVENT, Service, deployments, prepared
from tests.support.gateway import Gateway
from tests.support.isolation import SOON

# Beside other tests, what is measured is their processor time.
pytestmark = pytest.mark.timing

HEALTHY, BAD = "healthy", "bad"
NUMBERS = count()
#: Put before all modules of a program, it stands for the name servers that the program asks.
NAME_SERVERS = """
import os, socket, time

known = socket.getaddrinfo

def getaddrinfo(host, *arguments, **named):
    if isinstance(host, str) and host.endswith(".silent.test"):
        time.sleep(float(os.environ["SILENT_SECONDS"]))
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")
    if isinstance(host, str) and host.endswith(".test"):
        host = "127.0.0.1"
    return known(host, *arguments, **named)

socket.getaddrinfo = getaddrinfo
"""


@pytest.fixture(params=deployments("sqlite-filesystem"))
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    """Give a service whose worker has its first event behind it."""
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "sitecustomize.py").write_text(NAME_SERVERS)
    with (
        Gateway() as policy,
        prepared(
            request.param,
            tmp_path,
            POLICY_URL=policy.url,
            PYTHONPATH=str(modules),
            SILENT_SECONDS="0",
        ) as service,
        service.web_server(),
        service.told(SILENT_SECONDS="20").worker(processes=1),
    ):
        with Gateway() as first:
            uuid = service.subscribe(first.url + "/first", "first")
            assert first.wait_for("/first", post(service)[0], 15) is not None
            service.call("DELETE", f"/eventmatch/{uuid}", user="first")
        yield service


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway() as gateway:
        yield gateway


def post(service: Service) -> tuple[str, float]:
    """Have an event come in that matches all; return its id, and the moment before."""
    name = f"event {next(NUMBERS)}"
    event: dict[str, Any] = {**json.loads(EVENT), "eventID": name}
    began = time.monotonic()
    service.receive(json.dumps(event).encode())
    return name, began


def arrives_after(gateway: Gateway, path: str, posted: tuple[str, float]) -> float:
    """Return after how many seconds an event has come to a path."""
    name, began = posted
    arrived = gateway.wait_for(path, name, 15)
    assert arrived is not None, f"{name} has not come to {path} within 15 s"
    return arrived - began


def assert_enabled(service: Service, user: str) -> None:
    for each in json.loads(service.call("GET", "/eventmatch", user=user)[1]):
        assert not each["disabled"], each["error"]


def test_healthy_targets_have_their_events_soon_when_800_names_of_another_user_have_no_answer(
    service: Service, gateway: Gateway
) -> None:
    for number in range(800):
        service.subscribe(f"http://{number}.silent.test/", BAD)
    service.subscribe(f"{gateway.url}/address", HEALTHY)
    service.subscribe(f"http://healthy.test:{gateway.port}/name", HEALTHY)
    for _ in range(8):
        posted = post(service)
        for path in ("/address", "/name"):
            assert arrives_after(gateway, path, posted) < SOON
        time.sleep(0.5)  # a moderate stream of events, which is not what is waited for
    assert_enabled(service, HEALTHY)
