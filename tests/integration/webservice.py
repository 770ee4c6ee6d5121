"""The installed web server as tests talk to it: by `requests`, and by bytes where that cannot."""

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import requests

from tests.support.processes import Program, web_server
from tests.support.servers import free_port

TIMEOUT = 20.0
SUBSCRIPTION = {"name": "mine", "jsonpath": "$.data", "target_url": "http://target.example/hook"}


@dataclass(frozen=True)
class Service:
    """A web server that runs: where it is, and the environment that its commands need."""

    port: int
    folder: Path
    environment: Mapping[str, str]
    program: Program
    session: requests.Session = field(repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def call(
        self, method: str, path: str, user: str | None = None, body: Any = None, **options: Any
    ) -> requests.Response:
        """Send one request; `body` is sent as JSON unless it is bytes."""
        headers = dict(options.pop("headers", {}))
        if user is not None:
            headers["Http-Remote-User"] = user.encode()
        if body is not None:
            options["data"] = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        return self.session.request(
            method, self.url + path, headers=headers, timeout=TIMEOUT, **options
        )

    def create(self, user: str, **changed: Any) -> dict[str, Any]:
        """Create a subscription and return it."""
        response = self.call("POST", "/eventmatch", user, {**SUBSCRIPTION, **changed})
        assert response.status_code == 200, response.text
        return response.json()


@dataclass(frozen=True)
class Raw:
    """An answer as it came over the wire; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@contextmanager
def running(environment: Mapping[str, str], folder: Path) -> Iterator[Service]:
    """Run a web server for the block, which begins when it serves."""
    port = free_port()
    with web_server(environment, folder, port) as program, requests.Session() as session:
        session.trust_env = False
        yield Service(port, folder, environment, program, session)


def exchange(port: int, request: bytes) -> Raw:
    """Send bytes over a connection of its own and read until the server closes it."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as connection:
        connection.sendall(request)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    return Raw(int(first.split()[1]), headers, body)


def raw_get(path: str, *headers: bytes) -> bytes:
    """Return the bytes of a GET with header lines as they are given."""
    lines = [f"GET {path} HTTP/1.1".encode(), b"Host: x", b"Connection: close", *headers]
    return b"\r\n".join([*lines, b"", b""])


def some_user() -> str:
    """Return the name of a user who has no subscriptions yet."""
    return f"user-{uuid4().hex}"


def assert_error(answer: requests.Response | Raw, status: int, *parts: str) -> None:
    """Check an error's status and form, that it tells nothing from inside, and its message."""
    if isinstance(answer, Raw):
        found, headers, body = answer.status, answer.headers, answer.body
    else:
        found, headers, body = answer.status_code, answer.headers, answer.content
    text = body.decode()
    assert found == status, text
    assert headers["content-type"] == "application/json"
    assert_nothing_from_inside(text)
    document = json.loads(text)
    assert document["status"].startswith(f"{status} ")
    for part in parts:
        assert part in document["message"]


def assert_nothing_from_inside(text: str) -> None:
    """Check that an answer has no traceback and no path of the server."""
    for part in ("Traceback", "traceback", ".py", "site-packages", "pacifica.notifications"):
        assert part not in text
