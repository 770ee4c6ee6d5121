"""Sockets and files: a transport leaves some to the process, and closes what it need not keep."""

import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from pacifica.notifications.transport import Limits, Transport
from tests.support import servers
from tests.support.servers import RawServer, RecordingServer
from tests.support.transports import is_answered, silent_hosts, submitted

ROOT = Path(__file__).parents[3]


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
