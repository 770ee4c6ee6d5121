"""Subscriptions that hang keep no other one of the same host and port waiting.

Real programs with default settings: a web server, and a worker with one process.
"""

import json
import resource
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any
from uuid import UUID

import pytest

from tests.support import databases
from tests.support.deployments import EVENT, Service, deployments, prepared
from tests.support.gateway import HANGING, Gateway
from tests.support.isolation import SOON

HEALTHY = "/healthy"
#: What most machines let a process open, unless it asks for more.
COMMON_FILE_LIMIT = 1024
#: Seconds after which a target that does not answer is given up, by default.
GIVEN_UP = 10
OWNERS: dict[str, Callable[[int], str]] = {
    "another user": lambda _number: "other",
    "the same user": lambda _number: "healthy",
    "many users": lambda number: f"user{number}",
}
NUMBERS = count()


# Beside other tests, what is measured is their processor time.
pytestmark = pytest.mark.timing


@pytest.fixture(scope="module", params=deployments("sqlite-filesystem"))
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("subscriptions")
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(COMMON_FILE_LIMIT, files[0]), files[1]))
    try:
        with (
            Gateway() as policy,
            prepared(request.param, folder, POLICY_URL=policy.url) as service,
            service.web_server(),
            service.worker(processes=1),
        ):
            with Gateway() as first:  # the first event finds programs that have just started
                uuid = service.subscribe(first.url + HEALTHY, "first")
                assert first.wait_for(HEALTHY, post(service)[0], 15) is not None
                service.call("DELETE", f"/eventmatch/{uuid}", user="first")
            yield service
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, files)


@pytest.fixture
def gateway(service: Service) -> Iterator[Gateway]:
    """A host that nothing is known of; at the end, nobody is subscribed to it any more."""
    with Gateway() as gateway:
        yield gateway
        for uuid, user in subscriptions_of(service, gateway):
            assert service.call("DELETE", f"/eventmatch/{uuid}", user=user)[0] == 200


def subscriptions_of(service: Service, gateway: Gateway) -> list[tuple[str, str]]:
    """Give the subscriptions to a host, and whose they are, without asking for 400 users."""
    rows = databases.execute(
        service.database,
        'SELECT uuid, "user" FROM eventmatch WHERE deleted IS NULL '  # noqa: S608
        f"AND target_url LIKE '{gateway.url}/%'",
    )
    return [(str(UUID(uuid)), user) for uuid, user in rows]


def subscribe(service: Service, gateway: Gateway, hanging: int, owner: str) -> None:
    """Subscribe targets that hang, and after them one that does not."""
    for number in range(hanging):
        service.subscribe(f"{gateway.url}{HANGING}/{number}", OWNERS[owner](number))
    service.subscribe(gateway.url + HEALTHY, "healthy")


def post(service: Service) -> tuple[str, float]:
    """Have an event come in that matches all; return its id, and the moment before."""
    name = f"event {next(NUMBERS)}"
    began = time.monotonic()
    event: dict[str, Any] = {**json.loads(EVENT), "eventID": name}
    service.receive(json.dumps(event).encode())
    return name, began


def arrives_after(service: Service, gateway: Gateway) -> float:
    """Return after how many seconds a healthy target has an event that is posted now."""
    name, began = post(service)
    arrived = gateway.wait_for(HEALTHY, name, 5)
    assert arrived is not None, f"not within 5 s beside {sum(gateway.hanging.values())} that hang"
    return arrived - began


@pytest.mark.parametrize(
    ("hanging", "owner"),
    [
        (1, "another user"),
        (4, "another user"),
        (40, "another user"),
        (40, "the same user"),
        (40, "many users"),
        (400, "another user"),
        (400, "the same user"),
        (400, "many users"),
    ],
)
def test_healthy_subscription_has_its_events_soon_when_others_of_its_host_hang(
    service: Service, gateway: Gateway, hanging: int, owner: str
) -> None:
    subscribe(service, gateway, hanging, owner)
    assert arrives_after(service, gateway) < SOON  # when nothing is known of anybody
    assert gateway.wait_hanging(hanging, 5)
    for _ in range(5):
        assert arrives_after(service, gateway) < SOON
    assert max(gateway.max_hanging.values()) == 1  # whatever number of events wait


def test_healthy_subscription_has_its_events_soon_when_400_others_of_its_host_go_on_hanging(
    service: Service, gateway: Gateway
) -> None:
    subscribe(service, gateway, 400, "many users")
    began = time.monotonic()
    slowest = 0.0
    # Until after their first requests are given up, and were sent again.
    while time.monotonic() < began + GIVEN_UP + 5:
        slowest = max(slowest, arrives_after(service, gateway))
        time.sleep(0.5)  # a moderate stream of events, which is not what is waited for
    assert slowest < SOON
    assert max(gateway.max_hanging.values()) == 1
