"""The endpoint of a consumer, as the producer and who looks at it meet it."""

import http.client
import json
import shutil
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from pacifica.notifications.consumer.ledger import Mode, State
from pacifica.notifications.consumer.workfolder import WorkFolder
from tests.support import hostile
from tests.support.endpoint import MAX_BYTES, STATUS_TOKEN, SUBSCRIPTION, TOKEN
from tests.support.processes import Program
from tests.support.servers import free_port

ROOT = Path(__file__).parents[3]
AUTHORISED = {"Authorization": f"Bearer {TOKEN}"}
WATCHING = {"Authorization": f"Bearer {STATUS_TOKEN}"}
EVENT = b'{"eventID": "1",  "data": "\xc3\xa9"}'


@dataclass(frozen=True)
class Endpoint:
    port: int
    work: WorkFolder
    program: Program

    def call(
        self, method: str, body: bytes = b"", headers: dict[str, str] | None = None, path: str = "/"
    ) -> tuple[int, Message, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        answer = response.status, response.headers, json.loads(response.read())
        connection.close()
        return answer


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[Endpoint]:
    port = free_port()
    command = [sys.executable, "-m", "tests.support.endpoint", str(tmp_path / "work"), str(port)]
    with Program(command, {}, ROOT) as program:
        program.wait_for_line("serving")
        yield Endpoint(port, WorkFolder(tmp_path / "work"), program)


def test_notification_with_the_token_is_on_disk_when_it_is_answered(endpoint: Endpoint) -> None:
    status, headers, answer = endpoint.call("POST", EVENT, AUTHORISED)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    uuid = UUID(answer["id"])
    assert endpoint.work.run(uuid).notification.read_bytes() == EVENT
    (run,) = endpoint.work.ledger.newest(10)
    assert (run.uuid, run.state) == (uuid, State.WAITING)
    endpoint.program.wait_for_line("nudged")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer other"},
        {"Authorization": TOKEN},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN}é"},
    ],
    ids=str,
)
def test_notification_without_the_token_is_401_and_leaves_nothing(
    endpoint: Endpoint, headers: dict[str, str]
) -> None:
    encoded = {name: value.encode().decode("latin-1") for name, value in headers.items()}
    status, answered, answer = endpoint.call("POST", EVENT, encoded)
    assert (status, answered["WWW-Authenticate"]) == (401, "Bearer")
    assert answer["status"] == "401 Unauthorized"
    assert TOKEN not in str(answer)
    assert list(endpoint.work.runs.iterdir()) == []


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'"a"', b"{", b"\xff", b"[" * 900], ids=lambda body: str(body[:9])
)
def test_body_that_is_no_json_object_is_400(endpoint: Endpoint, body: bytes) -> None:
    status, _, answer = endpoint.call("POST", body, AUTHORISED)
    assert (status, answer["message"]) == (400, "the body is not a JSON object")
    assert list(endpoint.work.runs.iterdir()) == []


def test_body_that_is_too_large_is_413(endpoint: Endpoint) -> None:
    fitting = b'{"a": "%s"}' % (b"x" * (MAX_BYTES - 9))
    assert endpoint.call("POST", fitting, AUTHORISED)[0] == 200
    assert endpoint.call("POST", fitting + b" ", AUTHORISED)[0] == 413


def test_chunked_body_is_taken(endpoint: Endpoint) -> None:
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=10) as connection:
        connection.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
            b"Authorization: Bearer %s\r\n\r\n2\r\n{}\r\n0\r\n\r\n" % TOKEN.encode()
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


def test_notification_is_refused_when_it_is_not_plain_where_it_ends(endpoint: Endpoint) -> None:
    head = f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
    both = head + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % len(EVENT)
    sent = both + b"%x\r\n%b\r\n0\r\n\r\n" % (len(EVENT), EVENT)
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=10) as connection:
        connection.sendall(sent)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert list(endpoint.work.runs.iterdir()) == []


def test_notifications_are_taken_at_once_while_hundreds_attack(endpoint: Endpoint) -> None:
    slow = {"slow_head": 60, "slow_body": 60, "slow_chunks": 30, "silent": 30, "half": 20}
    times, answers = [], Counter[int]()
    with hostile.attack(endpoint.port, 4, slow):
        for _ in range(20):
            began = time.monotonic()
            answers[endpoint.call("POST", EVENT, AUTHORISED)[0]] += 1
            times.append(time.monotonic() - began)
            time.sleep(0.1)  # between them, the attackers go on
    assert answers == {200: 3, 503: 17}  # no more may wait, and who is refused is answered too
    assert max(times) < 1
    assert endpoint.work.ledger.newest(10)


def test_notifications_past_the_bound_are_503_with_retry_after(endpoint: Endpoint) -> None:
    assert [endpoint.call("POST", EVENT, AUTHORISED)[0] for _ in range(3)] == [200] * 3
    status, headers, answer = endpoint.call("POST", EVENT, AUTHORISED)
    assert (status, headers["Retry-After"]) == (503, "10")
    assert answer["message"] == "too many notifications are waiting"
    assert len(list(endpoint.work.runs.iterdir())) == 3


def test_notification_that_cannot_be_stored_is_503_and_says_no_path(endpoint: Endpoint) -> None:
    shutil.rmtree(endpoint.work.runs)
    endpoint.work.runs.write_text("a file where the folder was")
    status, headers, answer = endpoint.call("POST", EVENT, AUTHORISED)
    assert (status, headers["Retry-After"]) == (503, "10")
    assert answer["message"] == "the notification could not be stored"
    assert endpoint.work.ledger.newest(10) == []


def test_notifications_at_the_same_time_are_each_stored_once(endpoint: Endpoint) -> None:
    with ThreadPoolExecutor(30) as threads:
        answers = list(threads.map(lambda _: endpoint.call("POST", EVENT, AUTHORISED), range(30)))
    assert sorted(status for status, *_ in answers) == [200] * 3 + [503] * 27
    assert endpoint.work.ledger.counts()["waiting"] == 3


def test_runs_are_shown_to_who_has_the_token(endpoint: Endpoint) -> None:
    _, _, taken = endpoint.call("POST", EVENT, AUTHORISED)
    endpoint.work.ledger.switch(Mode.OPEN)
    run = endpoint.work.ledger.claim()
    assert run is not None
    endpoint.work.ledger.end(run.uuid, State.FAILED, "exit status 3")
    status, _, shown = endpoint.call("GET", headers=WATCHING)
    assert status == 200
    assert shown["counts"] == {"waiting": 0, "running": 0, "done": 0, "failed": 1, "unmatched": 0}
    (only,) = shown["runs"]
    assert (only["id"], only["state"], only["outcome"]) == (taken["id"], "failed", "exit status 3")
    folder = endpoint.work.run(run.uuid)
    assert (only["src"], only["dst"]) == (str(folder.source), str(folder.destination))
    assert only["ended"].endswith("+00:00")


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        (
            {"cloudEventsVersion": "0.1", "eventID": "1", "eventType": "t", "source": "s"},
            {"id": "1", "type": "t", "source": "s"},
        ),
        (
            {"specversion": "1.0", "id": "é", "type": "t" * 600, "source": "s", "eventID": "not"},
            {"id": "é", "type": "t" * 500, "source": "s"},
        ),
        ({"eventType": ["t"], "id": 7}, {"id": None, "type": None, "source": None}),
    ],
    ids=["0.1", "1.0", "none"],
)
def test_each_run_is_shown_with_the_name_of_its_event(
    endpoint: Endpoint, sent: dict[str, Any], named: dict[str, Any]
) -> None:
    endpoint.call("POST", json.dumps(sent).encode(), AUTHORISED)
    (run,) = endpoint.call("GET", headers=WATCHING)[2]["runs"]
    assert run["event"] == named


def test_state_of_the_subscription_is_shown(endpoint: Endpoint) -> None:
    _, _, shown = endpoint.call("GET", headers=WATCHING)
    assert shown["subscription"] == SUBSCRIPTION


@pytest.mark.parametrize("headers", [{}, {"Host": "localhost"}, AUTHORISED], ids=str)
def test_runs_are_not_shown_without_the_token_whoever_asks(
    endpoint: Endpoint, headers: dict[str, str]
) -> None:
    status, answered, _ = endpoint.call("GET", headers=headers)
    assert (status, answered["WWW-Authenticate"]) == (401, "Bearer")


def test_notification_is_refused_with_the_token_for_the_runs(endpoint: Endpoint) -> None:
    assert endpoint.call("POST", EVENT, WATCHING)[0] == 401


@pytest.mark.parametrize(
    ("method", "path", "status"), [("PUT", "/", 405), ("DELETE", "/", 405), ("GET", "/x", 404)]
)
def test_other_calls_are_refused_as_json(
    endpoint: Endpoint, method: str, path: str, status: int
) -> None:
    answered, _, answer = endpoint.call(method, path=path)
    assert answered == status
    assert answer["status"].startswith(str(status))
    assert "Traceback" not in str(answer)


def test_endpoint_ends_when_it_is_told_to(endpoint: Endpoint) -> None:
    endpoint.program.signal(signal.SIGTERM)
    assert endpoint.program.wait(15) == 0
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", endpoint.port), timeout=5)


def test_start_says_in_one_line_when_the_port_is_taken(endpoint: Endpoint, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.endpoint"]
    port = str(endpoint.port)
    with Program([*command, str(tmp_path / "other"), port], {}, ROOT) as second:
        assert second.wait() != 0
        assert second.lines[-1].endswith(
            f"cannot listen on 127.0.0.1:{port}: Address already in use"
        )
