"""Clients that take their time: they wait for each other, and nobody else waits for them."""

import json
import os
import resource
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest

from tests.integration.webservice import TIMEOUT, Service, assert_error, exchange, raw_get, running
from tests.support.servers import eventually

HEAD = b"POST /receive HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
EVENT = HEAD + b"Content-Length: 2\r\n\r\n{}"
BOUNDS = {
    "WEB_HEADER_TIMEOUT": "1.5",
    "WEB_BODY_TIMEOUT": "2",
    "WEB_CONNECTIONS": "30",
    "WEB_HELD_BYTES": "30000000",
}
#: Two threads, of which one may wait for a large body.
FILE = "[global]\nserver.thread_pool: 2\nserver.socket_timeout: 2\n"


@pytest.fixture(scope="module")
def small(
    tmp_path_factory: pytest.TempPathFactory,
    environment_in: Callable[[Path], dict[str, str]],
    migrated: Path,
) -> Iterator[Service]:
    """Run a server of two threads that waits for nobody long."""
    folder = tmp_path_factory.mktemp("small")
    environment = {**environment_in(folder), **BOUNDS}
    Path(environment["NOTIFICATIONS_CPCONFIG"]).write_text(FILE)
    (folder / "db.sqlite3").write_bytes(migrated.read_bytes())
    with running(environment, folder) as service:
        yield service
        assert "Traceback" not in service.program.output


@pytest.fixture
def connected() -> Iterator[ExitStack]:
    """Close at the end what a test has entered."""
    with ExitStack() as stack:
        yield stack


def connect(service: Service, connected: ExitStack, sent: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", service.port), timeout=TIMEOUT)
    connected.enter_context(connection)
    connection.sendall(sent)
    return connection


def rest(connection: socket.socket) -> bytes:
    """Return all that comes until the server hangs up."""
    try:
        return b"".join(iter(lambda: connection.recv(65536), b""))
    except ConnectionResetError:
        return b""


def one_answer(connection: socket.socket) -> bytes:
    """Return one answer with its body, over a connection that is kept."""
    received = b""
    while b"\r\n\r\n" not in received:
        more = connection.recv(1)
        assert more, received
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    (length,) = (line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    while len(body) < int(length.partition(b":")[2]):
        body += connection.recv(1)
    return head + b"\r\n\r\n" + body


def assert_answers_others(service: Service) -> None:
    began = time.monotonic()
    assert service.call("GET", "/eventmatch", "somebody").status_code == 200
    assert service.call("POST", "/receive", body=b"{}").status_code == 200
    assert time.monotonic() - began < 1


SLOW = {
    "first byte": b"G",
    "head": b"GET /eventmatch HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    "body": HEAD + b"Content-Length: 500\r\n\r\n{",
    "large body": HEAD + b"Content-Length: 50000\r\n\r\n" + b" " * 2000,
    "chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n100\r\n{",
    "large chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\nFFFF\r\n" + b" " * 2000,
    "expected body": HEAD + b"Expect: 100-continue\r\nContent-Length: 500\r\n\r\n",
}


def test_slow_clients_are_hung_up_on_in_time_and_hold_nobody(
    small: Service, connected: ExitStack
) -> None:
    began = time.monotonic()
    slow = [(kind, connect(small, connected, sent)) for kind, sent in SLOW.items() for _ in "123"]
    while time.monotonic() - began < 1:  # a byte now and then gives none of them more time
        for _, client in slow:
            client.sendall(b" ")
        assert_answers_others(small)
        time.sleep(0.1)
    for kind, client in slow:
        status = rest(client).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")[9:12]
        # A thread has waited for one of the large ones, while the others waited for that thread.
        assert status == b"408" or (kind.startswith("large") and status == b"400"), (kind, status)
    assert time.monotonic() - began < 6
    assert_answers_others(small)


def test_thread_waits_for_a_large_body_only_so_long_in_all(
    small: Service, connected: ExitStack
) -> None:
    client = connect(small, connected, SLOW["large body"])
    began = time.monotonic()
    while not select.select([client], [], [], 0.2)[0]:
        client.sendall(b" ")
        assert time.monotonic() - began < 4
    assert rest(client)[9:12] in (b"400", b"408")


def test_silent_client_is_hung_up_on_without_a_word(small: Service, connected: ExitStack) -> None:
    assert rest(connect(small, connected)) == b""


def test_kept_client_is_hung_up_on_without_a_word_when_it_asks_for_nothing_more(
    small: Service, connected: ExitStack
) -> None:
    kept = connect(small, connected, EVENT)
    assert one_answer(kept).startswith(b"HTTP/1.1 200 ")
    assert rest(kept) == b""


def test_client_has_time_for_each_head_when_it_is_kept(
    small: Service, connected: ExitStack
) -> None:
    kept = connect(small, connected)
    began = time.monotonic()
    while time.monotonic() - began < 2.5:  # longer than one head may take
        kept.sendall(EVENT[:10])
        time.sleep(0.4)
        kept.sendall(EVENT[10:])
        assert one_answer(kept).startswith(b"HTTP/1.1 200 ")


def test_event_is_taken_when_it_comes_byte_by_byte(small: Service, connected: ExitStack) -> None:
    for sent in (
        EVENT,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
    ):
        slow = connect(small, connected)
        slow.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in sent:
            slow.sendall(bytes([byte]))
        assert one_answer(slow).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("size", [998, 100_000], ids=["gathered", "large"])
def test_client_that_expects_leave_gets_it_once(
    small: Service, connected: ExitStack, size: int
) -> None:
    head = HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % size
    client = connect(small, connected, head)
    assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.sendall(b"{}" + b" " * (size - 2))
    assert one_answer(client).startswith(b"HTTP/1.1 200 ")


def test_all_large_bodies_are_taken_when_they_come_at_once(
    small: Service, connected: ExitStack
) -> None:
    body = b'{"data": "' + b"a" * 200_000 + b'"}'
    head = HEAD + b"Content-Length: %d\r\n\r\n" % len(body)
    clients = [connect(small, connected, head + body[:5000]) for _ in range(10)]
    for client in clients:
        client.sendall(body[5000:])
    for client in clients:
        UUID(one_answer(client).partition(b"\r\n\r\n")[2].decode())


def test_large_event_is_taken_at_once_when_many_others_send_large_ones_slowly(
    prepared: dict[str, str], tmp_path: Path
) -> None:
    event = b'{"data": "' + b"a" * 2_000_000 + b'"}'
    slow = HEAD + b"Content-Length: 30000000\r\n\r\n" + b" " * 1_100_000
    with running({**prepared, "WEB_HELD_BYTES": "30000000"}, tmp_path) as service:
        for number in range(3):
            with ExitStack() as connected:
                senders = [connect(service, connected, slow) for _ in range(40)]
                # What is kept has a bound: some of them are hung up on.
                eventually(partial(any_hung_up, senders), timeout=5)
                for sender in senders:
                    with suppress(OSError):
                        sender.sendall(b" ")
                began = time.monotonic()
                assert service.call("POST", "/receive", body=event).status_code == 200, number
                assert time.monotonic() - began < 1


def any_hung_up(clients: list[socket.socket]) -> bool:
    """Tell whether the server has closed a connection over which it answered nothing."""
    return any(rest(client) == b"" for client in select.select(clients, [], [], 0)[0])


def test_longest_waiting_client_makes_room_when_too_many_wait(
    small: Service, connected: ExitStack
) -> None:
    first = connect(small, connected, b"GET ")
    assert_answers_others(small)  # the server has seen the first one by now
    for _ in range(29):  # one more is that of those who were answered
        connect(small, connected, b"GET ")
    began = time.monotonic()
    assert rest(first) == b""
    assert time.monotonic() - began < 1
    assert_answers_others(small)


def test_server_goes_on_when_it_could_not_open_more_files(
    prepared: dict[str, str], tmp_path: Path
) -> None:
    with running(prepared, tmp_path) as service, ExitStack() as connected:
        assert_answers_others(service)
        files = len(list(Path(f"/proc/{service.program.pid}/fd").iterdir()))
        _, hard = resource.prlimit(service.program.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(service.program.pid, resource.RLIMIT_NOFILE, (files + 20, hard))
        silent = [connect(service, connected, b"GET ") for _ in range(60)]
        for client in silent[:30]:
            assert rest(client) == b""  # made room for others
        used = processor_time(service.program.pid)
        time.sleep(1)  # what is measured is how much is done in it
        assert processor_time(service.program.pid) - used < 0.3
        resource.prlimit(service.program.pid, resource.RLIMIT_NOFILE, (hard, hard))
        assert_answers_others(service)
        assert "Traceback" not in service.program.output


@pytest.mark.parametrize("blank", [b"\t", b",", b" ,", b"\x85", b"x"], ids=ascii)
def test_head_takes_little_time_when_a_header_is_long(small: Service, blank: bytes) -> None:
    long = b": a" + blank * (60_000 // len(blank)) + b"b"
    used = processor_time(small.program.pid)
    for name in (b"Connection", b"Transfer-Encoding", b"Content-Type", b"Expect", b"Accept", b"X"):
        assert exchange(small.port, raw_get("/eventmatch", name + long)).status < 502
    assert processor_time(small.program.pid) - used < 1


def processor_time(pid: int) -> float:
    """Return how many seconds of a processor a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_clients_that_read_no_answer_hold_nobody_and_little(
    small: Service, connected: ExitStack
) -> None:
    for _ in range(50):
        small.create("greedy", extensions={"a": "x" * 200_000})  # a list of ten megabytes
    greedy = []
    for _ in range(12):  # together far more than may be held
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(TIMEOUT)
        client.connect(("127.0.0.1", small.port))
        connected.enter_context(client)
        client.sendall(raw_get("/eventmatch", b"Http-Remote-User: greedy"))
        greedy.append(client)
    eventually(lambda: len(select.select(greedy, [], [], 0)[0]) == len(greedy), timeout=10)
    assert_answers_others(small)
    eventually(lambda: not any(is_connected(small, each) for each in greedy), timeout=10)
    received = [len(rest(client)) for client in greedy]
    assert max(received) < 10_000_000


def test_body_that_keeps_coming_is_taken_when_many_others_stop_after_a_large_burst(
    small: Service, connected: ExitStack
) -> None:
    head = HEAD + b"Content-Length: %d\r\n\r\n"
    burst, honest = b" " * 3_000_000, b" " * 1_000_000 + b"{}"
    steady = connect(small, connected, head % len(honest))
    parts = [honest[start : start + 100_000] for start in range(0, len(honest), 100_000)]
    for part in parts:  # beside it, far more than may be held comes in
        steady.sendall(part)
        for _ in range(2):
            with suppress(OSError):  # the server may have hung up on it
                connect(small, connected, head % 4_000_000).sendall(burst)
        time.sleep(0.1)
    assert rest(steady).startswith(b"HTTP/1.1 200 ")


def is_connected(service: Service, client: socket.socket) -> bool:
    """Tell whether the server has not hung up; its last words may not have been read."""
    ends = [f"0100007F:{port:04X}" for port in (service.port, client.getsockname()[1])]
    known = (line.split()[1:4] for line in Path("/proc/net/tcp").read_text().splitlines())
    return [*ends, "01"] in known  # 01 is ESTABLISHED


def test_long_list_is_read_whole_when_it_is_read_slowly(
    small: Service, connected: ExitStack
) -> None:
    for _ in range(50):
        small.create("patient", extensions={"a": "x" * 20_000})
    client = connect(small, connected, raw_get("/eventmatch", b"Http-Remote-User: patient"))
    parts = []
    while part := client.recv(20_000):
        parts.append(part)
        time.sleep(0.005)
    _, _, body = b"".join(parts).partition(b"\r\n\r\n")
    assert len(json.loads(body)) == 50


def test_client_reads_why_when_its_body_is_too_large(
    prepared: dict[str, str], tmp_path: Path
) -> None:
    # It hangs up only on those who are silent after an answer, and soon.
    Path(prepared["NOTIFICATIONS_CPCONFIG"]).write_text("[global]\nserver.socket_timeout: 1\n")
    with running({**prepared, "RECEIVE_MAX_BODY": "1000"}, tmp_path) as service:
        for size in (1001, 5_000_000):  # a little, and so much that it is not even read
            head = HEAD + b"Content-Length: %d\r\n\r\n" % size
            assert_error(exchange(service.port, head + b" " * size), 413)


def test_requests_under_way_are_answered_and_others_hung_up_on_when_server_is_told_to_end(
    prepared: dict[str, str], tmp_path: Path
) -> None:
    with running(prepared, tmp_path) as service, ExitStack() as connected:
        kept = connect(service, connected, EVENT)
        one_answer(kept)
        under_way = connect(service, connected, EVENT[:-1])
        late = connect(service, connected, EVENT[:20])
        # It is all there when this one is answered, for it came last.
        assert one_answer(connect(service, connected, EVENT)).startswith(b"HTTP/1.1 200 ")
        service.program.signal(signal.SIGTERM)
        assert rest(kept) == b""
        eventually(lambda: is_refused(service.port), timeout=3)
        under_way.sendall(b"}")
        late.sendall(EVENT[20:])
        for client in (under_way, late):
            assert rest(client).startswith(b"HTTP/1.1 200 ")
        assert service.program.wait(4) == 0


def test_server_ends_in_time_when_clients_never_send_the_rest(
    prepared: dict[str, str], tmp_path: Path
) -> None:
    lines = "[global]\nserver.shutdown_timeout: 1\n"
    Path(prepared["NOTIFICATIONS_CPCONFIG"]).write_text(lines)
    with running(prepared, tmp_path) as service, ExitStack() as connected:
        for sent in SLOW.values():
            connect(service, connected, sent)
        assert_answers_others(service)
        service.program.signal(signal.SIGTERM)
        assert service.program.wait(5) == 0
        assert "Traceback" not in service.program.output


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False
