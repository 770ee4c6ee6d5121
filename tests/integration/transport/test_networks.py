"""Where the transport lets requests go: checked at the address that is connected to."""

import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pacifica.notifications.subscriptions.networks import Rules
from pacifica.notifications.transport import (
    Limits,
    Request,
    Resolver,
    Response,
    SendFailure,
    SendResult,
    Transport,
)
from tests.support import servers
from tests.support.servers import RawServer, RecordingServer, eventually, free_port

TIMEOUT = 5.0
LIMITS = Limits(connect_timeout=2.0, total_timeout=TIMEOUT)
# Servers of tests are at 127.0.0.1; nobody listens at 127.0.0.9.
DENY_SERVER = Rules(deny=(ip_network("127.0.0.1/32"),))
DENY_OTHER = Rules(deny=(ip_network("127.0.0.9/32"), ip_network("::1/128")))
REFUSED = "addresses in 127.0.0.1/32 are not allowed"


@pytest.fixture
def denying() -> Iterator[Transport]:
    """A transport that may not go where the servers of tests are."""
    with Transport(LIMITS, rules=DENY_SERVER) as transport:
        yield transport


@pytest.fixture
def alone() -> Iterator[Transport]:
    """A transport that may go nowhere but where nobody listens."""
    everywhere = (ip_network("0.0.0.0/0"), ip_network("::/0"))
    with Transport(LIMITS, rules=Rules((ip_network("127.0.0.9/32"),), everywhere)) as transport:
        yield transport


@pytest.fixture
def found_at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Have every name found at addresses: of each lookup the next of those that are given."""

    def at(*answers: tuple[str, ...]) -> list[str]:
        asked: list[str] = []
        left = list(answers)

        def getaddrinfo(name: str, *_: Any, **__: Any) -> list[Any]:
            asked.append(name)
            ips = left.pop(0) if len(left) > 1 else left[0]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 0)) for ip in ips]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return asked

    return at


def outcome(transport: Transport, url: str, method: str = "POST") -> SendResult:
    return transport.submit(Request(method, url, ())).result(TIMEOUT)


def answered(transport: Transport, url: str, method: str = "POST") -> Response:
    result = outcome(transport, url, method)
    assert isinstance(result, Response), result
    return result


def assert_refused(result: SendResult, reason: str = REFUSED) -> None:
    assert isinstance(result, SendFailure), result
    assert (result.reason, result.refused, result.ours) == (reason, True, False)


# Spellings of one address

SPELLINGS = [
    *("127.0.0.1", "2130706433", "0177.0.0.1", "0x7f.1", "0x7F000001", "127.1", "localhost"),
    "[::ffff:127.0.0.1]",
]


@pytest.mark.parametrize("host", SPELLINGS)
def test_no_connection_is_opened_when_an_address_is_denied_however_it_is_spelled(
    denying: Transport, target: RecordingServer, host: str
) -> None:
    url = f"http://{host}:{target.port}/"
    assert_refused(outcome(denying, url))
    assert target.connections == 0
    with Transport(LIMITS, rules=DENY_OTHER) as elsewhere:
        assert answered(elsewhere, url).status == 200


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.9@127.0.0.1:{}/",
        "http://user:password@127.0.0.1:{}/",
        "http://127.0.0.9:80@127.0.0.1:{}/",
        "http://127.0.0.9%23@127.0.0.1:{}/",
        "http://127.0.0.9%2f@127.0.0.1:{}/",
        "http://127.0.0.9\\@127.0.0.1:{}/",
        "http://127.0.0.9\\\\@127.0.0.1:{}/",
        "http://127.0.0.1:{}\\@127.0.0.9/",
        "http://127.0.0.9#@127.0.0.1:{}/",
        "http://127.0.0.9?@127.0.0.1:{}/",
        "http://127.0.0.9&@127.0.0.1:{}#@127.0.0.9/",
        "http://127.0.0.1:{}#@127.0.0.9/",
        "http://127.0.0.9@127.0.0.1:{}@127.0.0.1/",
        "http:127.0.0.1:{}/",
        "http:/127.0.0.1:{}/",
        "http:///127.0.0.1:{}/",
        "http:\\\\127.0.0.1:{}/",
        "http://127.0.0.1.:{}/",
        "http://127.0.0.1%00.example:{}/",
        "http://127.0.0.1;127.0.0.9:{}/",
        " http://127.0.0.1:{}/",
        "http:// 127.0.0.1:{}/",
    ],
)
def test_no_connection_is_opened_when_a_url_hides_where_it_leads(
    denying: Transport, target: RecordingServer, url: str
) -> None:
    assert isinstance(outcome(denying, url.format(target.port)), SendFailure)
    assert target.connections == 0


PIECES = ["127.0.0.9", "127.0.0.1", "127.1", "@", ":", "/", "\\", "#", "?", "%40", "%2e", "[", "]"]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.sampled_from([*PIECES, "PORT", ":PORT"]), max_size=8))
@example(["127.0.0.9", "@", "127.0.0.1", ":PORT"])
@example(["%31%32%37.0.0.1", ":PORT"])
def test_no_connection_is_opened_when_parsers_may_disagree_about_a_url(
    found_at: Callable[..., list[str]],
    alone: Transport,
    target: RecordingServer,
    pieces: list[str],
) -> None:
    # What is looked up here is allowed; only libcurl can come to the denied address.
    found_at(("127.0.0.9",))
    outcome(alone, "http://" + "".join(pieces).replace("PORT", str(target.port)))
    assert target.connections == 0


def test_connection_is_refused_when_only_libcurl_reads_an_address_in_a_url(
    found_at: Callable[..., list[str]], denying: Transport, target: RecordingServer
) -> None:
    found_at(("127.0.0.9",))
    assert_refused(outcome(denying, f"http://%31%32%37.0.0.1:{target.port}/"))
    assert target.connections == 0


def test_reason_is_not_a_refusal_when_libcurl_tried_an_allowed_address_too(
    found_at: Callable[..., list[str]], denying: Transport, target: RecordingServer
) -> None:
    found_at(("127.0.0.9",))
    # Libcurl knows by itself that it is ::1 and 127.0.0.1.
    result = outcome(denying, f"http://%6cocalhost:{target.port}/")
    assert isinstance(result, SendFailure)
    assert (result.reason, result.refused) == ("no connection", False)
    assert target.connections == 0


# Names


def test_name_is_refused_when_it_has_moved_to_a_denied_address(
    found_at: Callable[..., list[str]], target: RecordingServer
) -> None:
    asked = found_at(("127.0.0.9",), ("127.0.0.1",))
    fresh = Limits(connect_timeout=2.0, dns_fresh=0, dns_kept=0)
    with Transport(fresh, rules=DENY_SERVER) as transport:
        first = outcome(transport, f"http://target.test:{target.port}/")
        assert isinstance(first, SendFailure)
        assert (first.reason, first.refused) == ("no connection", False)
        assert_refused(outcome(transport, f"http://target.test:{target.port}/"))
    assert asked == ["target.test"] * 2
    assert target.connections == 0


def test_old_address_is_used_no_longer_when_the_new_one_is_denied(
    found_at: Callable[..., list[str]], target: RecordingServer
) -> None:
    found_at(("127.0.0.1",), ("127.0.0.9",))
    url = f"http://target.test:{target.port}/"
    with Transport(Limits(connect_timeout=2.0, dns_fresh=0), rules=DENY_OTHER) as transport:
        assert answered(transport, url).status == 200
        eventually(lambda: isinstance(outcome(transport, url), SendFailure))
        assert_refused(outcome(transport, url), "addresses in 127.0.0.9/32 are not allowed")


@pytest.mark.parametrize("order", [("127.0.0.2", "127.0.0.1"), ("127.0.0.1", "127.0.0.2")])
def test_only_the_allowed_address_is_tried_when_a_name_has_a_denied_one_too(
    found_at: Callable[..., list[str]], target: RecordingServer, order: tuple[str, str]
) -> None:
    found_at(order)
    with (
        socket.create_server(("127.0.0.2", target.port)) as denied,
        Transport(LIMITS, rules=Rules(deny=(ip_network("127.0.0.2/32"),))) as transport,
    ):
        assert answered(transport, f"http://target.test:{target.port}/").status == 200
        denied.setblocking(False)
        with pytest.raises(BlockingIOError):
            denied.accept()


def test_name_is_no_refusal_when_its_allowed_address_does_not_answer(
    found_at: Callable[..., list[str]], denying: Transport, target: RecordingServer
) -> None:
    found_at(("127.0.0.1", "127.0.0.9"))
    result = outcome(denying, f"http://target.test:{target.port}/")
    assert isinstance(result, SendFailure)
    assert (result.reason, result.refused) == ("no connection", False)
    assert target.connections == 0


def test_name_is_refused_when_all_its_addresses_have_a_zone_and_are_denied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    infos = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1%eth0", 0, 0, 2))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: infos)
    with Transport(LIMITS, rules=Rules(deny=(ip_network("fe80::/10"),))) as transport:
        assert_refused(
            outcome(transport, "http://target.test/"), "addresses in fe80::/10 are not allowed"
        )


# Redirects, connections, strict


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_to_a_denied_address_leads_nowhere(target: RecordingServer, status: int) -> None:
    with (
        socket.create_server(("127.0.0.2", 0)) as denied,
        Transport(LIMITS, rules=Rules(deny=(ip_network("127.0.0.2/32"),))) as transport,
    ):
        location = f"http://127.0.0.2:{denied.getsockname()[1]}/"
        target.answer = lambda _: (status, {"Location": location}, b"")
        assert answered(transport, target.url).status == status
        denied.setblocking(False)
        with pytest.raises(BlockingIOError):
            denied.accept()


def test_connection_is_kept_when_there_are_rules(target: RecordingServer) -> None:
    with Transport(LIMITS, rules=DENY_OTHER) as transport:
        for _ in range(20):
            assert answered(transport, target.url).status == 200
    assert target.connections == 1


def test_refused_request_leaves_the_next_ones_alone(
    denying: Transport, target: RecordingServer
) -> None:
    with Transport(LIMITS, rules=DENY_OTHER) as transport:
        for _ in range(3):
            assert_refused(
                outcome(transport, f"http://[::1]:{target.port}/"),
                "addresses in ::1/128 are not allowed",
            )
            assert answered(transport, target.url).status == 200
            result = outcome(transport, f"http://127.0.0.1:{free_port()}/")
            assert isinstance(result, SendFailure)
            assert (result.reason, result.refused) == ("no connection", False)
    assert_refused(outcome(denying, target.url))


def test_socket_is_not_left_to_programs_that_this_process_runs(target: RecordingServer) -> None:
    with Transport(LIMITS, rules=DENY_OTHER) as transport:
        answered(transport, target.url)
        every = [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]
        descriptors = [descriptor for descriptor in every if leads_to(descriptor, target)]
        assert len(descriptors) == 1
        assert not os.get_inheritable(descriptors[0])


def leads_to(descriptor: int, target: RecordingServer) -> bool:
    try:
        copy = os.dup(descriptor)
    except OSError:
        return False
    try:
        with socket.socket(fileno=copy) as connection:
            return connection.getpeername() == ("127.0.0.1", target.port)
    except OSError:
        return False


def test_plain_http_is_refused_when_the_rules_are_strict(target: RecordingServer) -> None:
    rules = Rules(allow=(ip_network("127.0.0.0/8"),), strict=True)
    with Transport(LIMITS, rules=rules) as transport:
        assert_refused(outcome(transport, target.url), "only https is allowed")
    assert target.connections == 0


def test_strict_rules_let_https_go_to_an_allowed_address_only(
    certificate: Path,
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def encrypted(connection: socket.socket, over: threading.Event) -> None:
        del over
        with context.wrap_socket(connection, server_side=True) as stream:
            servers.read_request(stream)
            stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with RawServer(encrypted) as server:
        url = server.url.replace("http:", "https:")
        with Transport(LIMITS, str(certificate), Rules(strict=True)) as transport:
            assert_refused(
                outcome(transport, url), "only addresses of the public internet are allowed"
            )
        assert server.connections == 0
        exception = Rules(allow=(ip_network("127.0.0.1/32"),), strict=True)
        with Transport(LIMITS, str(certificate), exception) as transport:
            assert answered(transport, url).body == b"ok"


# What does not speak HTTP

BANNERS = {
    "SSH": b"SSH-2.0-secret\r\n",
    "SMTP": b"220 secret ESMTP ready\r\n",
    "FTP": b"220-secret\r\n220 ready\r\n",
    "Redis": b"-ERR secret\r\n",
    "HTTP/0.9": b"<html>secret</html>",
    "MySQL": b"\x4a\x00\x00\x00\x0a8.0.secret\x00",
    "nearly HTTP": b"HTTP/secret\r\n\r\n",
    "short": b"sec",
}


@pytest.mark.parametrize("greeting", BANNERS.values(), ids=BANNERS.keys())
def test_reason_is_a_fixed_phrase_when_what_answers_speaks_no_http(greeting: bytes) -> None:
    def greet(connection: socket.socket, over: threading.Event) -> None:
        del over
        connection.sendall(greeting)
        servers.read_request(connection)

    with RawServer(greet) as server, Transport(LIMITS, rules=DENY_OTHER) as transport:
        result = outcome(transport, server.url)
    assert isinstance(result, SendFailure)
    assert result.reason == "not an HTTP answer"


# OPTIONS


def test_options_is_sent_without_a_body_and_gives_the_allowed_origin(
    target: RecordingServer,
) -> None:
    target.answer = lambda _: (200, {"webhook-ALLOWED-origin": " a.example "}, b"body")
    with Transport(LIMITS) as transport:
        result = answered(transport, f"{target.url}/hook?a=b", "OPTIONS")
    assert (result.status, result.allowed_origin, result.body) == (200, "a.example", b"body")
    (received,) = target.requests
    assert (received.method, received.path, received.body) == ("OPTIONS", "/hook?a=b", b"")
    assert "Content-Length" not in received.headers
    assert "Content-Type" not in received.headers


def test_each_request_has_its_own_method_when_one_connection_serves_several(
    target: RecordingServer,
) -> None:
    target.answer = lambda _: (200, {"WebHook-Allowed-Origin": "*"}, b"")
    methods = ["OPTIONS", "POST", "GET", "OPTIONS", "GET", "POST"]
    with Transport(LIMITS) as transport:
        origins = [answered(transport, target.url, method).allowed_origin for method in methods]
    assert [received.method for received in target.requests] == methods
    assert origins == ["*" if method == "OPTIONS" else None for method in methods]
    assert target.connections == 1


def test_answer_has_no_allowed_origin_when_only_an_interim_answer_had_it() -> None:
    def interim(connection: socket.socket, over: threading.Event) -> None:
        servers.read_request(connection)
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nWebHook-Allowed-Origin: *\r\n\r\n")
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        over.wait(TIMEOUT)

    with RawServer(interim) as server, Transport(LIMITS) as transport:
        assert answered(transport, server.url, "OPTIONS").allowed_origin is None


def test_request_is_refused_when_options_has_a_body() -> None:
    with pytest.raises(ValueError, match="OPTIONS has no body"):
        Request("OPTIONS", "http://h/", (), b"body")


# Lookups for those who wait


def test_find_gives_the_allowed_addresses_of_a_name(found_at: Callable[..., list[str]]) -> None:
    found_at(("127.0.0.1", "127.0.0.9"))
    found = Resolver(1, DENY_SERVER).resolve("target.test", TIMEOUT)
    assert found is not None
    assert (found.addresses, found.refusal) == (("127.0.0.9",), None)


def test_find_gives_the_rule_when_no_address_is_allowed(
    found_at: Callable[..., list[str]],
) -> None:
    found_at(("127.0.0.1",))
    found = Resolver(1, DENY_SERVER).resolve("target.test", TIMEOUT)
    assert found is not None
    assert (found.addresses, found.refusal) == ((), REFUSED)


def test_find_starts_no_more_threads_than_it_may_when_resolver_hang(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over, asked = threading.Event(), []

    def hang(name: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(name)
        over.wait(TIMEOUT)
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    resolver = Resolver(2, DENY_SERVER)
    assert [resolver.resolve(f"{n}.test", 0.01) for n in range(5)] == [None] * 5
    assert asked == ["0.test", "1.test"]
    over.set()
    eventually(lambda: resolver.resolve("2.test", TIMEOUT) is not None)
