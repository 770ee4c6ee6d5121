"""`/receive` as a producer of events sees it, over HTTP."""

import base64
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
import requests

from pacifica.notifications.events import HOPS_HEADER
from tests.integration.webservice import Service, assert_error, running
from tests.support import databases
from tests.support.servers import RawServer, eventually, free_port, hanging

CAPTURES = sorted((Path(__file__).parents[1] / "captures").glob("*.json"))
EVENT = {
    "cloudEventsVersion": "0.1",
    "eventType": "org.example.made",
    "source": "http://example.org/made",
    "eventID": "made.1",
}
#: Pacifica Metadata waits for the answer inside a user's request.
AT_MOST = 5.0


def post(service: Service, body: Any, **options: Any) -> Any:
    return service.call("POST", "/receive", body=body, **options)


def stored(service: Service, uuid: str) -> Any:
    rows = databases.execute(
        service.environment["PEEWEE_URL"],
        f"SELECT jsondata FROM eventlog WHERE uuid = '{UUID(uuid).hex}'",  # noqa: S608
    )
    return json.loads(rows[0][0])


def received(service: Service, body: Any, **options: Any) -> Any:
    response = post(service, body, **options)
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "application/json"
    assert response.text == str(UUID(response.text))
    return stored(service, response.text)


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_event_is_stored_as_it_came_when_metadata_sends_it(service: Service, capture: Path) -> None:
    assert received(service, capture.read_bytes()) == json.loads(capture.read_bytes())


def test_event_is_printed_by_its_id_when_it_was_received(
    service: Service, run: Callable[..., Any]
) -> None:
    uuids = [post(service, capture.read_bytes()).text for capture in CAPTURES]
    printed = run(service.environment, "pacifica-notifications-cmd", "eventget", *uuids)
    assert (printed.returncode, printed.stderr) == (0, "")
    for uuid, capture in zip(uuids, CAPTURES, strict=True):
        assert uuid in printed.stdout
        assert json.loads(capture.read_bytes())["eventID"] in printed.stdout


def told(folder: Path) -> list[list[str]]:
    """Give the ids in each message that a service has left for its workers."""
    messages = []
    for message in (folder / "queue" / "messages").glob("*.msg"):
        with suppress(ValueError):  # it is being written
            body = json.loads(message.read_text())["body"]
            messages.append(json.loads(base64.b64decode(body))[0][0])
    return messages


def test_worker_is_told_when_event_was_received(service: Service) -> None:
    uuid = post(service, EVENT).text
    eventually(lambda: [uuid] in told(service.folder), 5)


def test_one_message_tells_of_many_events_when_they_come_at_the_same_time(
    prepared: dict[str, str], tmp_path: Path
) -> None:
    with running(prepared, tmp_path) as service:
        uuids = post_at_once(service, 300)
        eventually(lambda: sorted(chain.from_iterable(told(tmp_path))) == sorted(uuids), 5)
        assert len(told(tmp_path)) < len(uuids) / 3


def test_worker_is_told_of_the_last_events_when_the_web_server_ends(
    prepared: dict[str, str], tmp_path: Path
) -> None:
    with running(prepared, tmp_path) as service:
        uuids = [post(service, EVENT).text for _ in range(5)]
        service.program.signal(signal.SIGTERM)
        assert service.program.wait() == 0
    assert sorted(chain.from_iterable(told(tmp_path))) == sorted(uuids)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"a": [1, None, {"b": "é\N{GRINNING FACE}"}]},
        {"nul": "\0", "surrogate": "\ud800", "integer": 10**300, "float": -1.5e300},
        {"eventType": 1, "extensions": [], "data": None},
        {**EVENT, "extensions": {"a": 1}, "data": "bare"},
        {**EVENT, "extensions": {}, "eventTime": None, "own": {"x": 1}},
    ],
    ids=lambda body: ascii(body)[:50],
)
def test_event_is_stored_as_it_came_when_it_is_any_object(service: Service, body: Any) -> None:
    assert received(service, body) == body


@pytest.mark.parametrize("given", [{}, {"extensions": None}], ids=["absent", "null"])
def test_event_gets_empty_extensions_when_version_0_1_has_none(
    service: Service, given: dict[str, Any]
) -> None:
    assert received(service, {**EVENT, **given}) == {**EVENT, "extensions": {}}


def test_every_event_has_an_id_of_its_own_when_one_comes_twice(service: Service) -> None:
    assert post(service, EVENT).text != post(service, EVENT).text


@pytest.mark.parametrize(
    "kind",
    [
        *("application/json", "APPLICATION/JSON", "application/json; charset=utf-8"),
        *('application/json; charset="UTF-8"', "application/json;charset=us-ascii"),
        *("application/cloudevents+json", "application/json; charset", ""),
    ],
)
def test_event_is_taken_when_content_type_is_json(service: Service, kind: str) -> None:
    assert received(service, EVENT, headers={"Content-Type": kind}) == {**EVENT, "extensions": {}}


@pytest.mark.parametrize(
    "kind",
    [
        *("text/plain", "application/xml", "application/x-www-form-urlencoded", ";", ","),
        *("multipart/form-data; boundary=x", "application/cloudevents+avro"),
        *("application/cloudevents-batch+xml", "application/cloudevents"),
        *("application/json; charset=latin-1", "application/json; charset=utf-16"),
    ],
)
def test_event_is_415_when_content_type_is_another(service: Service, kind: str) -> None:
    assert_error(post(service, EVENT, headers={"Content-Type": kind}), 415)


def test_event_is_taken_when_its_body_is_chunked(service: Service) -> None:
    halves = iter([b'{"a": ', b'"chunked"}'])
    response = service.session.post(service.url + "/receive", data=halves, timeout=20)
    assert stored(service, response.text) == {"a": "chunked"}


@pytest.mark.parametrize("absent", ["eventType", "source", "eventID"])
def test_event_is_400_and_attribute_named_when_it_is_absent(service: Service, absent: str) -> None:
    answer = post(service, {name: value for name, value in EVENT.items() if name != absent})
    assert_error(answer, 400, absent)
    assert answer.json()["fields"] == [{"field": absent, "reason": "is required"}]


@pytest.mark.parametrize(
    "wrong",
    [
        *({"eventType": ""}, {"eventType": 1}, {"source": None}, {"eventID": []}, {"eventTime": 1}),
        *({"extensions": []}, {"extensions": "x"}, {"cloudEventsVersion": "0.2"}),
        *({"cloudEventsVersion": 0.1}, {"cloudEventsVersion": None}, {"specversion": "1.0"}),
        {"specversion": None},
    ],
    ids=str,
)
def test_event_is_400_and_attribute_named_when_it_is_wrong(
    service: Service, wrong: dict[str, Any]
) -> None:
    (name,) = wrong
    assert_error(post(service, {**EVENT, **wrong}), 400, name)


HOSTILE = {
    "nothing": b"",
    "array": b"[{}]",
    "text": b'"x"',
    "null": b"null",
    "number": b"5",
    "unfinished": b'{"a": ',
    "more after it": b"{} x",
    "byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": "{}".encode("utf-16"),
    "NaN": b'{"a": NaN}',
    "infinity": b'{"a": -Infinity}',
    "infinite": b'{"a": 1e999}',
    "5000 digits": b'{"a": ' + b"1" * 5000 + b"}",
    "name twice": b'{"a": 1, "a": 2}',
    "name twice, deep": b'{"a": [{"b": 1, "b": 1}]}',
    "500 deep": b'{"a": ' + b"[" * 500 + b"]" * 500 + b"}",
    "200000 deep": b'{"a": ' + b"[" * 200_000,
    "NUL": b'{"a": "\0"}',
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_event_is_400_when_it_is_no_json_object(service: Service, body: bytes) -> None:
    assert_error(post(service, body), 400, "body")


def test_event_is_not_taken_when_connection_ends_before_its_body(service: Service) -> None:
    request = b"POST /receive HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{}"
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(65536) == b""


@pytest.mark.parametrize("path", ["/receive/x", "/receive?x=1", "/receive/x/y"])
def test_event_is_refused_when_path_is_another(service: Service, path: str) -> None:
    answer = service.call("POST", path, body=EVENT)
    assert_error(answer, 400 if "?" in path else 404)


def test_event_is_taken_when_path_ends_with_slash(service: Service) -> None:
    assert service.call("POST", "/receive/", body=EVENT).status_code == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_wrong_method_is_405_and_told_what_is_allowed(service: Service, method: str) -> None:
    answer = service.call(method, "/receive", body={})
    assert_error(answer, 405, method)
    assert answer.headers["Allow"] == "POST"


def test_limits_are_as_configured(prepared: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "config.ini").write_text("[receive]\nmax_body = 400\n")
    with running(prepared, tmp_path) as service:
        exactly = b'{"a": "' + b"x" * 391 + b'"}'
        assert received(service, exactly) == json.loads(exactly)
        assert_error(post(service, exactly + b" "), 413, "400")
        assert_error(post(service, b" " * 1000), 413)
        chunked = service.session.post(
            service.url + "/receive", data=iter([exactly, b" "]), timeout=20
        )
        assert_error(chunked, 413, "400")
        deep = b'{"a": ' + b"[" * 99 + b"]" * 99 + b"}"
        assert received(service, deep) == json.loads(deep)
        assert_error(post(service, deep.replace(b"[]", b"[[]]")), 400, "100 deep")


# What is away, or hangs.


@pytest.mark.parametrize("scheme", ["redis", "pyamqp"])
def test_event_is_taken_at_once_when_broker_is_away(
    prepared: dict[str, str], tmp_path: Path, scheme: str
) -> None:
    environment = {**prepared, "BROKER_URL": f"{scheme}://127.0.0.1:{free_port()}"}
    with running(environment, tmp_path) as service:
        took = []
        for _ in range(20):
            began = time.monotonic()
            assert received(service, EVENT)
            took.append(time.monotonic() - began)
    assert took[0] < AT_MOST / 2
    assert sum(took[1:]) < AT_MOST / 2


def test_event_is_taken_at_once_when_broker_hangs(prepared: dict[str, str], tmp_path: Path) -> None:
    with RawServer(hanging) as broker:
        environment = {
            **prepared,
            "BROKER_URL": f"redis://127.0.0.1:{broker.port}",
            "CELERY_PUBLISH_TIMEOUT": "3",
            "CELERY_PUBLISH_PAUSE": "0",
        }
        with running(environment, tmp_path) as service:
            for _ in range(10):
                began = time.monotonic()
                assert received(service, EVENT)
                assert time.monotonic() - began < AT_MOST / 2


@pytest.fixture
def postgresql(tmp_path: Path) -> Iterator[str]:
    """Yield the URL of an empty PostgreSQL database."""
    url = databases.unused_url("postgresql", tmp_path)
    databases.create(url)
    try:
        yield url
    finally:
        databases.drop(url)


@pytest.mark.server
def test_event_is_503_when_database_is_away_and_taken_when_it_is_back(
    postgresql: str,
    prepared: dict[str, str],
    tmp_path: Path,
    run: Callable[..., Any],
) -> None:
    server = urlsplit(postgresql)
    with ExitStack() as stack:
        way = stack.enter_context(Way(server.hostname or "", server.port or 5432))
        there = server._replace(netloc=f"{server.username}@127.0.0.1:{way.port}").geturl()
        environment = {**prepared, "PEEWEE_URL": there}
        assert run(environment, "pacifica-notifications-cmd", "dbsync").returncode == 0
        service = stack.enter_context(running(environment, tmp_path))
        connect_every_thread(service)
        with way.cut():
            assert_away(lambda: post(service, EVENT))
            assert_away(lambda: service.call("GET", "/eventmatch", "alice"))
        deadline = time.monotonic() + 10
        while post(service, EVENT).status_code != 200:
            assert time.monotonic() < deadline


def connect_every_thread(service: Service) -> None:
    """Have each thread of the server connect to the database, so that it is cut off from it."""
    post_at_once(service, 256)


def post_at_once(service: Service, count: int) -> list[str]:
    """Post events from more clients than the server has threads; returns their ids."""

    def post_one(_: int) -> str:
        response = requests.post(service.url + "/receive", json=EVENT, timeout=20)
        assert response.status_code == 200
        return response.text

    with ThreadPoolExecutor(64) as clients:
        return list(clients.map(post_one, range(count)))


def assert_away(call: Callable[[], Any]) -> None:
    began = time.monotonic()
    answer = call()
    assert time.monotonic() - began < AT_MOST
    assert_error(answer, 503, "database")
    assert int(answer.headers["Retry-After"]) > 0


class Way:
    """A way to a server, on loopback, that can be cut and mended."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listen(0)
        self.port = self._listener.getsockname()[1]

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Close every connection, and let none be made."""
        self._close()
        yield
        self._listen(self.port)

    def __enter__(self) -> "Way":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _listen(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self._start(self._accept, self._listener)

    def _close(self) -> None:
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(5)
        self._open.clear()
        self._threads.clear()

    def _start(self, target: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(self._to, timeout=20)
                self._open += [near, far]
                self._start(self._pass_on, near, far)
                self._start(self._pass_on, far, near)

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while part := source.recv(65536):
                sink.sendall(part)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)


def hops_of(service: Service, uuid: str) -> int:
    rows = databases.execute(
        service.environment["PEEWEE_URL"],
        f"SELECT hops FROM eventlog WHERE uuid = '{UUID(uuid).hex}'",  # noqa: S608
    )
    return rows[0][0]


@pytest.mark.parametrize(
    ("header", "hops"), [({}, 0), ({HOPS_HEADER: "0"}, 0), ({HOPS_HEADER: "3"}, 3)]
)
def test_event_is_taken_with_its_hops_when_they_are_within_the_bound(
    service: Service, header: dict[str, str], hops: int
) -> None:
    response = post(service, EVENT, headers=header)
    assert response.status_code == 200
    assert hops_of(service, response.text) == hops


@pytest.mark.parametrize("hops", ["4", "9" * 5000])
def test_event_is_508_when_it_came_through_too_many_services(service: Service, hops: str) -> None:
    assert_error(post(service, EVENT, headers={HOPS_HEADER: hops}), 508)


@pytest.mark.parametrize("hops", ["", "-1", "1.5", "one", "1, 2", "\u00b2"])
def test_event_is_400_when_its_hops_are_no_number(service: Service, hops: str) -> None:
    response = post(service, EVENT, headers={HOPS_HEADER: hops.encode()})
    assert_error(response, 400)
    assert HOPS_HEADER in response.json()["message"]
