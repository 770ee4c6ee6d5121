"""The queue of a transport: its limits, requests that are cancelled, and its end."""

import concurrent.futures
import contextlib
import itertools
import threading
import time

import pytest

from pacifica.notifications.transport import (
    Limits,
    Response,
    SendFailure,
    SendResult,
    Transport,
    TransportBusy,
    TransportClosed,
)
from tests.support import servers
from tests.support.servers import RawServer, RecordingServer
from tests.support.transports import TIMEOUT, answer, outcome, post


def accepted(transport: Transport, *urls: str) -> list[concurrent.futures.Future[SendResult]]:
    """Submit until the transport is busy."""
    futures: list[concurrent.futures.Future[SendResult]] = []
    with contextlib.suppress(TransportBusy):
        for url in itertools.islice(itertools.cycle(urls), 1000):
            futures.append(transport.submit(post(url)))
    return futures


# With one place, of which the first host does not let go, the others are never connected to.
OTHERS = [f"http://127.0.0.1:{port}" for port in range(1, 50)]


def test_submit_refuses_when_the_queue_is_full() -> None:
    limits = Limits(queue=3, connections=1)
    with RawServer(servers.hanging) as server, Transport(limits) as transport:
        assert len(accepted(transport, server.url, *OTHERS)) < 20


def test_submit_has_places_again_when_those_that_waited_were_cancelled(
    target: RecordingServer,
) -> None:
    # The last connection is for a host that is known to be prompt.
    limits = Limits(queue=30, connections=8)
    with contextlib.ExitStack() as stack:
        transport = stack.enter_context(Transport(limits))
        answer(transport, post(target.url))
        hanging = [stack.enter_context(RawServer(servers.hanging)) for _ in range(8)]
        stuck = [transport.submit(post(server.url)) for server in hanging]
        servers.eventually(lambda: sum(server.connections for server in hanging) == 7)
        futures = accepted(transport, *OTHERS)
        assert [future.cancel() for future in futures] == [True] * len(futures)

        def place() -> bool:
            with contextlib.suppress(TransportBusy):
                return answer(transport, post(target.url)).status == 200
            return False

        servers.eventually(place)
        assert not any(future.done() for future in stuck)


def test_host_has_room_in_the_queue_again_when_those_that_waited_for_it_were_cancelled(
    target: RecordingServer,
) -> None:
    go = threading.Event()
    target.answer = lambda _: (200, {}, b"x"[go.wait(TIMEOUT) :])
    with Transport(Limits(queue=10)) as transport:
        first = transport.submit(post(target.url))
        target.wait_for(1)
        futures = [transport.submit(post(target.url)) for _ in range(9)]
        servers.eventually(lambda: any(future.done() for future in futures))  # refused
        for future in futures:
            future.cancel()
        last = transport.submit(post(target.url))
        go.set()
        assert isinstance(last.result(TIMEOUT), Response)
    assert isinstance(first.result(0), Response)


def test_cancelled_request_is_not_sent_when_its_turn_comes(target: RecordingServer) -> None:
    go = threading.Event()
    target.answer = lambda _: (200, {}, b"x"[go.wait(TIMEOUT) :])
    with Transport(Limits(connections_per_host=1)) as transport:
        first, second, third = (transport.submit(post(f"{target.url}/{n}")) for n in range(3))
        target.wait_for(1)
        assert second.cancel()
        go.set()
        assert isinstance(third.result(TIMEOUT), Response)
        done = concurrent.futures.wait([first, second, third], TIMEOUT).done
    assert len(done) == 3
    assert [received.path for received in target.requests] == ["/0", "/2"]


def test_close_gives_no_answer_of_ours_when_requests_are_left() -> None:
    with RawServer(servers.hanging) as server:
        transport = Transport()
        futures = [transport.submit(post(server.url)) for _ in range(20)]
        began = time.monotonic()
        transport.close(grace=0.1)
        assert 0.1 <= time.monotonic() - began < 1
        outcomes = {future.result(0) for future in futures}
    assert outcomes == {SendFailure("transport closed", 0.0, ours=True)}


def test_close_waits_no_longer_than_needed_when_all_is_answered_in_its_grace(
    target: RecordingServer,
) -> None:
    transport = Transport(Limits(connections_per_host=2))
    futures = [transport.submit(post(target.url)) for _ in range(20)]
    began = time.monotonic()
    transport.close(grace=TIMEOUT)
    assert time.monotonic() - began < TIMEOUT / 2
    assert all(isinstance(future.result(0), Response) for future in futures)


def test_submit_is_refused_when_the_transport_is_closed() -> None:
    with Transport() as transport:
        pass
    with pytest.raises(TransportClosed):
        transport.submit(post("http://127.0.0.1/"))


def test_close_ends_the_thread() -> None:
    with Transport() as transport:
        outcome(transport, post(f"http://127.0.0.1:{servers.free_port()}"))
    assert "transport" not in [thread.name for thread in threading.enumerate()]
