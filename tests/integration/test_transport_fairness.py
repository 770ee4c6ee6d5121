"""A host that hangs takes its own time and nobody else's."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pacifica.notifications.transport import (
    Limits,
    Request,
    Response,
    SendFailure,
    SendResult,
    Transport,
)
from tests.support import servers
from tests.support.servers import RawServer, Received, RecordingServer

PATIENCE = 5.0
SOON = 1.0
ROOT = Path(__file__).parents[2]


@pytest.fixture
def target() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


@pytest.fixture
def newcomer() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


@contextmanager
def silent_hosts(count: int) -> Iterator[list[str]]:
    """Give the URLs of servers to which one can connect, and that do nothing ever after."""
    with ExitStack() as stack:
        listeners = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        yield [f"http://127.0.0.1:{listener.getsockname()[1]}" for listener in listeners]


class Gate:
    """Answers of a server that wait until the gate opens, for as long as it is shut."""

    def __init__(self, server: RecordingServer) -> None:
        self._server = server
        self._open = threading.Event()
        self._open.set()
        server.answer = self._answer

    def shut(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def _answer(self, _: Received) -> tuple[int, dict[str, str], bytes]:
        while not self._open.wait(0.02) and not self._server.over.is_set():
            pass
        return 200, {}, b""


def submitted(transport: Transport, url: str, count: int = 1) -> list[Future[SendResult]]:
    return [transport.submit(Request("POST", url, (), b"{}")) for _ in range(count)]


def is_answered(transport: Transport, url: str, timeout: float = SOON) -> bool:
    """Tell whether a request is answered in time, its waiting for a turn included."""
    (future,) = submitted(transport, url)
    return bool(wait([future], timeout).done) and isinstance(future.result(), Response)


def widen(transport: Transport, url: str, count: int = 50) -> None:
    """Have a host answer until it may have as many in flight as any."""
    outcomes = [future.result(PATIENCE) for future in submitted(transport, url, count)]
    assert all(isinstance(outcome, Response) for outcome in outcomes)


# What others do


def test_known_and_new_hosts_are_answered_soon_when_300_hosts_hang(
    target: RecordingServer, newcomer: RecordingServer
) -> None:
    with silent_hosts(300) as silent, Transport() as transport:
        assert is_answered(transport, target.url)
        for url in silent:
            submitted(transport, url, 5)
        assert is_answered(transport, target.url)
        assert is_answered(transport, newcomer.url)


def test_known_host_is_answered_soon_when_more_hosts_hang_than_there_are_places(
    target: RecordingServer,
) -> None:
    limits = Limits(connections=16)
    with silent_hosts(40) as silent, Transport(limits) as transport:
        assert is_answered(transport, target.url)
        for url in silent:
            submitted(transport, url)
        assert is_answered(transport, target.url)


def test_new_host_is_answered_soon_when_those_that_hang_have_done_so_before(
    target: RecordingServer,
) -> None:
    limits = Limits(connections=16, connect_timeout=2, total_timeout=2)
    with silent_hosts(20) as silent, Transport(limits) as transport:
        first = [future for url in silent for future in submitted(transport, url, 10)[:1]]
        assert not wait(first, PATIENCE).not_done
        assert is_answered(transport, target.url)


def test_known_and_new_hosts_are_answered_soon_when_hosts_that_were_prompt_hang(
    target: RecordingServer, newcomer: RecordingServer
) -> None:
    limits = Limits(connections=64, connections_per_host=16)
    with ExitStack() as stack:
        transport = stack.enter_context(Transport(limits))
        before = [stack.enter_context(RecordingServer()) for _ in range(10)]
        gates = [Gate(server) for server in before]
        for server in before:
            widen(transport, server.url)
        assert is_answered(transport, target.url)
        for gate in gates:
            gate.shut()
        for server in before:
            submitted(transport, server.url, 16)
        assert is_answered(transport, target.url)
        assert is_answered(transport, newcomer.url)


def test_request_is_accepted_when_one_host_has_more_waiting_than_its_part_of_the_queue(
    target: RecordingServer,
) -> None:
    with silent_hosts(1) as (silent,), Transport(Limits(queue=100)) as transport:
        stuck = submitted(transport, silent, 90)
        assert is_answered(transport, target.url)
        refused = {future.result(0) for future in stuck if future.done()}
    assert {replace(each, retry_in=0.0) for each in refused} == {
        SendFailure("too many requests wait for this host", 0.0, ours=True)
    }


# How many a host may have in flight


def test_host_has_one_in_flight_until_it_has_answered() -> None:
    with RawServer(servers.hanging) as hanging, Transport(Limits(total_timeout=0.3)) as transport:
        first, second, *_ = submitted(transport, hanging.url, 20)
        assert isinstance(first.result(PATIENCE), SendFailure)
        assert isinstance(second.result(PATIENCE), SendFailure)
        assert hanging.connections <= 3


def test_host_has_its_share_in_flight_at_once_when_it_answered_before(
    target: RecordingServer,
) -> None:
    together = threading.Barrier(16)

    def meet(_: Received) -> tuple[int, dict[str, str], bytes]:
        together.wait(PATIENCE)
        return 200, {}, b""

    with Transport(Limits(connections_per_host=16)) as transport:
        widen(transport, target.url)
        target.answer = meet
        widen(transport, target.url, 16)


def test_host_has_its_share_in_flight_when_its_answers_take_long(target: RecordingServer) -> None:
    together = threading.Barrier(8)

    def meet_slowly(_: Received) -> tuple[int, dict[str, str], bytes]:
        together.wait(PATIENCE)
        return 200, {}, b""

    limits = Limits(connections_per_host=8, prompt=0.0)
    with Transport(limits) as transport:
        widen(transport, target.url)
        target.answer = meet_slowly
        widen(transport, target.url, 8)


def test_host_has_one_in_flight_again_when_it_gave_no_answer(target: RecordingServer) -> None:
    limits = Limits(connections_per_host=4, total_timeout=0.3)
    gate = Gate(target)
    with Transport(limits) as transport:
        widen(transport, target.url)
        gate.shut()
        began = time.monotonic()
        assert not wait(submitted(transport, target.url, 8), PATIENCE).not_done
    # Four together, then one after the other.
    assert time.monotonic() - began >= 5 * 0.3


def test_host_starts_afresh_when_it_was_forgotten(
    target: RecordingServer, newcomer: RecordingServer
) -> None:
    gate = Gate(target)
    with Transport(Limits(remembered=1)) as transport:
        widen(transport, target.url)
        widen(transport, newcomer.url)
        gate.shut()
        connections = target.connections
        sent = len(target.requests)
        submitted(transport, target.url, 8)
        target.wait_for(sent + 1)
        assert is_answered(transport, newcomer.url)  # by when the others would have started too
        assert len(target.requests) == sent + 1
        assert target.connections <= connections
        gate.open()


# Sockets


def test_kept_connections_are_closed_when_those_in_flight_need_their_sockets() -> None:
    limits = Limits(connections=8)
    with ExitStack() as stack:
        transport = stack.enter_context(Transport(limits))
        kept = [Conversations() for _ in range(8)]
        for server in [stack.enter_context(RawServer(each)) for each in kept]:
            assert is_answered(transport, server.url)
        assert sum(each.open for each in kept) == 8
        for url in stack.enter_context(silent_hosts(5)):
            submitted(transport, url)
        servers.eventually(lambda: sum(each.open for each in kept) == 3)


class Conversations:
    """Behaviour of a server that answers all requests; `open` connections have not been closed."""

    def __init__(self) -> None:
        self.open = 0

    def __call__(self, connection: socket.socket, over: threading.Event) -> None:
        self.open += 1
        while servers.read_request(connection) and not over.is_set():
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        self.open -= 1


FEW_FILES = """
import os, resource, sys
from pacifica.notifications.transport import Response, Request, Transport

healthy, *silent = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
with Transport() as transport:
    assert isinstance(transport.submit(Request("POST", healthy, ())).result(5), Response)
    for url in silent:
        transport.submit(Request("POST", url, ()))
    outcome = transport.submit(Request("POST", healthy, ())).result(1)
    assert isinstance(outcome, Response), outcome
    others = [open(os.devnull) for _ in range(30)]
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_requests_leave_files_to_the_process_when_it_may_open_few(target: RecordingServer) -> None:
    with silent_hosts(120) as silent:
        done = subprocess.run(
            [sys.executable, "-c", FEW_FILES, target.url, *silent],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    assert done.returncode == 0, done.stderr
