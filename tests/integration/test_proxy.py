"""Whose word counts for who is calling: that of the one authenticating proxy, by address or secret.

Each rule is tried on CherryPy's server and under uWSGI.
"""

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.integration.webservice import (
    SUBSCRIPTION,
    TIMEOUT,
    Raw,
    assert_error,
    raw_get,
    running,
    some_user,
)
from tests.support.servers import free_port
from tests.support.uwsgi import uwsgi_server

SECRET = "pass-wörd"  # noqa: S105 (of this test alone)
GIVEN = b"Pacifica-Proxy-Secret: " + SECRET.encode()
NAMED = b"Http-Remote-User: alice"
UUID = "00000000-0000-4000-8000-000000000000"
FORWARDED = (
    b"X-Forwarded-For: 192.0.2.1",
    b"X-Real-IP: 192.0.2.1",
    b"Forwarded: for=192.0.2.1",
    b"X-Forwarded-For: 127.0.0.1, 192.0.2.1",
    b"Remote-Addr: 192.0.2.1",
    b"Client-IP: 192.0.2.1",
    b"True-Client-IP: 192.0.2.1",
)
#: A CherryPy file by which CherryPy takes `X-Forwarded-For` for the client's address.
BELIEVING = "[/]\ntools.proxy.on: True\ntools.proxy.remote: 'X-Forwarded-For'\n"
Environment = Callable[[Path], dict[str, str]]


@pytest.fixture(scope="module", params=["CherryPy", "uWSGI"])
def port_of(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    environment_in: Environment,
    migrated: Path,
) -> Iterator[Callable[..., int]]:
    """Give a function that runs a server with some settings and gives its port."""
    with ExitStack() as stack:
        ports: dict[str, int] = {}

        def started(**settings: str) -> int:
            known = json.dumps(settings, sort_keys=True)
            if known not in ports:
                folder = tmp_path_factory.mktemp("proxy")
                (folder / "cpconfig.ini").write_text(BELIEVING)
                (folder / "db.sqlite3").write_bytes(migrated.read_bytes())
                environment = {**environment_in(folder), **settings}
                if request.param == "CherryPy":
                    ports[known] = stack.enter_context(running(environment, folder)).port
                else:
                    ports[known] = free_port()
                    stack.enter_context(uwsgi_server(environment, folder, ports[known]))
            return ports[known]

        yield started


@pytest.fixture
def elsewhere(port_of: Callable[..., int]) -> int:
    """Give a server whose proxy is at another address than any of its clients."""
    return port_of(NOTIFICATIONS_TRUSTED_PROXIES="192.0.2.1 2001:db8::/32")


@pytest.fixture
def secretive(port_of: Callable[..., int]) -> int:
    """Give a server whose proxy must be at this machine, and know a secret."""
    return port_of(NOTIFICATIONS_TRUSTED_PROXIES="127.0.0.0/8", NOTIFICATIONS_PROXY_SECRET=SECRET)


def exchange(port: int, request: bytes) -> Raw:
    """Send bytes and read one answer: uWSGI keeps the connection for seconds after it."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as connection:
        connection.sendall(request)
        method = request.partition(b" ")[0].decode()
        with closing(http.client.HTTPResponse(connection, method=method)) as response:
            response.begin()
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Raw(response.status, headers, response.read())


def request(method: str, path: str, *headers: bytes, body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1".encode(), b"Host: x", b"Connection: close", *headers]
    if body:
        lines += [b"Content-Type: application/json", b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*lines, b"", body])


def assert_refused(answer: Raw, method: str = "GET") -> None:
    if method == "HEAD":
        assert (answer.status, answer.body) == (403, b"")
    else:
        assert_error(answer, 403, "the authenticating proxy alone")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        *(("GET", "/eventmatch", b""), ("HEAD", "/eventmatch", b"")),
        ("POST", "/eventmatch", json.dumps(SUBSCRIPTION).encode()),
        ("POST", "/eventmatch", b"no json"),
        *(("GET", f"/eventmatch/{UUID}", b""), ("HEAD", f"/eventmatch/{UUID}", b"")),
        *(("PUT", f"/eventmatch/{UUID}", b"{}"), ("DELETE", f"/eventmatch/{UUID}", b"")),
        *(("GET", "/eventmatch/nonsense", b""), ("GET", "/eventmatch/a/b/c/d", b"")),
        *(("GET", f"/eventmatch/{UUID}/delivery", b""), ("GET", "/eventmatch?a=b", b"")),
        *(("PATCH", "/eventmatch", b"{}"), ("OPTIONS", "/eventmatch", b"")),
        *(("GET", "/eventmatch/", b""), ("GET", "/eventmatch/%ff", b"")),
    ],
)
def test_request_is_refused_with_one_answer_when_it_does_not_come_from_the_proxy(
    elsewhere: int, method: str, path: str, body: bytes
) -> None:
    for user in ((), (NAMED,), (b"Http-Remote-User: a/b",), (NAMED, NAMED)):
        assert_refused(exchange(elsewhere, request(method, path, *user, body=body)), method)


@pytest.mark.parametrize("header", FORWARDED, ids=lambda value: value.decode())
def test_request_is_refused_when_a_header_says_that_it_comes_from_the_proxy(
    elsewhere: int, header: bytes
) -> None:
    assert_refused(exchange(elsewhere, raw_get("/eventmatch", NAMED, header)))
    underscored = header.replace(b"-", b"_")
    assert_refused(exchange(elsewhere, raw_get("/eventmatch", NAMED, underscored)))


def test_other_paths_answer_everybody_when_there_is_a_proxy(elsewhere: int) -> None:
    event = b'{"data": 1}'
    assert exchange(elsewhere, request("POST", "/receive", body=event)).status == 200
    assert exchange(elsewhere, raw_get("/absent")).status == 404


def test_request_is_answered_when_it_comes_from_the_proxy_and_has_its_secret(
    secretive: int,
) -> None:
    named = b"Http-Remote-User: " + some_user().encode()
    for given in (GIVEN, GIVEN.replace(b"Proxy-Secret:", b"PROXY-secret:  "), GIVEN + b" "):
        answer = exchange(secretive, raw_get("/eventmatch", named, given))
        assert (answer.status, json.loads(answer.body)) == (200, [])


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (b"Pacifica-Proxy-Secret:",),
        (b"Pacifica-Proxy-Secret: pass",),
        (GIVEN + b"x",),
        (GIVEN.upper(),),
        (b"Pacifica-Proxy-Secret: " + SECRET.encode("latin-1"),),
        (b"Pacifica-Proxy-Secret: " + b"x" * 2000,),
        (b"Pacifica-Proxy-Secret: \xff\xfe",),
        (b"Pacifica-Proxy-Secret: =?utf-8?q?pass-w=C3=B6rd?=",),
        (b"Proxy-Secret: " + SECRET.encode(),),
        (GIVEN, GIVEN),
        (GIVEN, b"Pacifica-Proxy-Secret: other"),
        (b"Pacifica-Proxy-Secret: other", GIVEN),
        (b"Pacifica-Proxy-Secret:", GIVEN),
        (b"Pacifica_Proxy_Secret: other", GIVEN[:-1]),
        (b"Authorization: Bearer " + SECRET.encode(),),
    ],
    ids=lambda headers: ascii(headers)[:60],
)
def test_request_is_refused_when_the_secret_is_not_there_once_and_exactly(
    secretive: int, headers: tuple[bytes, ...]
) -> None:
    assert_refused(exchange(secretive, raw_get("/eventmatch", NAMED, *headers)))
    assert_refused(exchange(secretive, raw_get("/eventmatch", *headers)))


def test_request_is_refused_when_it_has_the_secret_and_comes_from_elsewhere(
    port_of: Callable[..., int],
) -> None:
    port = port_of(NOTIFICATIONS_TRUSTED_PROXIES="192.0.2.1", NOTIFICATIONS_PROXY_SECRET=SECRET)
    assert_refused(exchange(port, raw_get("/eventmatch", NAMED, GIVEN)))


def test_user_is_never_another_one_when_a_client_adds_a_header_beside_that_of_the_proxy(
    secretive: int,
) -> None:
    created = exchange(
        secretive,
        request("POST", "/eventmatch", NAMED, GIVEN, body=json.dumps(SUBSCRIPTION).encode()),
    )
    assert created.status == 200
    mallory = b"Http-Remote-User: mallory"
    for spoof in (
        *(NAMED, b"http-remote-user: alice", b"HTTP-REMOTE-USER:alice", b"Http_Remote_User: alice"),
        *(b"Http-Remote_User: alice", b"X-Forwarded-User: alice", b"Remote-User: alice"),
        *(b"Http-Remote-User : alice", b" alice", b"Http-Http-Remote-User: alice"),
        *(b"X: y\nHttp-Remote-User: alice", b"Http-Remote-User\t: alice"),
    ):
        for headers in ((mallory, spoof), (spoof, mallory)):
            answer = exchange(secretive, raw_get("/eventmatch", GIVEN, *headers))
            assert answer.status in (200, 400, 403), (headers, answer)
            assert json.loads(answer.body or b"[]") == [] or answer.status > 200, headers


@pytest.mark.parametrize("name", ["Zoà", "JosÅ", "ठ", "victim\u00a0", " \tvictim à\t "])
def test_user_is_named_by_all_bytes_of_the_header_when_they_end_like_a_blank(
    secretive: int, name: str
) -> None:
    header = b"Http-Remote-User: " + name.encode()
    body = json.dumps(SUBSCRIPTION).encode()
    created = exchange(secretive, request("POST", "/eventmatch", header, GIVEN, body=body))
    assert (created.status, json.loads(created.body)["user"]) == (200, name.strip(" \t"))


@pytest.mark.parametrize("value", [b"victim\xa0", b"\xa0victim", b"victim\x85", b"victim\xc3"])
def test_user_is_refused_when_a_byte_like_a_blank_is_around_another_name(
    secretive: int, value: bytes
) -> None:
    answer = exchange(secretive, raw_get("/eventmatch", b"Http-Remote-User: " + value, GIVEN))
    assert_error(answer, 400, "UTF-8")
