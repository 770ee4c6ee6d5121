"""Connections: kept, opened afresh, broken off or refused, and how many there are."""

import contextlib
import socket
import threading
import time

import pytest

from pacifica.notifications.transport import Limits, Response, Transport
from tests.support import servers
from tests.support.servers import RawServer, Received, RecordingServer
from tests.support.transports import TIMEOUT, answer, no_answer, post, warm_up


def test_submit_gives_broken_off_when_the_server_closes_within_the_body(
    transport: Transport,
) -> None:
    with RawServer(servers.broken_body) as server:
        assert no_answer(transport, post(server.url)).reason == "connection broken off"


def test_submit_gives_broken_off_when_the_server_closes_without_an_answer(
    transport: Transport,
) -> None:
    with RawServer(lambda connection, _: bool(servers.read_request(connection))) as server:
        assert no_answer(transport, post(server.url)).reason == "connection broken off"


def test_submit_gives_no_connection_when_nobody_listens(transport: Transport) -> None:
    url = f"http://127.0.0.1:{servers.free_port()}"
    assert no_answer(transport, post(url)).reason == "no connection"


def test_submit_gives_host_not_found_when_the_name_cannot_be_resolved(
    transport: Transport,
) -> None:
    # No label has more than 63 characters, so this needs no name server.
    assert no_answer(transport, post(f"http://{'a' * 64}.invalid/")).reason == "host not found"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nothing",
        "/path",
        "http://",
        "http:///path",
        "http://host:port/",
        "http://[::1/",
        "http://127.0.0.1/a b",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "http://127.0.0.1/" + "a" * 20_000,
    ],
    ids=lambda url: url[:24],
)
def test_submit_gives_not_a_usable_url_when_it_is_none(transport: Transport, url: str) -> None:
    assert no_answer(transport, post(url)).reason == "not a usable URL"


def test_submit_uses_one_connection_for_one_request_after_another(
    transport: Transport, target: RecordingServer
) -> None:
    for _ in range(5):
        answer(transport, post(target.url))
    assert (len(target.requests), target.connections) == (5, 1)


def test_submit_sends_again_when_a_kept_connection_closes_without_an_answer(
    transport: Transport,
) -> None:
    behaviour = servers.stale_after_one_answer()
    with RawServer(behaviour) as server:
        for _ in range(3):
            assert answer(transport, post(server.url)).body == b"ok"
    assert (behaviour.unanswered, server.connections) == (2, 3)


def test_submit_connects_afresh_when_the_server_closed_the_kept_connection(
    transport: Transport,
) -> None:
    closed = threading.Semaphore(0)

    def once(connection: socket.socket, over: threading.Event) -> None:
        del over
        servers.read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        connection.close()
        closed.release()

    with RawServer(once) as server:
        for _ in range(3):
            assert answer(transport, post(server.url)).body == b"ok"
            assert closed.acquire(timeout=TIMEOUT)
        assert server.connections == 3


def test_submit_answers_all_when_hundreds_are_in_flight_at_once(target: RecordingServer) -> None:
    together = threading.Barrier(200)

    def meet(_: Received) -> tuple[int, dict[str, str], bytes]:
        together.wait(TIMEOUT)
        return 200, {}, b""

    limits = Limits(connections_per_host=200, connections=400)
    with Transport(limits) as transport:
        warm_up(transport, target)
        target.answer = meet
        futures = [transport.submit(post(target.url, b"%d" % n)) for n in range(600)]
        outcomes = [future.result(TIMEOUT) for future in futures]
    assert {result.status for result in outcomes if isinstance(result, Response)} == {200}
    received = target.requests[-600:]
    assert sorted(int(request.body) for request in received) == list(range(600))
    assert target.connections == 200


class Gauge:
    """Answers of servers that wait for `full` of them to be under way, and count how many are."""

    def __init__(self, full: int) -> None:
        self.most = 0
        self._full = full
        self._running = 0
        self._lock, self._reached = threading.Lock(), threading.Event()

    def __call__(self, _: Received) -> tuple[int, dict[str, str], bytes]:
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
            if self._running == self._full:
                self._reached.set()
        self._reached.wait(TIMEOUT)
        time.sleep(0.02)  # for one too many to arrive
        with self._lock:
            self._running -= 1
        return 200, {}, b""


def test_submit_has_as_many_in_flight_to_a_host_as_the_limits_allow_and_no_more(
    target: RecordingServer,
) -> None:
    with Transport(Limits(connections_per_host=3)) as transport:
        warm_up(transport, target)
        target.answer = gauge = Gauge(3)
        futures = [transport.submit(post(target.url)) for _ in range(20)]
        assert all(isinstance(future.result(TIMEOUT), Response) for future in futures)
    assert gauge.most == 3


def test_submit_has_as_many_in_flight_in_all_as_the_limits_allow_and_no_more() -> None:
    gauge = Gauge(5)
    with contextlib.ExitStack() as stack:
        transport = stack.enter_context(Transport(Limits(connections=5)))
        targets = [stack.enter_context(RecordingServer(gauge)) for _ in range(8)]
        futures = [transport.submit(post(target.url)) for target in targets for _ in range(3)]
        assert all(isinstance(future.result(TIMEOUT), Response) for future in futures)
    assert gauge.most == 5


def test_submit_serves_other_hosts_when_one_hangs(
    transport: Transport, target: RecordingServer
) -> None:
    with RawServer(servers.hanging) as hanging:
        stuck = [transport.submit(post(hanging.url)) for _ in range(50)]
        for _ in range(50):
            answer(transport, post(target.url))
        assert not any(future.done() for future in stuck)
        assert hanging.connections == 1


def test_total_timeout_does_not_count_the_waiting_for_a_turn(target: RecordingServer) -> None:
    target.answer = lambda _: (200, {}, b"x"[target.over.wait(0.15) :])
    with Transport(Limits(total_timeout=0.5, connections_per_host=1)) as transport:
        futures = [transport.submit(post(target.url)) for _ in range(6)]
        outcomes = [future.result(TIMEOUT) for future in futures]
    assert all(isinstance(result, Response) for result in outcomes), outcomes
