"""Requests to send by a transport, and what comes of them."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager
from typing import Any

from pacifica.notifications.transport import (
    FlowKey,
    Limits,
    Request,
    Response,
    SendFailure,
    SendResult,
    Transport,
)
from tests.support.servers import Received, RecordingServer

SHORT = Limits(connect_timeout=0.3, total_timeout=0.4, response_bytes=1000)
#: Seconds for a response, and for one that must not have waited for others.
TIMEOUT, SOON = 5.0, 1.0


def post(url: str, body: bytes = b"{}", *headers: tuple[str, str]) -> Request:
    return Request("POST", url, headers, body)


def outcome(transport: Transport, request: Request) -> SendResult:
    return transport.submit(request).result(TIMEOUT)


def answer(transport: Transport, request: Request) -> Response:
    result = outcome(transport, request)
    assert isinstance(result, Response), result
    return result


def no_answer(transport: Transport, request: Request) -> SendFailure:
    result = outcome(transport, request)
    assert isinstance(result, SendFailure), result
    return result


def warm_up(transport: Transport, target: RecordingServer) -> None:
    """Have a server answer until it may have as many in flight as the limits allow."""
    futures = [transport.submit(post(target.url)) for _ in range(20)]
    assert all(isinstance(future.result(TIMEOUT), Response) for future in futures)


def addresses(*ips: str) -> list[Any]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 0)) for ip in ips]


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
