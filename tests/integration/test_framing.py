"""Requests that a proxy and the server could take for different things: refused, and the last."""

import re
import socket
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.integration.webservice import TIMEOUT, Service, assert_error, exchange, raw_get

POST = b"POST /receive HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
#: What would be answered too where the server took it for a request of its own.
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


def answers(port: int, sent: bytes) -> bytes:
    """Send bytes and return all that comes back until the server hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as connection:
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def assert_refused(service: Service, sent: bytes, status: int = 400) -> None:
    """Check that one error is answered, that nothing more is, and that it was not taken."""
    answer = answers(service.port, sent + SMUGGLED)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    assert answer.count(b"HTTP/1.1 ") == 1, answer
    assert b"application/json" in answer


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        b"Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}",
        b"Content-Length: 2, 2\r\n\r\n{}",
        b"Content-Length: +2\r\n\r\n{}",
        b"Content-Length: -2\r\n\r\n{}",
        b"Content-Length: 0x2\r\n\r\n{}",
        b"Content-Length: 1_0\r\n\r\n{}        ",
        b"Content-Length:\r\n\r\n{}",
        b"Content-Length: 2\x0b\r\n\r\n{}",
        b"Content-Length : 2\r\n\r\n{}",
        b" Content-Length: 2\r\n\r\n{}",
        b"X: a\r\n Content-Length: 2\r\n\r\n{}",
        b"X: a\r\n\tb\r\nContent-Length: 2\r\n\r\n{}",
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"Transfer-Encoding:\r\nContent-Length: 2\r\n\r\n{}",
        b"Transfer-Encoding: chunked\r\n\r\n+2\r\n{}\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}}\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}0\r\n\r\n",
        b"Content-Length: 2\nX: a\r\n\r\n{}",
        b"X: a\rContent-Length: 2\r\n\r\n{}",
        b"X: a\r\nContent-Length: 2\r\n\n{}",
        b"X\x00: a\r\nContent-Length: 2\r\n\r\n{}",
        b"X: a\x00\r\nContent-Length: 2\r\n\r\n{}",
        b"X(: a\r\nContent-Length: 2\r\n\r\n{}",
        b"X\r\nContent-Length: 2\r\n\r\n{}",
        b": a\r\nContent-Length: 2\r\n\r\n{}",
        b"Host: y\r\nContent-Length: 2\r\n\r\n{}",
    ],
    ids=lambda headers: ascii(headers)[2:60],
)
def test_request_is_refused_when_it_is_not_plain_where_it_ends(
    service: Service, headers: bytes
) -> None:
    assert_refused(service, POST + headers)


def test_body_is_too_large_when_its_length_is_no_number_of_a_machine(service: Service) -> None:
    for digits, status in ((20, 413), (5000, 400)):
        assert_refused(service, POST + b"Content-Length: " + b"9" * digits + b"\r\n\r\n{}", status)


def test_host_must_be_given_once_and_be_one(service: Service) -> None:
    for lines in (
        b"",
        b"Host: x\r\nHost: x\r\n",
        b"Host: x/y\r\n",
        b"Host: a b\r\n",
        b"Host: u@x\r\n",
    ):
        for target in (b"/eventmatch", b"http://x/eventmatch"):
            assert_refused(service, b"GET " + target + b" HTTP/1.1\r\n" + lines + b"\r\n")


def test_absolute_form_is_taken_and_its_host_counts(service: Service) -> None:
    for target, status in (
        (b"http://x/eventmatch", 200),
        (b"HTTPS://x:8070/eventmatch?a=b", 400),
        (b"http://x", 404),
        (b"http://x/", 404),
        (b"http://x?a=b", 404),
    ):
        request = b"GET " + target + b" HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n"
        answer = exchange(service.port, request)
        assert answer.status == status, answer
        assert answer.headers["content-type"] == "application/json"


def test_line_of_a_chunked_body_is_refused_when_it_never_ends(service: Service) -> None:
    for begin in (b"", b"1;a=", b"0\r\nX: "):
        chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n" + begin + b"1" * 100_000
        assert_refused(service, chunked)


@pytest.mark.parametrize(
    "line", [b"close", b"x, close", b"Close ,x", b"x,\tCLOSE", b"x\r\nConnection: close"]
)
def test_connection_is_closed_when_close_is_one_of_its_options(
    service: Service, line: bytes
) -> None:
    request = b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: " + line + b"\r\n\r\n"
    answer = answers(service.port, request + SMUGGLED)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer.lower()


def test_old_client_is_kept_when_it_asks_for_it(service: Service) -> None:
    kept = b"GET /nothing HTTP/1.0\r\nConnection: x, keep-alive\r\n\r\n"
    received = answers(service.port, kept + b"GET /nothing HTTP/1.0\r\n\r\n")
    assert received.count(b"HTTP/1.0 404 ") == 2


def test_coding_is_refused_when_it_is_not_known(service: Service) -> None:
    for coding in (b"gzip", b"identity", b"xchunked"):
        assert_refused(service, POST + b"Transfer-Encoding: " + coding + b"\r\n\r\n", 501)


@pytest.mark.parametrize(
    "line",
    [
        b"GET /eventmatch\r\n",
        b"GET /eventmatch HTTP/1.1 \r\n",
        b"GET /eventmatch HTTP/1.1x\r\n",
        b"GET /eventmatch HTTP/+1.1\r\n",
        b"GET /eventmatch HTTP/01.1\r\n",
        b"GET /eventmatch HTTP/1.1\n",
        b"GET /eventmatch  HTTP/1.1\r\n",
        b"GET  /eventmatch HTTP/1.1\r\n",
        b"GET\t/eventmatch HTTP/1.1\r\n",
        b"get /eventmatch HTTP/1.1\r\n",
        b"G\x00T /eventmatch HTTP/1.1\r\n",
        b"GET /event\rmatch HTTP/1.1\r\n",
        b"GET /event\x00match HTTP/1.1\r\n",
        b"GET /event\tmatch HTTP/1.1\r\n",
        b"GET //x/eventmatch HTTP/1.1\r\n",
        b"OPTIONS //x/eventmatch HTTP/1.1\r\n",
        b"GET http://[ HTTP/1.1\r\n",
        b"GET http:// HTTP/1.1\r\n",
        b"GET http:///eventmatch HTTP/1.1\r\n",
        b"GET http://user@x/eventmatch HTTP/1.1\r\n",
        b"GET ftp://x/eventmatch HTTP/1.1\r\n",
        b"CONNECT x:80 HTTP/1.1\r\n",
        b"GET //[ HTTP/1.1\r\n",
        b"GET eventmatch HTTP/1.1\r\n",
        b"GET /eventmatch#a HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=lambda line: ascii(line)[2:50],
)
def test_request_is_refused_when_its_first_line_is_malformed(service: Service, line: bytes) -> None:
    assert_refused(service, line + b"Host: x\r\n\r\n")
    assert "Traceback" not in service.program.output


def test_coding_is_refused_when_client_speaks_http_1_0(service: Service) -> None:
    old = POST.replace(b"HTTP/1.1", b"HTTP/1.0")
    chunks = b"2\r\n{}\r\n0\r\n\r\n"
    assert_refused(service, old + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)


def test_one_event_is_taken_when_it_comes_in_chunks(service: Service) -> None:
    body = b'1;a="b"\r\n{\r\n0001\r\n}\r\n0\r\nGET: /smuggled\r\n\r\n'
    answer = answers(service.port, POST + b"Transfer-Encoding: CHUNKED\r\n\r\n" + body + SMUGGLED)
    assert answer.startswith(b"HTTP/1.1 200 ")
    UUID(answer.partition(b"\r\n\r\n")[2].decode())
    assert b"connection: close" in answer.lower()


def test_nothing_is_taken_for_a_request_when_a_body_is_not_read(service: Service) -> None:
    for path in (b"/nothing", b"/eventmatch/x"):
        head = b"POST " + path + b" HTTP/1.1\r\nHost: x\r\n"
        chunked = head + b"Transfer-Encoding: chunked\r\n\r\n%X\r\n" % len(SMUGGLED) + SMUGGLED
        answer = answers(service.port, chunked + b"\r\n0\r\n\r\n")
        assert answer.count(b"HTTP/1.1 ") == 1
        large = head + b"Connection: close\r\nContent-Length: 2000000\r\n\r\n" + SMUGGLED
        answer = answers(service.port, large + b" " * (2_000_000 - len(SMUGGLED)))
        assert answer.count(b"HTTP/1.1 ") == 1


def test_each_request_is_answered_in_turn_when_several_come_at_once(service: Service) -> None:
    sent = (POST + b"Content-Length: 2\r\n\r\n{}") * 30 + raw_get("/nothing")
    received = answers(service.port, sent)
    assert received.count(b"HTTP/1.1 200 ") == 30
    assert received.rpartition(b"HTTP/1.1 ")[2].startswith(b"404 ")


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (b"Http-Remote-User: a", 400),
        (b"Authorization: Bearer a", 200),
        (b"Ce-Specversion: 1.0", 400),
        (b"Ce-Anything: 1.0", 400),
        (b"Content-Type: application/json", 415),
    ],
)
def test_header_counts_as_repeated_when_it_tells_who_or_what(
    service: Service, header: bytes, status: int
) -> None:
    if header.startswith(b"Http"):
        assert_error(exchange(service.port, raw_get("/eventmatch", header, header)), status)
        return
    binary = b"Ce-Specversion: 1.0\r\nCe-Id: a\r\nCe-Source: /a\r\nCe-Type: a\r\n"
    lines = (binary if header.startswith(b"Ce-A") else b"") + (header + b"\r\n") * 2
    head = b"POST /receive HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    answer = exchange(service.port, head + lines + b"Content-Length: 2\r\n\r\n{}")
    assert answer.status == status, answer


@pytest.mark.parametrize("over", [-1, 0, 1, 10 * 2**20])
def test_head_is_refused_when_it_is_too_large_and_client_reads_why(
    service: Service, over: int
) -> None:
    head = raw_get("/eventmatch", b"Http-Remote-User: a", b"X: ")
    filled = head[:-4] + b"a" * (64 * 1024 + over - len(head)) + b"\r\n\r\n"
    answer = exchange(service.port, filled)
    if over <= 0:
        assert answer.status == 200
    else:
        assert_error(answer, 431)


def test_head_is_refused_when_it_has_thousands_of_headers(service: Service) -> None:
    lines = [b"X-%d: a" % number for number in range(3000)]
    assert_error(exchange(service.port, raw_get("/eventmatch", *lines)), 431)
    assert exchange(service.port, raw_get("/eventmatch", *lines[:190])).status == 200


def test_uri_is_refused_when_it_is_too_long(service: Service) -> None:
    assert_error(exchange(service.port, raw_get("/" + "a" * 70_000)), 414)


PIECES = [
    *(b"\r\n", b"\n", b"\r", b"\0", b":", b" ", b"//", b"[", b"%00", b"\xff", b"0", b"-1"),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n"),
    *(b"Connection: close\r\n", b"Content-Encoding: gzip\r\n", b"http://", b"HTTP/1.1"),
]
RIGHT = [
    POST + b"Content-Length: 2\r\n\r\n{}",
    POST + b"Transfer-Encoding: chunked\r\n\r\n1;a=b\r\n{\r\n1\r\n}\r\n0\r\nA: b\r\n\r\n",
    raw_get("/eventmatch?a=b", b"Http-Remote-User: a"),
]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(RIGHT),
    st.lists(st.tuples(st.integers(0, 200), st.sampled_from(PIECES)), min_size=1, max_size=3),
)
def test_server_never_fails_whatever_bytes_come(
    service: Service, sent: bytes, pieces: list[tuple[int, bytes]]
) -> None:
    for place, piece in pieces:
        sent = sent[:place] + piece + sent[place:]
    with socket.create_connection(("127.0.0.1", service.port), timeout=TIMEOUT) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    for status in re.findall(rb"HTTP/1\.1 ([0-9]{3}) [A-Z]", answer):
        assert status[:1] in b"124" or status in (b"501", b"505"), (sent, answer)
    assert "Traceback" not in service.program.output
