"""The API under uWSGI, started as operators start it, with requests as they come in by a socket."""

import http.client
import json
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.support import databases
from tests.support.deployments import Service, environment_of
from tests.support.processes import BIN, Program, is_alive
from tests.support.servers import eventually, free_port
from tests.support.templates import migrated_database
from tests.support.uwsgi import uwsgi_server

EVENT = (Path(__file__).parents[1] / "captures" / "ingest.json").read_bytes()
SUBSCRIPTION = {"name": "n", "jsonpath": "$.data", "target_url": "http://127.0.0.1:9/"}
MAX_BODY = 100_000
#: Many more than uWSGI has threads.
SENDERS = 40


class Api:
    """A uWSGI process that serves the API, and the database behind it."""

    def __init__(self, program: Program, port: int, database: str) -> None:
        self.program = program
        self.port = port
        self.database = database

    def call(
        self, method: str, path: str, body: Any = None, user: str = "alice"
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        content = json.dumps(body).encode() if isinstance(body, dict) else body
        headers = {"Http-Remote-User": user, "Content-Type": "application/json"}
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read()

    def send(self, *lines: str, body: bytes = b"") -> tuple[int, bytes]:
        """Send a request as it is written; returns the answer's status and body."""
        head = "\r\n".join([*lines, "Host: localhost", "Connection: close", "", ""]).encode()
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(head + body)
            response = http.client.HTTPResponse(connection)
            response.begin()
            return response.status, response.read()

    def recorded(self) -> int:
        return databases.execute(self.database, "SELECT COUNT(*) FROM eventlog")[0][0]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("uwsgi")
    with uwsgi(folder) as api:
        yield api


class uwsgi:  # noqa: N801 (named for the command)
    """Runs uWSGI, with `more` options, on a new SQLite database for a `with` block."""

    def __init__(self, folder: Path, *more: str) -> None:
        self._folder = folder
        port = free_port()
        self._database = f"sqliteext:///{folder}/db.sqlite3"
        self._environment = {
            "NOTIFICATIONS_CONFIG": str(folder / "absent.ini"),
            "NOTIFICATIONS_CPCONFIG": str(folder / "absent.conf"),
            "PEEWEE_URL": self._database,
            "BROKER_URL": f"filesystem://localhost{folder}/queue",
            "RECEIVE_MAX_BODY": str(MAX_BODY),
        }
        command = [BIN / "pacifica-notifications-cmd", "dbsync"]
        with Program(command, self._environment, folder) as dbsync:
            assert dbsync.wait() == 0, dbsync.output
        command = [BIN / "uwsgi", "--http-socket", f"127.0.0.1:{port}", "--master"]
        command += ["--module", "pacifica.notifications.wsgi", *more]
        self._program = Program(command, self._environment, folder)
        self._api = Api(self._program, port, self._database)

    def __enter__(self) -> Api:
        self._program.__enter__()
        try:
            self._program.wait_for_line("spawned uWSGI worker 1")
            self._program.wait_for_line("WSGI app 0")
        except BaseException:
            self._program.__exit__()
            raise
        return self._api

    def __exit__(self, *_: object) -> None:
        self._program.__exit__()


def test_eventmatch_is_created_read_changed_and_deleted(api: Api) -> None:
    status, headers, body = api.call("POST", "/eventmatch", SUBSCRIPTION, user="verbs")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    created = json.loads(body)
    path = f"/eventmatch/{created['uuid']}"
    assert json.loads(api.call("GET", "/eventmatch", user="verbs")[2]) == [created]
    assert json.loads(api.call("GET", path, user="verbs")[2]) == created
    status, headers, body = api.call("PUT", path, {"name": "changed"}, user="verbs")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(body)["name"] == "changed"
    status, headers, body = api.call("DELETE", path, user="verbs")
    assert (status, headers["Content-Type"], body) == (200, "application/json", b"")
    assert api.call("GET", path, user="verbs")[0] == 403


def test_receive_stores_the_event_before_it_answers(api: Api) -> None:
    before = api.recorded()
    status, headers, body = api.call("POST", "/receive", EVENT)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert UUID(body.decode())
    assert api.recorded() == before + 1


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("GET", "/absent", None, 404),
        ("GET", "/receive", None, 405),
        ("PUT", "/eventmatch", {}, 405),
        ("GET", "/eventmatch/not-a-uuid", None, 400),
        ("GET", "/eventmatch/00000000-0000-0000-0000-000000000000", None, 403),
        ("POST", "/eventmatch", b"no json", 400),
        ("POST", "/eventmatch", {"name": "n"}, 400),
        ("POST", "/receive", b"[]", 400),
        ("POST", "/receive", b"", 400),
        ("POST", "/receive", b'"' + b"x" * MAX_BODY + b'"', 413),
    ],
)
def test_error_is_json_with_status_and_message(
    api: Api, method: str, path: str, body: Any, expected: int
) -> None:
    status, headers, content = api.call(method, path, body)
    assert (status, headers["Content-Type"]) == (expected, "application/json")
    error = json.loads(content)
    assert error["status"].startswith(f"{expected} ")
    assert error["message"]
    assert "Traceback" not in content.decode()
    assert str(Path(__file__).parents[2]) not in content.decode()
    assert "Allow" in headers or expected != 405


def test_api_answers_the_next_request_after_one_that_was_too_large(api: Api) -> None:
    for _ in range(3):
        with suppress(ConnectionError):  # uWSGI hangs up on who goes on sending
            assert api.call("POST", "/receive", b"1" * (50 * MAX_BODY))[0] == 413
        assert api.call("POST", "/receive", EVENT)[0] == 200


def test_receive_refuses_a_chunked_body_which_uwsgi_does_not_hand_over(api: Api) -> None:
    before = api.recorded()
    head = (
        "POST /receive HTTP/1.1",
        "Transfer-Encoding: chunked",
        "Content-Type: application/json",
    )
    status, answer = api.send(*head, body=b"%x\r\n%s\r\n0\r\n\r\n" % (len(EVENT), EVENT))
    assert (status, json.loads(answer)["status"]) == (411, "411 Length Required")
    assert api.recorded() == before


@pytest.mark.parametrize(
    "headers",
    [
        ("Http-Remote-User: alice", "Http-Remote-User: mallory"),
        ("Http-Remote-User: alice", "Http_Remote_User: mallory"),
        ("Http_Remote_User: mallory", "Http-Remote-User: alice"),
        ("Http-Remote-User: alice, mallory",),
        ("Http-Remote-User:",),
        ("Http-Remote-User: a/b",),
    ],
)
def test_user_header_is_refused_unless_it_is_one_name(api: Api, headers: tuple[str, ...]) -> None:
    status, body = api.send("GET /eventmatch HTTP/1.1", *headers)
    assert status == 400, body


def test_users_do_not_see_each_others_subscriptions(api: Api) -> None:
    created = json.loads(api.call("POST", "/eventmatch", SUBSCRIPTION, user="one")[2])
    path = f"/eventmatch/{created['uuid']}"
    assert api.call("GET", "/eventmatch", user="two")[2] == b"[]"
    for method, body in (("GET", None), ("PUT", {"name": "x"}), ("DELETE", None)):
        assert api.call(method, path, body, user="two")[0] == 403


def test_uwsgi_ends_soon_when_it_is_told_to_stop(tmp_path: Path) -> None:
    with uwsgi(tmp_path) as api:
        pool = {api.program.pid}
        assert api.call("POST", "/receive", EVENT)[0] == 200
        api.program.signal(signal.SIGINT)
        assert api.program.wait(10) == 0
        assert "Traceback" not in api.program.output
        eventually(lambda: not any(map(is_alive, pool)))


def test_no_event_is_stored_unanswered_when_uwsgi_is_told_to_end_among_many_requests(
    tmp_path: Path,
) -> None:
    with migrated_database("sqlite", tmp_path) as database:
        service = Service(tmp_path, free_port(), environment_of(tmp_path, database))
        answered: list[str] = []

        def send() -> None:
            with suppress(OSError, http.client.HTTPException):  # the server has ended
                while True:
                    answered.append(service.receive())

        with (
            ThreadPoolExecutor(SENDERS) as senders,
            uwsgi_server(service.environment, tmp_path, service.port) as program,
        ):
            for _ in range(SENDERS):
                senders.submit(send)
            eventually(lambda: len(answered) > 5 * SENDERS, timeout=20)
            program.signal(signal.SIGTERM)
            assert program.wait(20) == 0
        stored = databases.execute(database, "SELECT uuid FROM eventlog")
        assert {UUID(uuid) for (uuid,) in stored} == set(map(UUID, answered))


@pytest.mark.parametrize("more", [[], ["--disable-logging"]], ids=["uwsgi", "service"])
def test_each_request_is_one_line_of_the_log(tmp_path: Path, more: list[str]) -> None:
    with uwsgi(tmp_path, *more) as api:
        api.call("GET", "/eventmatch?limit=7")
        api.program.wait_for_line("limit=7")
        api.call("GET", "/eventmatch?limit=8")
        api.program.wait_for_line("limit=8")
        (line,) = (line for line in api.program.lines if "limit=7" in line)
    assert (" - alice [" in line) == bool(more)
