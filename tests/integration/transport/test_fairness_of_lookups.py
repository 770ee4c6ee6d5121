"""Names without an answer hold up only the user who has them looked up."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pacifica.notifications.transport import Limits, Response, SendFailure, Transport
from tests.support import servers
from tests.support.servers import RecordingServer
from tests.support.transports import TIMEOUT, flow_is_answered, in_flow


@pytest.fixture
def silent_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Have names under `silent.test` found when the event is set, and all others at once."""
    over = threading.Event()
    known = socket.getaddrinfo

    def getaddrinfo(name: str, *_: object, **__: object) -> object:
        if name.endswith("silent.test"):
            over.wait(TIMEOUT)
        return known("127.0.0.1", 0, type=socket.SOCK_STREAM)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield over
    over.set()


OF_LOOKUPS = Limits(lookups=10, connect_timeout=0.3, queue=400)


@pytest.mark.usefixtures("silent_names")
def test_addresses_and_names_of_others_are_found_soon_when_many_names_of_a_user_have_no_answer(
    target: RecordingServer,
) -> None:
    with Transport(OF_LOOKUPS) as transport:
        for number in range(90):
            in_flow(transport, f"http://{number}.silent.test", "one", "hang")
        named = f"http://target.test:{target.port}"
        assert flow_is_answered(transport, named, "other", "named")
        assert flow_is_answered(transport, target.url, "one", "mine")


@pytest.mark.usefixtures("silent_names")
def test_addresses_are_reached_when_no_lookup_is_left(target: RecordingServer) -> None:
    with Transport(OF_LOOKUPS) as transport:
        for number in range(90):
            in_flow(transport, f"http://{number}.silent.test", f"user{number}", "hang")
        assert flow_is_answered(transport, target.url, "other", "address")
        assert flow_is_answered(transport, f"http://0x7f.1:{target.port}", "other", "spelled")


def test_request_does_not_fail_for_the_time_that_its_lookup_waits(
    target: RecordingServer, silent_names: threading.Event
) -> None:
    with Transport(replace(OF_LOOKUPS, lookups=1)) as transport:
        first = in_flow(transport, "http://silent.test", "one", "hang")
        waits = in_flow(transport, f"http://target.test:{target.port}", "other", "named", 0.1)
        assert isinstance(first.result(TIMEOUT), SendFailure)
        assert not waits.done()  # though its time-out is shorter
        silent_names.set()
        assert isinstance(waits.result(TIMEOUT), Response)


@pytest.mark.usefixtures("silent_names")
def test_request_is_accepted_when_a_user_has_more_waiting_for_lookups_than_its_share(
    target: RecordingServer,
) -> None:
    limits = replace(OF_LOOKUPS, connect_timeout=TIMEOUT)
    with Transport(limits) as transport:
        stuck = [
            in_flow(transport, f"http://{number}.silent.test", "one", "hang")
            for number in range(399)
        ]
        servers.eventually(lambda: any(future.done() for future in stuck))
        failures = {future.result(0) for future in stuck if future.done()}
        named = f"http://target.test:{target.port}"
        assert flow_is_answered(transport, named, "other", "named")
    assert failures == {
        SendFailure("too many requests wait for lookups", 0.0, ours=True, retry_in=30.0)
    }
