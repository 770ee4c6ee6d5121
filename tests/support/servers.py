"""Real servers on loopback for tests: one that records requests, and ones that misbehave."""

import contextlib
import itertools
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

BACKLOG = 256
JOIN_TIMEOUT = 5.0
_PORTS = 1000
_FIRST_PORT = 20_000 + _PORTS * int(os.environ.get("PYTEST_XDIST_WORKER", "gw9")[2:])
_OWN_PORTS = itertools.cycle(
    _FIRST_PORT + (os.getpid() + offset) % _PORTS for offset in range(_PORTS)
)


class Headers(dict[str, str]):
    """Request headers, found whatever the case of the name that is asked for."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        super().__init__((name.lower(), value) for name, value in pairs)

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


@dataclass(frozen=True)
class Received:
    """One request as it arrived; `path` with its query."""

    method: str
    path: str
    headers: Headers
    body: bytes


AnswerTriple = tuple[int, Mapping[str, str], bytes]


class RecordingServer:
    """An HTTP/1.1 server that keeps what it receives and answers what `answer` says.

    `answer` is called in the thread of the connection and can be replaced at any time. It may
    block, on `over` for instance, an event that is set at the end of the `with`. What it raises is
    answered as 500, and raised at the end of the `with`. `requests` and `connections` (how many
    were ever accepted) may be read at any time.
    """

    def __init__(self, answer: Callable[[Received], AnswerTriple] | None = None) -> None:
        self.answer = answer or (lambda _: (200, {}, b""))
        self.requests: list[Received] = []
        self.connections = 0
        self.over = threading.Event()
        self._faults: list[Exception] = []
        self._changed = threading.Condition()
        self._http = _Http(("127.0.0.1", 0), self)
        self.port: int = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    def wait_for(self, count: int, timeout: float = 5.0) -> list[Received]:
        """Give the requests once there are at least `count`; fail after `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.requests) >= count, timeout):
                raise AssertionError(
                    f"{len(self.requests)} of {count} requests arrived within {timeout:g} s: "
                    + ", ".join(f"{r.method} {r.path}" for r in self.requests[:20])
                )
            return list(self.requests)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.over.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(JOIN_TIMEOUT)
        if self._faults and error is None:
            raise self._faults[0]

    def accepted(self) -> None:
        with self._changed:
            self.connections += 1

    def respond(self, received: Received) -> AnswerTriple:
        with self._changed:
            self.requests.append(received)
            self._changed.notify_all()
        try:
            return self.answer(received)
        except Exception as fault:  # noqa: BLE001 - raised again where the test can see it
            self._faults.append(fault)
            return 500, {}, b"the test's answer raised"


class RawServer:
    """A TCP server that hands each connection to `behaviour`, in a thread of its own.

    `behaviour` gets the connection and an event that is set when the test is over. Errors of
    the connection end it quietly: the other side may go away at any time.
    """

    def __init__(self, behaviour: Callable[[socket.socket, threading.Event], None]) -> None:
        self._behaviour = behaviour
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self.connections = 0
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        # Closing alone would leave `accept` waiting on some systems.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(JOIN_TIMEOUT)
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(JOIN_TIMEOUT)

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(JOIN_TIMEOUT)
            with self._lock:
                self.connections += 1
                self._open.add(connection)
            thread = threading.Thread(target=self._converse, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _converse(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self._behaviour(connection, self._over)
        with self._lock:
            self._open.discard(connection)


def read_request(connection: socket.socket) -> bytes:
    """Read one request with its body from a connection, b'' when it was closed before."""
    request = b""
    while b"\r\n\r\n" not in request:
        chunk = connection.recv(65536)
        if not chunk:
            return b""
        request += chunk
    head, _, body = request.partition(b"\r\n\r\n")
    missing = -len(body)
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            missing += int(line.partition(b":")[2])
    while missing > 0:
        chunk = connection.recv(65536)
        if not chunk:
            break
        request += chunk
        missing -= len(chunk)
    return request


def hanging(connection: socket.socket, over: threading.Event) -> None:
    """Read the request and never answer."""
    read_request(connection)
    over.wait(30)


def dribbling_headers(connection: socket.socket, over: threading.Event) -> None:
    """Send one byte of an endless header section every 20 ms."""
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not over.wait(0.02):
        connection.sendall(b"a")


def dribbling_body(connection: socket.socket, over: threading.Event) -> None:
    """Answer 200, then send one byte of the body every 20 ms."""
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while not over.wait(0.02):
        connection.sendall(b"a")


def huge_body(connection: socket.socket, over: threading.Event) -> None:
    """Answer 200 with a body of 500 MB, as fast as the connection takes it."""
    read_request(connection)
    size = 500_000_000
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
    block = b"x" * 1_000_000
    for _ in range(size // len(block)):
        if over.is_set():
            return
        connection.sendall(block)


def endless_headers(connection: socket.socket, over: threading.Event) -> None:
    """Send headers without end, as fast as the connection takes them."""
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not over.is_set():
        connection.sendall(b"X-Flood: yes\r\n" * 1000)


def endless_header_line(connection: socket.socket, over: threading.Event) -> None:
    """Send one header line without end, as fast as the connection takes it."""
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Flood: ")
    while not over.is_set():
        connection.sendall(b"x" * 10_000)


def endless_interim_answers(connection: socket.socket, over: threading.Event) -> None:
    """Send 103 answers without end, as fast as the connection takes them."""
    read_request(connection)
    while not over.is_set():
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 1000)


def banner(connection: socket.socket, over: threading.Event) -> None:
    """Greet as an SSH server does, with a secret in the greeting."""
    connection.sendall(b"SSH-2.0-secret-banner\r\n")
    read_request(connection)
    over.wait(30)


def broken_body(connection: socket.socket, over: threading.Event) -> None:
    """Announce more of a body than is sent before the connection is closed."""
    del over
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart")


class stalling:  # noqa: N801 - used where the functions above are
    """Send the beginning of an answer at once, and never the rest."""

    def __init__(self, beginning: bytes) -> None:
        self._beginning = beginning

    def __call__(self, connection: socket.socket, over: threading.Event) -> None:
        read_request(connection)
        connection.sendall(self._beginning)
        over.wait()


class stale_after_one_answer:  # noqa: N801 - used where the functions above are
    """Answer one request on each connection; close it without an answer at the next one."""

    def __init__(self) -> None:
        self.unanswered = 0

    def __call__(self, connection: socket.socket, over: threading.Event) -> None:
        del over
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        if read_request(connection):
            self.unanswered += 1


def free_port() -> int:
    """Give a port of 127.0.0.1 that nobody listens on, and that no other test process gives.

    Each process of pytest has a range of its own, below those that the system hands out.
    """
    for _ in range(_PORTS):
        port = next(_OWN_PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")


def eventually(condition: Callable[[], bool], timeout: float = 5.0) -> None:
    """Wait until a condition holds; fail after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not so within {timeout:g} s: {condition}")
        time.sleep(0.005)


class _Http(ThreadingHTTPServer):
    request_queue_size = BACKLOG
    daemon_threads = False  # so that the end of the server waits for its threads
    block_on_close = True

    def __init__(self, address: tuple[str, int], owner: RecordingServer) -> None:
        self.owner = owner
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.owner.accepted()
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        # Kept connections wait for a next request that does not come.
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that goes away in the middle is no fault of the server.
        pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Http
    timeout = 30
    # Header and body leave in one piece: two small writes would wait for a delayed ACK.
    wbufsize = -1
    disable_nagle_algorithm = True

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        received = Received(self.command, self.path, Headers(self.headers.items()), body)
        status, headers, content = self.server.owner.respond(received)
        self.send_response_only(status)
        names = {name.lower() for name in headers}
        for name, value in headers.items():
            self.send_header(name, value)
        if "content-length" not in names and "transfer-encoding" not in names:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = _handle  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass
