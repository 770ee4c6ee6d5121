"""The logs of the web server: what their lines say, their files, and their form."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.webservice import Service, running
from tests.support.processes import is_alive
from tests.support.servers import eventually

EVENT = {"data": 1}
FILES = "[global]\nlog.access_file: 'access.log'\nlog.error_file: 'error.log'\n"


@pytest.fixture(scope="module")
def logging_service(
    tmp_path_factory: pytest.TempPathFactory,
    environment_in: Callable[[Path], dict[str, str]],
    migrated: Path,
) -> Iterator[Service]:
    """Run a web server that writes its logs to files, behind a proxy on this machine."""
    folder = tmp_path_factory.mktemp("logs")
    environment = {
        **environment_in(folder),
        "NOTIFICATIONS_TRUSTED_PROXIES": "127.0.0.0/8",
    }
    (folder / "db.sqlite3").write_bytes(migrated.read_bytes())
    (folder / "cpconfig.ini").write_text(FILES)
    with running(environment, folder) as service:
        yield service


def last_line(service: Service, part: str) -> str:
    """Return the last line of the access log with a part, once it is there."""
    file = service.folder / "access.log"
    eventually(lambda: part in file.read_text())
    return next(line for line in reversed(file.read_text().splitlines()) if part in line)


def test_access_line_names_the_user_and_the_client_of_the_proxy(logging_service: Service) -> None:
    headers = {"X-Forwarded-For": "192.0.2.66, 198.51.100.7"}
    logging_service.call("GET", "/eventmatch?limit=1", "alice", headers=headers)
    line = last_line(logging_service, "GET /eventmatch?limit=1")
    assert line.startswith("198.51.100.7 - alice [")
    assert line.endswith(" -")


def test_access_line_names_the_default_user(logging_service: Service) -> None:
    logging_service.call("GET", "/eventmatch?limit=2")
    assert last_line(logging_service, "limit=2").startswith("127.0.0.1 - default_user [")


@pytest.mark.parametrize("encoding", ["identity", "gzip"], ids=["fast", "usual"])
def test_access_line_names_the_event(logging_service: Service, encoding: str) -> None:
    body = json.dumps(EVENT).encode()
    headers = {"X-Forwarded-For": "198.51.100.8"}
    if encoding == "gzip":
        headers["Ce-Unknown"] = encoding  # which the fast path does not take
    uuid = logging_service.call("POST", "/receive", body=body, headers=headers).text
    line = last_line(logging_service, uuid)
    assert line.startswith("198.51.100.8 - ")
    assert line.endswith(f" {uuid}")


def test_access_line_names_the_first_event_of_a_batch(logging_service: Service) -> None:
    event = {"specversion": "1.0", "type": "t", "source": "/s"}
    body = [{**event, "id": str(number)} for number in range(3)]
    headers = {"Content-Type": "application/cloudevents-batch+json"}
    uuids = logging_service.call("POST", "/receive", body=body, headers=headers).json()
    assert last_line(logging_service, uuids[0]).endswith(f" {uuids[0]}+2")


def test_server_warns_that_there_is_a_default_user(logging_service: Service) -> None:
    line = logging_service.program.wait_for_line("acts as the user default_user")
    assert "default_user to nothing" in line
    assert line in (logging_service.folder / "error.log").read_text()


def test_sighup_has_log_files_opened_again(logging_service: Service) -> None:
    folder = logging_service.folder
    names = ("access.log", "error.log")
    for name in names:
        (folder / name).rename(folder / f"{name}.1")
    before = (folder / "access.log.1").read_text()
    logging_service.program.signal(signal.SIGHUP)
    eventually(lambda: all((folder / name).exists() for name in names))
    assert logging_service.call("GET", "/eventmatch?limit=3", "alice").status_code == 200
    last_line(logging_service, "limit=3")
    assert (folder / "access.log.1").read_text() == before
    assert is_alive(logging_service.program.pid)


def test_lines_are_json_when_that_is_configured(prepared: dict[str, str], tmp_path: Path) -> None:
    environment = {**prepared, "LOGGING_JSON": "yes", "DEFAULT_USER": ""}
    with running(environment, tmp_path) as service:
        uuid = service.call("POST", "/receive", body=EVENT).text
        service.call("GET", "/eventmatch", 'a "quoted" name')
        service.program.wait_for_line(uuid)
        service.program.wait_for_line("quoted")
        lines = [json.loads(line) for line in service.program.lines]
    assert not any("acts as the user" in line["message"] for line in lines)
    started = next(line for line in lines if line["message"] == "Bus STARTED")
    assert (started["level"], started["logger"]) == ("INFO", "cherrypy.error")
    received, listed = (line for line in lines if "status" in line)
    assert received["request"] == received["message"] == "POST /receive HTTP/1.1"
    assert (received["event"], received["status"], received["bytes"]) == (uuid, "200", "36")
    assert (listed["user"], listed["event"]) == ('a "quoted" name', "-")
    assert received["client"] == "127.0.0.1"
