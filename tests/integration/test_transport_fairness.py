"""A host or a flow that hangs takes its own time and nobody else's."""

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
    FlowKey,
    Limits,
    Request,
    Response,
    SendFailure,
    SendResult,
    Transport,
)
from tests.support import servers
from tests.support.servers import RawServer, Received, RecordingServer

TIMEOUT = 5.0
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
    outcomes = [future.result(TIMEOUT) for future in submitted(transport, url, count)]
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
        assert not wait(first, TIMEOUT).not_done
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
        assert isinstance(first.result(TIMEOUT), SendFailure)
        assert isinstance(second.result(TIMEOUT), SendFailure)
        assert hanging.connections <= 3


def test_host_has_its_share_in_flight_at_once_when_it_answered_before(
    target: RecordingServer,
) -> None:
    together = threading.Barrier(16)

    def meet(_: Received) -> tuple[int, dict[str, str], bytes]:
        together.wait(TIMEOUT)
        return 200, {}, b""

    with Transport(Limits(connections_per_host=16)) as transport:
        widen(transport, target.url)
        target.answer = meet
        widen(transport, target.url, 16)


def test_host_has_its_share_in_flight_when_its_answers_take_long(target: RecordingServer) -> None:
    together = threading.Barrier(8)

    def meet_slowly(_: Received) -> tuple[int, dict[str, str], bytes]:
        together.wait(TIMEOUT)
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
        assert not wait(submitted(transport, target.url, 8), TIMEOUT).not_done
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


# Flows of one host


def in_flow(
    transport: Transport, url: str, user: str, flow: str, timeout: float | None = None
) -> Future[SendResult]:
    """Submit a request of a flow to the path that is named like the flow."""
    key = FlowKey(user, flow)
    return transport.submit(Request("POST", f"{url}/{flow}", (), b"{}", timeout, key))


def flow_is_answered(
    transport: Transport, url: str, user: str, flow: str, timeout: float = SOON
) -> bool:
    future = in_flow(transport, url, user, flow)
    return bool(wait([future], timeout).done) and isinstance(future.result(), Response)


def hanging_below(path: str, server: RecordingServer) -> None:
    """Have a server answer at once, except below a path, where it never does."""

    def answer(received: Received) -> tuple[int, dict[str, str], bytes]:
        if received.path.startswith(path):
            server.over.wait(30)
        return 200, {}, b""

    server.answer = answer


def in_flight(server: RecordingServer, path: str) -> int:
    return sum(received.path.startswith(path) for received in server.requests)


OF_A_HOST = Limits(connections=64, connections_per_host=32)


def test_known_and_new_flows_are_answered_soon_when_a_user_has_more_flows_that_hang_than_places(
    target: RecordingServer,
) -> None:
    hanging_below("/hang", target)
    with Transport(OF_A_HOST) as transport:
        assert flow_is_answered(transport, target.url, "other", "known")
        for number in range(60):
            in_flow(transport, target.url, "one", f"hang{number}")
        servers.eventually(lambda: in_flight(target, "/hang") == 26)
        assert flow_is_answered(transport, target.url, "other", "known")
        assert flow_is_answered(transport, target.url, "newcomer", "new")
        assert in_flight(target, "/hang") == 26


def test_known_flow_is_answered_soon_when_flows_of_as_many_users_hang_as_may_be_in_flight(
    target: RecordingServer,
) -> None:
    hanging_below("/hang", target)
    with Transport(OF_A_HOST) as transport:
        assert flow_is_answered(transport, target.url, "known", "known")
        for number in range(60):
            in_flow(transport, target.url, f"user{number}", f"hang{number}")
        servers.eventually(lambda: in_flight(target, "/hang") == 30)
        assert flow_is_answered(transport, target.url, "known", "known")


def test_new_flow_of_the_same_user_is_answered_soon_when_those_that_hang_have_done_so_before(
    target: RecordingServer,
) -> None:
    hanging_below("/hang", target)
    limits = replace(OF_A_HOST, total_timeout=1.0)
    with Transport(limits) as transport:
        first = [in_flow(transport, target.url, "one", f"hang{number}") for number in range(28)]
        assert not wait(first, TIMEOUT).not_done
        for number in range(28):
            in_flow(transport, target.url, "one", f"hang{number}")
        assert flow_is_answered(transport, target.url, "one", "new", timeout=0.5)


def test_known_flow_is_answered_soon_when_another_host_has_half_of_all_connections(
    target: RecordingServer,
) -> None:
    limits = Limits(connections=16, connections_per_host=16)
    hanging_below("/hang", target)
    with silent_hosts(8) as silent, Transport(limits) as transport:
        assert flow_is_answered(transport, target.url, "one", "known")
        for url in silent:
            submitted(transport, url)
        in_flow(transport, target.url, "one", "hang1")
        servers.eventually(lambda: in_flight(target, "/hang") == 1)
        in_flow(transport, target.url, "one", "hang2")
        assert flow_is_answered(transport, target.url, "one", "known")
        assert in_flight(target, "/hang") == 1


def test_others_are_answered_soon_when_all_flows_of_a_user_hang_that_were_prompt(
    target: RecordingServer, newcomer: RecordingServer
) -> None:
    with Transport(OF_A_HOST) as transport:
        for number in range(60):
            assert flow_is_answered(transport, target.url, "one", f"hang{number}", TIMEOUT)
        sent = len(target.requests)
        hanging_below("/hang", target)
        for number in range(60):
            in_flow(transport, target.url, "one", f"hang{number}")
        target.wait_for(sent + 26)
        assert flow_is_answered(transport, target.url, "other", "new")
        assert flow_is_answered(transport, newcomer.url, "other", "new")


def test_others_are_answered_soon_when_more_hosts_of_a_user_hang_than_there_are_connections(
    target: RecordingServer, newcomer: RecordingServer
) -> None:
    limits = Limits(connections=32, connections_per_host=16)
    with silent_hosts(80) as silent, Transport(limits) as transport:
        for number, url in enumerate(silent):
            in_flow(transport, url, f"user{number % 2}", "hang")
        assert flow_is_answered(transport, target.url, "other", "new")
        assert flow_is_answered(transport, newcomer.url, "another", "new")


def test_all_requests_of_a_user_are_sent_when_it_has_more_than_its_share(
    target: RecordingServer, newcomer: RecordingServer
) -> None:
    limits = Limits(connections=10, connections_per_host=8)
    with Transport(limits) as transport:
        futures = [
            in_flow(transport, server.url, "one", f"flow{number % 20}")
            for number in range(200)
            for server in (target, newcomer)
        ]
        assert all(isinstance(future.result(TIMEOUT), Response) for future in futures)


def test_requests_of_others_are_accepted_when_those_of_a_user_to_many_hosts_wait(
    target: RecordingServer,
) -> None:
    with silent_hosts(80) as silent, Transport(Limits(connections=16, queue=40)) as transport:
        for number, url in enumerate(silent):
            in_flow(transport, url, "one", "hang")
            if number % 10 == 0:
                assert flow_is_answered(transport, target.url, "other", "known")


def test_users_take_turns_when_one_of_them_has_more_flows(target: RecordingServer) -> None:
    gate = Gate(target)
    gate.shut()
    limits = Limits(connections=8, connections_per_host=2)
    with Transport(limits) as transport:
        for number in range(20):
            in_flow(transport, target.url, "many", f"many{number}")
        target.wait_for(2)
        last = in_flow(transport, target.url, "few", "few")
        gate.open()
        assert isinstance(last.result(TIMEOUT), Response)
        paths = [received.path for received in target.wait_for(21)]
    assert "/few" in paths[:5]


def test_hanging_flow_has_one_request_in_flight_whatever_number_of_them_waits(
    target: RecordingServer,
) -> None:
    hanging_below("/hang", target)
    with Transport(OF_A_HOST) as transport:
        for _ in range(50):
            in_flow(transport, target.url, "one", "hang")
        assert flow_is_answered(transport, target.url, "one", "other")
        assert in_flight(target, "/hang") == 1


def test_flow_has_its_share_in_flight_when_it_answered_before(target: RecordingServer) -> None:
    limits = replace(OF_A_HOST, connections_per_flow=4)
    running = threading.Semaphore(4)
    together = threading.Barrier(4)

    def meet(_: Received) -> tuple[int, dict[str, str], bytes]:
        assert running.acquire(blocking=False), "more than four"
        together.wait(TIMEOUT)
        running.release()
        return 200, {}, b""

    with Transport(limits) as transport:
        for _ in range(3):
            assert flow_is_answered(transport, target.url, "one", "flow")
        target.answer = meet
        futures = [in_flow(transport, target.url, "one", "flow") for _ in range(8)]
        assert all(isinstance(future.result(TIMEOUT), Response) for future in futures)


def test_requests_wait_when_others_of_their_host_have_more_waiting_than_its_part_of_the_queue(
    target: RecordingServer,
) -> None:
    hanging_below("/hang", target)
    gate = threading.Event()
    with Transport(replace(OF_A_HOST, queue=400)) as transport:
        stuck = [
            in_flow(transport, target.url, "one", f"hang{number % 5}") for number in range(300)
        ]
        servers.eventually(lambda: any(future.done() for future in stuck))
        answer = target.answer
        target.answer = lambda received: (gate.wait(TIMEOUT), answer(received))[1]
        mine = [in_flow(transport, target.url, "one", "mine") for _ in range(5)]
        other = [in_flow(transport, target.url, "other", "other") for _ in range(20)]
        target.wait_for(5 + 2)  # one of each flow
        gate.set()
        results = [future.result(TIMEOUT) for future in (*mine, *other)]
    assert all(isinstance(result, Response) for result in results), results


def test_refusal_says_how_long_the_requests_of_a_hanging_flow_wait(
    target: RecordingServer,
) -> None:
    hanging_below("/hang", target)
    limits = replace(OF_A_HOST, queue=40, total_timeout=0.5)
    with Transport(limits) as transport:
        assert isinstance(
            in_flow(transport, target.url, "one", "hang").result(TIMEOUT), SendFailure
        )
        stuck = [in_flow(transport, target.url, "one", "hang") for _ in range(30)]
        servers.eventually(lambda: any(future.done() for future in stuck))
        refused = next(future.result() for future in stuck if future.done())
    assert isinstance(refused, SendFailure)
    assert 4 < refused.retry_in < 8  # ten or more that take half a second each


def test_request_with_a_timeout_of_its_own_goes_before_those_of_its_flow_that_wait(
    target: RecordingServer,
) -> None:
    gate = Gate(target)
    gate.shut()
    with Transport() as transport:
        futures = [in_flow(transport, target.url, "one", "flow") for _ in range(4)]
        target.wait_for(1)
        key = FlowKey("one", "flow")
        again = Request("POST", f"{target.url}/again", (), b"", TIMEOUT, key)
        futures.append(transport.submit(again))
        gate.open()
        assert not wait(futures, TIMEOUT).not_done
    assert [received.path for received in target.requests].index("/again") == 1


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


# Lookups


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


class Conversations:
    """Behaviour of a server that answers all requests; `open` connections have not been closed."""

    def __init__(self) -> None:
        self.open = 0

    def __call__(self, connection: socket.socket, over: threading.Event) -> None:
        self.open += 1
        while servers.read_request(connection) and not over.is_set():
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        self.open -= 1


FILE_LIMIT = """
import resource
from pacifica.notifications.transport import raise_file_limit

hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (100, min(hard, 1000)))
raise_file_limit(30)
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
raise_file_limit(200)
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
raise_file_limit(10_000)
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_file_limit_is_raised_to_twice_the_connections_or_as_far_as_it_may_be() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILE_LIMIT],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert done.stdout.split() == ["100", "1000", "400", "1000", "1000", "1000"]


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
