"""What a transport makes of a server's response."""

import socket
import threading
from collections.abc import Callable

import pytest

from pacifica.notifications.transport import Transport
from tests.support import servers
from tests.support.servers import RawServer, RecordingServer
from tests.support.transports import SHORT, TIMEOUT, answer, no_answer, post


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_submit_follows_no_redirect(
    transport: Transport, target: RecordingServer, status: int
) -> None:
    target.answer = lambda _: (status, {"Location": f"{target.url}/elsewhere"}, b"moved")
    assert answer(transport, post(target.url)).status == status
    assert [received.path for received in target.requests] == ["/"]


def test_answer_has_retry_after_as_it_came(transport: Transport, target: RecordingServer) -> None:
    target.answer = lambda _: (429, {"retry-AFTER": " Fri, 07 Nov 2031 23:59:59 GMT "}, b"")
    assert answer(transport, post(target.url)).retry_after == "Fri, 07 Nov 2031 23:59:59 GMT"


def test_answer_has_no_retry_after_when_only_an_interim_answer_had_it(transport: Transport) -> None:
    def interim(connection: socket.socket, over: threading.Event) -> None:
        servers.read_request(connection)
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nRetry-After: 9\r\n\r\n")
        connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        over.wait(TIMEOUT)

    with RawServer(interim) as server:
        result = answer(transport, post(server.url))
    assert (result.status, result.retry_after) == (503, None)


def test_answer_is_whole_when_its_body_is_exactly_the_limit(
    short: Transport, target: RecordingServer
) -> None:
    target.answer = lambda _: (200, {}, b"x" * SHORT.response_bytes)
    result = answer(short, post(target.url))
    assert (len(result.body), result.truncated) == (SHORT.response_bytes, False)


def test_answer_is_truncated_when_its_body_is_past_the_limit(
    short: Transport, target: RecordingServer
) -> None:
    target.answer = lambda _: (404, {}, b"x" * (SHORT.response_bytes + 1))
    result = answer(short, post(target.url))
    assert (result.status, len(result.body)) == (404, SHORT.response_bytes)
    assert result.truncated


def test_answer_is_cut_at_once_when_its_body_is_500_mb(transport: Transport) -> None:
    with RawServer(servers.huge_body) as server:
        result = answer(transport, post(server.url))
    assert (result.status, len(result.body), result.truncated) == (200, 65536, True)
    assert result.seconds < 1


@pytest.mark.parametrize(
    "behaviour",
    [servers.endless_headers, servers.endless_header_line, servers.endless_interim_answers],
)
def test_submit_gives_no_answer_at_once_when_headers_are_endless(
    transport: Transport, behaviour: Callable[[socket.socket, threading.Event], None]
) -> None:
    with RawServer(behaviour) as server:
        result = no_answer(transport, post(server.url))
    assert result.reason == "too many response headers"
    assert result.seconds < 1


def test_submit_gives_no_answer_when_headers_are_more_than_64_kb(
    transport: Transport, target: RecordingServer
) -> None:
    target.answer = lambda _: (200, {f"X-{n}": "x" * 10_000 for n in range(7)}, b"")
    assert no_answer(transport, post(target.url)).reason == "too many response headers"


@pytest.mark.parametrize(
    "line",
    ["HTTP/1.1 2000 OK", "HTTP/1.1 20 OK", "HTTP/1.1 200OK", "HTTP/1.1 020 OK", "HTTP/1.1 2x0 OK"],
)
def test_answer_does_not_count_when_its_status_line_is_malformed(
    transport: Transport, line: str
) -> None:
    def answer_oddly(connection: socket.socket, _over: threading.Event) -> None:
        servers.read_request(connection)
        connection.sendall(f"{line}\r\nContent-Length: 2\r\n\r\nok".encode())

    with RawServer(answer_oddly) as server:
        assert no_answer(transport, post(server.url)).reason == "not an HTTP answer"


@pytest.mark.parametrize("line", ["HTTP/1.1 200", "HTTP/1.0 200 OK", "HTTP/1.1 200 "])
def test_answer_counts_when_its_status_line_has_no_reason(transport: Transport, line: str) -> None:
    def answer_briefly(connection: socket.socket, _over: threading.Event) -> None:
        servers.read_request(connection)
        connection.sendall(f"{line}\r\nContent-Length: 2\r\n\r\nok".encode())

    with RawServer(answer_briefly) as server:
        assert answer(transport, post(server.url)).status == 200


def test_reason_holds_nothing_of_the_banner_when_the_server_speaks_no_http(
    transport: Transport,
) -> None:
    with RawServer(servers.banner) as server:
        assert no_answer(transport, post(server.url)).reason == "not an HTTP answer"
