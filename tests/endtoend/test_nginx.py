"""nginx in front of uWSGI, by the documented blocks: who is calling is whom nginx has let in."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.webservice import SUBSCRIPTION, exchange
from tests.support.deployments import environment_of
from tests.support.proxies import documented_locations, nginx_in_front, nginx_path
from tests.support.servers import free_port
from tests.support.templates import migrated_database
from tests.support.uwsgi import uwsgi_server

SECRET = "a long random text"  # noqa: S105 (of the documentation)
LOGIN = b"Authorization: Basic YWxpY2U6c2VzYW1l"  # alice:sesame
ALICE, MALLORY = b"Http-Remote-User: alice", b"Http-Remote-User: mallory"


@pytest.fixture(scope="module", params=["proxy", "uwsgi"])
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    if nginx_path() is None:
        absent = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        absent("nginx is not installed")
    folder: Path = tmp_path_factory.mktemp("nginx")
    # nginx reads it as another user where it is started by root.
    passwords = folder / "htpasswd"
    passwords.write_text("alice:{PLAIN}sesame\n")
    http, own, front = free_port(), free_port(), free_port()
    block = documented_locations()[request.param]
    for documented, real in (
        ("/etc/nginx/pacifica.htpasswd", str(passwords)),
        ("127.0.0.1:8070", f"127.0.0.1:{http}"),
        ("127.0.0.1:8071", f"127.0.0.1:{own}"),
    ):
        block = block.replace(documented, real)
    with migrated_database("sqlite", folder) as database:
        settings = {"NOTIFICATIONS_PROXY_SECRET": SECRET, "DEFAULT_USER": ""}
        environment = environment_of(folder, database, **settings)
        with (
            uwsgi_server(environment, folder, http, "--socket", f"127.0.0.1:{own}") as program,
            nginx_in_front("", folder / "nginx", front, block),
        ):
            yield front
            assert "Traceback" not in program.output


def call(port: int, method: str, *headers: bytes, body: bytes = b"") -> tuple[int, str]:
    lines = [f"{method} /eventmatch HTTP/1.1".encode(), b"Host: x", b"Connection: close", *headers]
    if body:
        lines += [b"Content-Type: application/json", b"Content-Length: %d" % len(body)]
    answer = exchange(port, b"\r\n".join([*lines, b"", body]))
    return answer.status, answer.body.decode()


def test_caller_is_whom_nginx_let_in_when_the_client_names_others(port: int) -> None:
    status, body = call(port, "POST", LOGIN, body=json.dumps(SUBSCRIPTION).encode())
    assert (status, json.loads(body)["user"]) == (200, "alice")
    for spoof in (
        *((MALLORY,), (MALLORY, MALLORY), (MALLORY, ALICE), (ALICE, MALLORY)),
        *((b"Http_Remote_User: mallory",), (MALLORY, b"Http_Remote_User: mallory", MALLORY)),
        *((b"http-remote-user: mallory", b"HTTP-REMOTE-USER: mallory"),),
        (b"Pacifica-Proxy-Secret: other", b"Pacifica-Proxy-Secret: other"),
    ):
        for headers in ((LOGIN, *spoof), (*spoof, LOGIN)):
            status, body = call(port, "GET", *headers)
            assert status == 200, headers
            assert {each["user"] for each in json.loads(body)} == {"alice"}, headers


def test_caller_is_refused_when_nginx_let_nobody_in(port: int) -> None:
    for headers in ((), (ALICE,), (ALICE, ALICE), (b"Http_Remote_User: alice",)):
        assert call(port, "GET", *headers)[0] == 401
