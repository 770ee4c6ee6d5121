import concurrent.futures
import contextlib
import itertools
import logging
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pycurl
import pytest

from pacifica.notifications.transport import (
    Limits,
    Request,
    Response,
    SendFailure,
    SendResult,
    Transport,
    TransportBusy,
    TransportClosed,
)
from tests.support import servers
from tests.support.servers import RawServer, Received, RecordingServer

SILENT = Limits(read_timeout=0.3)
SHORT = Limits(connect_timeout=0.3, total_timeout=0.4, response_bytes=1000)
TIMEOUT = 5.0


@pytest.fixture
def transport() -> Iterator[Transport]:
    with Transport(Limits(connect_timeout=2.0, total_timeout=TIMEOUT)) as transport:
        yield transport


@pytest.fixture
def short() -> Iterator[Transport]:
    with Transport(SHORT) as transport:
        yield transport


@pytest.fixture
def target() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


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


# What is sent


def test_submit_delivers_body_and_headers_intact(
    transport: Transport, target: RecordingServer
) -> None:
    body = bytes(range(256)) * 40
    headers = (("Content-Type", "application/json"), ("X-Empty", ""), ("User-Agent", "pacifica"))
    assert answer(transport, Request("POST", f"{target.url}/a?b=c", headers, body)).status == 200
    (received,) = target.requests
    assert (received.method, received.path, received.body) == ("POST", "/a?b=c", body)
    assert {name: received.headers[name] for name, _ in headers} == dict(headers)


def test_submit_gives_status_and_body_of_the_answer(
    transport: Transport, target: RecordingServer
) -> None:
    target.answer = lambda _: (418, {"X-Other": "1"}, b"\0teapot\xff")
    result = answer(transport, post(target.url))
    assert (result.status, result.body, result.truncated) == (418, b"\0teapot\xff", False)
    assert result.retry_after is None
    assert 0 < result.seconds < TIMEOUT


def test_submit_adds_no_content_type_or_user_agent_of_its_own(
    transport: Transport, target: RecordingServer
) -> None:
    answer(transport, post(target.url))
    assert "Content-Type" not in target.requests[0].headers
    assert "User-Agent" not in target.requests[0].headers


def test_submit_does_not_wait_for_100_continue_when_the_body_is_large(
    transport: Transport, target: RecordingServer
) -> None:
    answer(transport, post(target.url, b"x" * 3_000_000))
    assert "Expect" not in target.requests[0].headers
    assert len(target.requests[0].body) == 3_000_000


def test_submit_sends_length_0_when_a_post_has_no_body(
    transport: Transport, target: RecordingServer
) -> None:
    answer(transport, post(target.url, b""))
    assert target.requests[0].headers["Content-Length"] == "0"


def test_submit_sends_a_plain_get_when_a_post_used_the_connection_before(
    transport: Transport, target: RecordingServer
) -> None:
    answer(transport, post(target.url, b"body", ("Content-Type", "text/plain")))
    answer(transport, Request("GET", f"{target.url}/status", ()))
    received = target.requests[1]
    assert (received.method, received.path, received.body) == ("GET", "/status", b"")
    assert "Content-Type" not in received.headers
    assert "Content-Length" not in received.headers


def test_submit_sends_dots_in_the_path_as_they_are(
    transport: Transport, target: RecordingServer
) -> None:
    answer(transport, post(f"{target.url}/events/.."))
    assert target.requests[0].path == "/events/.."


def test_submit_does_not_send_credentials_when_the_url_has_some(
    transport: Transport, target: RecordingServer
) -> None:
    request = post(target.url.replace("http://", "http://user:secret@"))
    answer(transport, request)
    assert "Authorization" not in target.requests[0].headers
    assert "secret" not in repr(request)


def test_submit_asks_no_proxy_when_the_environment_names_one(
    transport: Transport, target: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{servers.free_port()}")
    assert answer(transport, post(target.url)).status == 200


def test_submit_sends_no_cookie_when_an_answer_set_one(
    transport: Transport, target: RecordingServer
) -> None:
    target.answer = lambda _: (200, {"Set-Cookie": "a=b; Path=/"}, b"")
    answer(transport, post(target.url))
    answer(transport, post(target.url))
    assert "Cookie" not in target.requests[1].headers


@pytest.mark.parametrize(
    ("method", "url", "headers", "body"),
    [
        ("PUT", "http://h/", (), b""),
        ("GET", "http://h/", (), b"body"),
        ("POST", "http://h/\r\nX: y", (), b""),
        ("POST", "http://h/\u00e9", (), b""),
        ("POST", "http://h/\0", (), b""),
        ("POST", "http://h/", (("X\r\nY", "z"),), b""),
        ("POST", "http://h/", (("X:", "z"),), b""),
        ("POST", "http://h/", (("", "z"),), b""),
        ("POST", "http://h/", (("X", "a\r\nY: b"),), b""),
        ("POST", "http://h/", (("X", "a\n"),), b""),
        ("POST", "http://h/", (("X", "\u00e9"),), b""),
        ("POST", "http://h/", (("X", "\x7f"),), b""),
        ("POST", "http://h/", (("Content-Length", "1"),), b""),
        ("POST", "http://h/", (("transfer-encoding", "chunked"),), b""),
    ],
)
def test_request_is_refused_when_it_cannot_be_sent_as_it_stands(
    method: str, url: str, headers: tuple[tuple[str, str], ...], body: bytes
) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the promise is the type
        Request(method, url, headers, body)


def test_request_names_no_header_value_when_it_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^header Authorization has") as refusal:
        Request("POST", "http://h/", (("Authorization", "Bearer secret\n"),))
    assert "secret" not in str(refusal.value)


# What is answered


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


# What goes wrong


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


# Connections


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


# Names


def addresses(*ips: str) -> list[Any]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 0)) for ip in ips]


@pytest.fixture
def slow_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Have names under `slow.test` looked up until the test is over, all others found."""
    asked: list[str] = []
    over = threading.Event()

    def getaddrinfo(name: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(name)
        if name.endswith("slow.test"):
            over.wait(TIMEOUT)
        return addresses("127.0.0.1")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield asked
    over.set()
    for thread in threading.enumerate():
        if thread.name == "lookup":
            thread.join(TIMEOUT)


def test_submit_connects_to_the_address_that_the_name_has(
    transport: Transport, target: RecordingServer, slow_names: list[str]
) -> None:
    for _ in range(3):
        answer(transport, post(f"http://Target.test:{target.port}/"))
    assert target.requests[0].headers["Host"] == f"Target.test:{target.port}"
    assert slow_names == ["target.test"]


def test_submit_tries_the_next_address_when_one_refuses(
    transport: Transport, target: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses("127.0.0.9", "127.0.0.1"))
    assert answer(transport, post(f"http://target.test:{target.port}/")).status == 200


def test_submit_serves_other_names_when_lookups_hang(
    target: RecordingServer, slow_names: list[str]
) -> None:
    with Transport(Limits(connect_timeout=0.3)) as transport:
        stuck = [transport.submit(post(f"http://{n % 20}.slow.test/")) for n in range(200)]
        assert answer(transport, post(f"http://target.test:{target.port}/")).status == 200
        reasons = {future.result(TIMEOUT) for future in stuck}
    assert reasons == {SendFailure("host not found within 0.3 s", 0.3)}
    assert len(slow_names) == 21  # each name once


@pytest.mark.usefixtures("slow_names")
def test_request_waits_no_longer_for_a_name_than_its_own_timeout(transport: Transport) -> None:
    patient, hurried = (
        post("http://1.slow.test/"),
        replace(post("http://1.slow.test/"), timeout=0.1),
    )
    futures = [transport.submit(each) for each in (patient, hurried)]
    reasons = [future.result(TIMEOUT) for future in futures]
    assert reasons == [SendFailure(f"host not found within {s} s", s) for s in (2, 0.1)]


def test_submit_uses_what_a_name_was_when_looking_it_up_again_hangs(
    target: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    again, over = threading.Event(), threading.Event()
    found = [addresses("127.0.0.1")]

    def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        if not found:
            again.set()
            over.wait(TIMEOUT)
            return addresses("127.0.0.1")
        return found.pop()

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with Transport(Limits(connect_timeout=0.3, dns_fresh=0)) as transport:
        for _ in range(3):
            assert answer(transport, post(f"http://target.test:{target.port}/")).status == 200
        assert again.wait(TIMEOUT)
        over.set()


def test_submit_waits_for_a_name_when_what_it_was_is_too_old(
    target: RecordingServer, slow_names: list[str]
) -> None:
    with Transport(Limits(dns_fresh=0, dns_kept=0)) as transport:
        for _ in range(3):
            answer(transport, post(f"http://target.test:{target.port}/"))
    assert slow_names == ["target.test"] * 3


# Limits of the queue, cancelling, closing


def accepted(transport: Transport, *urls: str) -> list[concurrent.futures.Future[SendResult]]:
    """Submit until the transport is busy."""
    futures: list[concurrent.futures.Future[SendResult]] = []
    with contextlib.suppress(TransportBusy):
        for url in itertools.islice(itertools.cycle(urls), 1000):
            futures.append(transport.submit(post(url)))
    return futures


# With one place, of which the first host does not let go, the others are never connected to.
OTHERS = [f"http://127.0.0.1:{port}" for port in range(1, 50)]


def test_submit_refuses_when_the_queue_is_full() -> None:
    limits = Limits(queue=3, connections=1)
    with RawServer(servers.hanging) as server, Transport(limits) as transport:
        assert len(accepted(transport, server.url, *OTHERS)) < 20


def test_submit_has_places_again_when_those_that_waited_were_cancelled(
    target: RecordingServer,
) -> None:
    # The last connection is for a host that is known to be prompt.
    limits = Limits(queue=30, connections=8)
    with contextlib.ExitStack() as stack:
        transport = stack.enter_context(Transport(limits))
        answer(transport, post(target.url))
        hanging = [stack.enter_context(RawServer(servers.hanging)) for _ in range(8)]
        stuck = [transport.submit(post(server.url)) for server in hanging]
        servers.eventually(lambda: sum(server.connections for server in hanging) == 7)
        futures = accepted(transport, *OTHERS)
        assert [future.cancel() for future in futures] == [True] * len(futures)

        def place() -> bool:
            with contextlib.suppress(TransportBusy):
                return answer(transport, post(target.url)).status == 200
            return False

        servers.eventually(place)
        assert not any(future.done() for future in stuck)


def test_host_has_room_in_the_queue_again_when_those_that_waited_for_it_were_cancelled(
    target: RecordingServer,
) -> None:
    go = threading.Event()
    target.answer = lambda _: (200, {}, b"x"[go.wait(TIMEOUT) :])
    with Transport(Limits(queue=10)) as transport:
        first = transport.submit(post(target.url))
        target.wait_for(1)
        futures = [transport.submit(post(target.url)) for _ in range(9)]
        servers.eventually(lambda: any(future.done() for future in futures))  # refused
        for future in futures:
            future.cancel()
        last = transport.submit(post(target.url))
        go.set()
        assert isinstance(last.result(TIMEOUT), Response)
    assert isinstance(first.result(0), Response)


def test_cancelled_request_is_not_sent_when_its_turn_comes(target: RecordingServer) -> None:
    go = threading.Event()
    target.answer = lambda _: (200, {}, b"x"[go.wait(TIMEOUT) :])
    with Transport(Limits(connections_per_host=1)) as transport:
        first, second, third = (transport.submit(post(f"{target.url}/{n}")) for n in range(3))
        target.wait_for(1)
        assert second.cancel()
        go.set()
        assert isinstance(third.result(TIMEOUT), Response)
        done = concurrent.futures.wait([first, second, third], TIMEOUT).done
    assert len(done) == 3
    assert [received.path for received in target.requests] == ["/0", "/2"]


def test_close_gives_no_answer_of_ours_when_requests_are_left() -> None:
    with RawServer(servers.hanging) as server:
        transport = Transport()
        futures = [transport.submit(post(server.url)) for _ in range(20)]
        began = time.monotonic()
        transport.close(grace=0.1)
        assert 0.1 <= time.monotonic() - began < 1
        outcomes = {future.result(0) for future in futures}
    assert outcomes == {SendFailure("transport closed", 0.0, ours=True)}


def test_close_waits_no_longer_than_needed_when_all_is_answered_in_its_grace(
    target: RecordingServer,
) -> None:
    transport = Transport(Limits(connections_per_host=2))
    futures = [transport.submit(post(target.url)) for _ in range(20)]
    began = time.monotonic()
    transport.close(grace=TIMEOUT)
    assert time.monotonic() - began < TIMEOUT / 2
    assert all(isinstance(future.result(0), Response) for future in futures)


def test_submit_is_refused_when_the_transport_is_closed() -> None:
    with Transport() as transport:
        pass
    with pytest.raises(TransportClosed):
        transport.submit(post("http://127.0.0.1/"))


def test_close_ends_the_thread() -> None:
    with Transport() as transport:
        outcome(transport, post(f"http://127.0.0.1:{servers.free_port()}"))
    assert "transport" not in [thread.name for thread in threading.enumerate()]


# The thread and the process


def test_thread_starts_with_the_first_request_only() -> None:
    with Transport():
        assert "transport" not in [thread.name for thread in threading.enumerate()]


def test_pending_requests_get_no_answer_of_ours_when_the_thread_fails(
    target: RecordingServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(pycurl.CurlMulti):
        def socket_action(self, *_: Any) -> Any:
            raise RuntimeError("as nobody expects")

    with Transport() as transport:
        with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
            patch.setattr(pycurl, "CurlMulti", Failing)
            futures = [transport.submit(post(target.url)) for _ in range(20)]
            outcomes = {future.result(TIMEOUT) for future in futures}
        assert outcomes == {SendFailure("transport failed", 0.0, ours=True)}
        assert "as nobody expects" in caplog.text
        assert answer(transport, post(target.url)).status == 200


FORK = """
import os, sys
from pacifica.notifications.transport import Response, Request, Transport

def sent(transport, path):
    outcome = transport.submit(Request("POST", sys.argv[1] + path, ())).result(5)
    return isinstance(outcome, Response) and outcome.status == 200

with Transport() as transport:
    assert sent(transport, "/before")
    child = os.fork()
    if not child:
        done = sent(transport, "/child") and sent(transport, "/child")
        transport.close(1)
        os._exit(0 if done else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0, status
    assert sent(transport, "/after")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_submit_works_in_parent_and_child_when_the_process_forks(target: RecordingServer) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK, target.url],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [received.path for received in target.requests] == [
        "/before",
        "/child",
        "/child",
        "/after",
    ]
    assert target.connections == 2


# TLS


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[RawServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def encrypted(connection: socket.socket, over: threading.Event) -> None:
        del over
        with context.wrap_socket(connection, server_side=True) as stream:
            while servers.read_request(stream):
                stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with RawServer(encrypted) as server:
        yield server


def test_submit_gives_not_trusted_when_the_certificate_is_self_signed(
    transport: Transport, tls_server: RawServer
) -> None:
    url = tls_server.url.replace("http:", "https:")
    assert no_answer(transport, post(url)).reason == "TLS certificate not trusted"


def test_submit_gives_not_trusted_when_the_certificate_is_for_another_name(
    tls_server: RawServer, certificate: Path, slow_names: list[str]
) -> None:
    with Transport(ca_file=str(certificate)) as transport:
        url = f"https://target.test:{tls_server.port}"
        assert no_answer(transport, post(url)).reason == "TLS certificate not trusted"
    assert slow_names == ["target.test"]


def test_submit_is_answered_when_the_certificate_is_in_the_given_file(
    tls_server: RawServer, certificate: Path
) -> None:
    with Transport(ca_file=str(certificate)) as transport:
        for _ in range(2):
            url = tls_server.url.replace("http:", "https:")
            assert answer(transport, post(url)).body == b"ok"
    assert tls_server.connections == 1


def test_submit_gives_tls_failure_when_the_server_speaks_plain_http(
    transport: Transport, target: RecordingServer
) -> None:
    url = target.url.replace("http:", "https:")
    assert no_answer(transport, post(url)).reason == "TLS failure"
