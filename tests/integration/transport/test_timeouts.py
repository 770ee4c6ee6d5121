"""When a transport gives up a server that is slow or silent."""

import socket
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from pacifica.notifications.transport import Limits, Transport
from tests.support import servers
from tests.support.servers import RawServer, RecordingServer
from tests.support.transports import SHORT, TIMEOUT, answer, no_answer, post

SILENT = Limits(read_timeout=0.3)


@pytest.mark.parametrize(
    "behaviour", [servers.hanging, servers.dribbling_headers, servers.dribbling_body]
)
def test_submit_gives_no_answer_at_the_total_timeout_when_the_server_is_slow(
    short: Transport, behaviour: Callable[[socket.socket, threading.Event], None]
) -> None:
    with RawServer(behaviour) as server:
        result = no_answer(short, post(server.url))
    assert (result.reason, result.ours) == ("no answer within 0.4 s", False)
    assert 0.4 <= result.seconds < 2


@pytest.mark.parametrize(
    "behaviour",
    [
        servers.hanging,
        servers.dribbling_headers,
        servers.stalling(b"HTTP/1.1 200 OK\r\nContent-Len"),
        servers.stalling(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart"),
    ],
    ids=["before the answer", "byte by byte", "within the header", "within the body"],
)
def test_submit_gives_no_answer_at_the_read_timeout_when_the_server_falls_silent(
    behaviour: Callable[[socket.socket, threading.Event], None], target: RecordingServer
) -> None:
    with RawServer(behaviour) as server, Transport(SILENT) as transport:
        result = no_answer(transport, post(server.url))
        assert answer(transport, post(target.url)).status == 200
    assert (result.reason, result.ours) == ("nothing came for 0.3 s", False)
    assert 0.3 <= result.seconds < 1


def test_read_timeout_spares_an_answer_that_goes_on_coming() -> None:
    limits = replace(SILENT, total_timeout=1.0)
    with RawServer(servers.dribbling_body) as server, Transport(limits) as transport:
        assert no_answer(transport, post(server.url)).reason == "no answer within 1 s"


def test_read_timeout_spares_a_request_that_goes_on_being_taken() -> None:
    def slow_to_read(connection: socket.socket, over: threading.Event) -> None:
        while connection.recv(200_000) and not over.wait(0.02):
            pass

    limits = replace(SILENT, total_timeout=1.0)
    with RawServer(slow_to_read) as server, Transport(limits) as transport:
        result = no_answer(transport, post(server.url, b"x" * 50_000_000))
    assert result.reason == "no answer within 1 s"


def test_read_timeout_does_not_end_what_waits_for_its_connection() -> None:
    limits = replace(SILENT, connect_timeout=0.7)
    silent = RawServer(lambda _, over: bool(over.wait(TIMEOUT)))
    with silent as server, Transport(limits) as transport:
        result = no_answer(transport, post(server.url.replace("http:", "https:")))
    assert result.reason == "no connection within 0.7 s"


def test_request_takes_no_longer_than_its_own_timeout(transport: Transport) -> None:
    with RawServer(servers.hanging) as server:
        result = no_answer(transport, replace(post(server.url), timeout=0.2))
        assert (result.reason, result.seconds < 1) == ("no answer within 0.2 s", True)
        longer = replace(post(server.url), timeout=TIMEOUT)
        with Transport(SHORT) as short:
            assert no_answer(short, longer).reason == "no answer within 0.4 s"


def test_submit_gives_no_connection_within_the_connect_timeout_when_tls_hangs() -> None:
    limits = Limits(connect_timeout=0.3, total_timeout=TIMEOUT)
    silent = RawServer(lambda _, over: bool(over.wait(TIMEOUT)))
    with silent as server, Transport(limits) as transport:
        result = no_answer(transport, post(server.url.replace("http:", "https:")))
    assert result.reason == "no connection within 0.3 s"
    assert 0.3 <= result.seconds < 2
