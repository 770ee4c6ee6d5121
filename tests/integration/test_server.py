"""The installed web server: what it starts on, and many clients at once."""

import json
import shutil
import signal
import socket
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration.webservice import (
    SUBSCRIPTION,
    Service,
    assert_error,
    exchange,
    raw_get,
    running,
    some_user,
)
from tests.support import databases
from tests.support.processes import BIN, Program, is_alive
from tests.support.servers import eventually, free_port

ROOT = Path(__file__).parents[2]
COMMAND = "pacifica-notifications"
#: As many requests as are answered at the same time.
THREADS = 16


def test_server_logs_that_it_serves_when_there_is_no_cherrypy_file(service: Service) -> None:
    assert not Path(service.environment["NOTIFICATIONS_CPCONFIG"]).exists()
    service.program.wait_for_line(f"Serving on http://127.0.0.1:{service.port}")
    service.program.wait_for_line("Bus STARTED")


@pytest.mark.parametrize("option", ["-c", "--cpconfig", "NOTIFICATIONS_CPCONFIG"])
def test_server_serves_with_shipped_file_and_flags_beat_it(
    prepared: dict[str, str], tmp_path: Path, option: str
) -> None:
    shipped = shutil.copy(ROOT / "server.conf", tmp_path)
    port = free_port()
    command = [BIN / COMMAND, "-p", str(port), "-a", "127.0.0.1"]
    if option.startswith("-"):
        command += [option, shipped]
    else:
        prepared = {**prepared, option: str(shipped)}
    with Program(command, prepared, tmp_path) as program:
        program.wait_for_line(f"Serving on http://127.0.0.1:{port}")
        program.wait_for_line("Bus STARTED")
        answer = exchange(port, raw_get("/eventmatch", b"Http-Remote-User: alice"))
        assert (answer.status, answer.body) == (200, b"[]")
        assert answer.headers["content-type"] == "application/json"
        assert_error(exchange(port, raw_get("/nothing")), 404)
        assert_error(exchange(port, raw_get("/eventmatch/x")), 400)
    assert (tmp_path / "access.log").exists()
    assert (tmp_path / "error.log").exists()


def test_server_listens_where_file_says_when_no_flag_is_given(
    prepared: dict[str, str], tmp_path: Path
) -> None:
    port = free_port()
    lines = f"[global]\nserver.socket_host: '127.0.0.1'\nserver.socket_port: {port}\n"
    (tmp_path / "cpconfig.ini").write_text(lines)
    with Program([BIN / COMMAND], prepared, tmp_path) as program:
        program.wait_for_line(f"Serving on http://127.0.0.1:{port}")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--cpconfig", "server.conf", "-c", "service.ini"],
        ["-c", "service.ini", "--cpconfig", "server.conf"],
        ["--config", "service.ini"],
    ],
    ids=" ".join,
)
def test_server_takes_both_files_when_given_as_to_0_5_2(
    arguments: list[str], prepared: dict[str, str], tmp_path: Path
) -> None:
    port = free_port()
    file = tmp_path / ("server.conf" if "--cpconfig" in arguments else "cpconfig.ini")
    file.write_text(f"[global]\nserver.socket_port: {port}\n")
    (tmp_path / "service.ini").write_text("[notifications]\nuser_header = X-User\n")
    with Program([BIN / COMMAND, *arguments], prepared, tmp_path) as program:
        program.wait_for_line(f"Serving on http://127.0.0.1:{port}")
        body = b"POST /eventmatch HTTP/1.1\r\nHost: x\r\nX-User: alice\r\nConnection: close\r\n"
        sent = json.dumps(SUBSCRIPTION).encode()
        request = body + b"Content-Length: %d\r\n\r\n" % len(sent) + sent
        assert json.loads(exchange(port, request).body)["user"] == "alice"


def test_server_keeps_within_what_the_file_says(prepared: dict[str, str], tmp_path: Path) -> None:
    lines = {"max_request_body_size": 500, "max_request_header_size": 300, "socket_timeout": 1}
    file = "".join(f"server.{key}: {value}\n" for key, value in lines.items())
    (tmp_path / "cpconfig.ini").write_text(f"[global]\n{file}server.thread_pool: 3\n")
    with running(prepared, tmp_path) as service:
        body = b'{"a": "' + b"a" * 490 + b'"}'
        assert service.call("POST", "/receive", body=body[1:].rjust(500)).status_code == 400
        assert_error(service.call("POST", "/receive", body=body.rjust(501)), 413)
        filler = b"X: " + b"a" * 300
        assert_error(exchange(service.port, raw_get("/eventmatch", filler)), 431)
        tasks = Path(f"/proc/{service.program.pid}/task")
        assert [each.joinpath("comm").exists() for each in tasks.iterdir()]
        with socket.create_connection(("127.0.0.1", service.port), timeout=5) as idle:
            assert idle.recv(1) == b""


def test_server_ends_when_it_is_told_to_while_it_starts(
    prepared: dict[str, str], tmp_path: Path
) -> None:
    command = [BIN / COMMAND, "-p", str(free_port())]
    with Program(command, prepared, tmp_path) as program:
        program.wait_for_line("Bus STARTING")
        program.signal(signal.SIGTERM)
        assert program.wait(10) == 0


def test_server_refuses_database_when_it_is_not_safe(
    prepared: dict[str, str], run: Callable[..., Any]
) -> None:
    for statement, found, remedy in (
        ("UPDATE notificationsystem SET value = 3 WHERE part = 'major'", "3.0", "dbsync"),
        ("UPDATE notificationsystem SET value = 5 WHERE part = 'major'", "5.0", "upgrade"),
        ("DROP TABLE notificationsystem", "0.0", "dbsync"),
    ):
        databases.execute(prepared["PEEWEE_URL"], statement)
        refused = run(prepared, COMMAND, "-p", str(free_port()))
        assert refused.returncode == 1
        assert refused.stdout == ""
        (line,) = refused.stderr.splitlines()
        for part in (found, "4.0", remedy):
            assert part in line


def test_server_ends_in_one_line_when_it_cannot_start(
    prepared: dict[str, str], tmp_path: Path, run: Callable[..., Any]
) -> None:
    broken = tmp_path / "broken.conf"
    broken.write_text("[global]\nserver.socket_port: ((\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        tls = tmp_path / "tls.conf"
        tls.write_text("[global]\nserver.ssl_certificate: 'a.pem'\n")
        for arguments, parts in (
            (["-p", port], [port, "in use"]),
            (["-a", "nowhere.invalid"], ["nowhere.invalid"]),
            (["-c", str(tmp_path / "absent.conf")], ["absent.conf", "no such file"]),
            (["-c", str(broken)], ["broken.conf", "not a CherryPy configuration"]),
            (["-c", str(tls)], ["server.ssl_certificate", "proxy in front"]),
        ):
            ended = run(prepared, COMMAND, *arguments)
            assert ended.returncode == 2
            (line,) = ended.stderr.splitlines()
            assert all(part in line for part in parts)


def test_server_answers_next_request_when_one_was_malformed(service: Service) -> None:
    for request in (
        b"GET /eventmatch HTTP/1.1\r\n folded: x\r\nHost: x\r\n\r\n",
        b"GET /eventmatch HTTP/1.1\r\nHost: x\r\n\x00\r\n\r\n",
        b"\r\n" * 3 + b"\x00\x01",
    ):
        with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert b" 500 " not in answer.partition(b"\r\n")[0]
    assert service.call("GET", "/eventmatch", some_user()).status_code == 200
    assert "Traceback" not in service.program.output


def test_server_answers_who_is_connected_and_refuses_others_when_it_is_told_to_end(
    prepared: dict[str, str], tmp_path: Path
) -> None:
    head = b"POST /receive HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    event = head + b"Content-Length: 2\r\n\r\n{}"
    with (
        closing(sqlite3.connect(tmp_path / "db.sqlite3", isolation_level=None)) as writer,
        running(prepared, tmp_path) as service,
        ExitStack() as connected,
    ):
        writer.execute("BEGIN EXCLUSIVE")
        address = ("127.0.0.1", service.port)
        clients = [
            connected.enter_context(socket.create_connection(address, timeout=20))
            for _ in range(THREADS + 4)
        ]
        for client in clients:
            client.sendall(event)
        service.program.signal(signal.SIGTERM)
        eventually(lambda: is_refused(address), timeout=3)
        assert is_alive(service.program.pid)
        writer.execute("ROLLBACK")
        for client in clients:
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert service.program.wait(10) == 0


def is_refused(address: tuple[str, int]) -> bool:
    """Tell whether nobody listens; who is let in by those who do must not be left waiting."""
    try:
        socket.create_connection(address, timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


def test_nobody_is_reset_when_50_clients_connect_at_once(service: Service) -> None:
    together = threading.Barrier(50)

    def visit(number: int) -> int:
        together.wait(20)
        header = f"Http-Remote-User: visitor-{number}".encode()
        return exchange(service.port, raw_get("/eventmatch", header)).status

    with ThreadPoolExecutor(50) as clients:
        assert list(clients.map(visit, range(50))) == [200] * 50


def test_everybody_is_answered_when_200_clients_work_at_once(service: Service) -> None:
    together = threading.Barrier(200)

    def work(_: int) -> list[int]:
        user = some_user()
        headers = {"Http-Remote-User": user}
        with requests.Session() as session:
            session.trust_env = False
            together.wait(20)
            path = service.url + "/eventmatch"
            created = session.post(path, json=SUBSCRIPTION, headers=headers, timeout=60)
            mine = f"{path}/{created.json()['uuid']}"
            answers = [
                created,
                session.get(mine, headers=headers, timeout=60),
                session.put(mine, json={"name": "new"}, headers=headers, timeout=60),
                session.delete(mine, headers=headers, timeout=60),
                session.get(path, headers=headers, timeout=60),
            ]
        assert answers[2].json()["name"] == "new"
        assert answers[4].json() == []
        return [answer.status_code for answer in answers]

    with ThreadPoolExecutor(200) as clients:
        assert list(clients.map(work, range(200))) == [[200] * 5] * 200
