"""`demo` and `serve`: the whole service by one command, without any server."""

import http.client
import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue

import pytest

from pacifica.notifications.commands.demo import _deliver
from pacifica.notifications.commands.serve import page_url
from pacifica.notifications.commands.stand_ins import catching_target
from pacifica.notifications.errors import NotificationsError
from tests.support.processes import BIN, Program, descendants, is_alive
from tests.support.servers import RecordingServer, eventually, free_port

COMMAND = BIN / "pacifica-notifications-cmd"
EVENT = (Path(__file__).parents[1] / "captures" / "ingest.json").read_bytes()
USER = {"Http-Remote-User": "alice", "Content-Type": "application/json"}

# The installed command, but the target that it starts for itself is not there, and it is not as
# patient with it as it is with its processes.
WITHOUT_TARGET = """
import sys
from contextlib import nullcontext
from queue import SimpleQueue
from pacifica.notifications.__main__ import cmd
from pacifica.notifications.commands import demo

class Impatient(SimpleQueue):
    def get(self, timeout):
        return super().get(timeout=1)

demo.SimpleQueue = Impatient
demo.catching_target = lambda caught: nullcontext("http://127.0.0.1:9")
sys.exit(cmd("demo"))
"""


@pytest.fixture
def no_home(tmp_path: Path) -> dict[str, str]:
    """Keep the commands out of the home folder of whoever runs the tests."""
    return {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}


def test_demo_shows_one_delivery_and_leaves_nothing_behind(
    no_home: dict[str, str], tmp_path: Path
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    # What is configured on the machine must not get in its way.
    odd = {"PEEWEE_URL": "mysql://nowhere.invalid/x", "TMPDIR": str(temporary)}
    with Program([COMMAND, "demo"], {**no_home, **odd}, tmp_path) as demo:
        assert demo.wait(60) == 0, demo.output
        started = descendants(demo.pid)
    steps = [line.split(maxsplit=1) for line in demo.lines]
    said = dict(steps)
    assert [name for name, _ in steps] == [
        "policy",
        "service",
        "page",
        "subscription",
        "event",
        "delivered",
        "took",
    ]
    assert re.search(r"http://127\.0\.0\.1:\d+", said["service"])
    assert re.match(r"http://127\.0\.0\.1:\d+/ui/ ", said["page"])
    subscription, delivered = json.loads(said["subscription"]), json.loads(said["delivered"])
    assert subscription["disabled"] is None
    assert delivered["eventID"] == "metadata.ingest.1234"
    assert re.fullmatch(r"[0-9a-f-]{36}", said["event"])
    assert re.match(r"\d+ ms ", said["took"])
    assert not started
    assert list(temporary.iterdir()) == []


def test_demo_fails_when_nothing_arrives(no_home: dict[str, str], tmp_path: Path) -> None:
    with Program([BIN / "python", "-c", WITHOUT_TARGET], no_home, tmp_path) as demo:
        assert demo.wait(60) == 1, demo.output
        assert not descendants(demo.pid)
    assert "nothing was delivered" in demo.lines[-1]
    assert "Traceback" not in demo.output, demo.output
    assert "delivered     {" not in demo.output


def test_demo_fails_when_something_else_arrives_than_was_sent() -> None:
    caught: SimpleQueue[bytes] = SimpleQueue()
    caught.put(b'{"eventID": "another"}')
    with RecordingServer(lambda _received: (200, {}, b"{}")) as service:
        with pytest.raises(NotificationsError, match="not the one that was sent"):
            _deliver(service.url, "http://127.0.0.1:9", caught)
        assert [each.path for each in service.requests] == ["/eventmatch", "/receive"]


def test_catching_target_hands_over_what_it_was_sent() -> None:
    caught: SimpleQueue[bytes] = SimpleQueue()
    with catching_target(caught) as url:
        port = int(url.rpartition(":")[2])
        assert post(port, "/", b"{}") == (200, b"{}")
        assert caught.get(timeout=5) == b"{}"


@contextmanager
def serving(
    folder: Path, environment: dict[str, str], *options: str
) -> Iterator[tuple[Program, int]]:
    port = free_port()
    command = [COMMAND, "serve", "--folder", folder / "embedded", "-p", str(port), *options]
    with Program(command, environment, folder) as serve:
        serve.wait_for_line("serve  | ready at")
        yield serve, port


def post(port: int, path: str, body: bytes) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("POST", path, body, USER)
        response = connection.getresponse()
        return response.status, response.read()


def test_serve_delivers_until_it_is_told_to_stop_and_leaves_no_process(
    no_home: dict[str, str], tmp_path: Path
) -> None:
    with (
        RecordingServer() as target,
        serving(tmp_path, no_home, "--allow-all") as (serve, port),
    ):
        body = {"name": "n", "jsonpath": "$.data", "target_url": target.url}
        assert post(port, "/eventmatch", json.dumps(body).encode())[0] == 200
        assert post(port, "/receive", EVENT)[0] == 200
        assert json.loads(target.wait_for(1, timeout=15)[0].body) == json.loads(EVENT)
        started = descendants(serve.pid)
        assert len(started) == 2  # web server and worker
        assert f"serve-{port}@" in serve.output  # so that several can share one RabbitMQ
        serve.signal(signal.SIGINT)
        assert serve.wait(20) == 0, serve.output
        eventually(lambda: not any(map(is_alive, started)))
    assert all(re.match(r"(serve |web   |worker) \| ", line) for line in serve.lines), serve.output
    assert "Traceback" not in serve.output, serve.output
    assert serve.lines[-1] == "serve  | stopped"
    assert not (tmp_path / ".pacifica-notifications").exists()


def test_serve_opens_the_page_in_the_browser(no_home: dict[str, str], tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o700)
    with serving(tmp_path, no_home | {"BROWSER": f"{browser} %s"}, "--open") as (serve, port):
        page = f"http://127.0.0.1:{port}/ui/"
        serve.wait_for_line(f"the web page is {page}")
        eventually(lambda: opened.exists() and opened.read_text() == f"{page}\n")


@pytest.mark.parametrize(
    ("address", "page"),
    [
        ("127.0.0.1", "http://127.0.0.1:8070/ui/"),
        ("0.0.0.0", "http://localhost:8070/ui/"),  # noqa: S104 nothing listens there
        ("::", "http://localhost:8070/ui/"),
        ("::1", "http://[::1]:8070/ui/"),
        ("inside.example", "http://inside.example:8070/ui/"),
    ],
)
def test_page_is_where_a_browser_on_this_machine_finds_it(address: str, page: str) -> None:
    assert page_url(address, 8070) == page


def test_serve_fails_and_leaves_no_process_when_its_worker_dies(
    no_home: dict[str, str], tmp_path: Path
) -> None:
    with serving(tmp_path, no_home, "--allow-all") as (serve, _port):
        started = descendants(serve.pid)
        kill(started, "worker")
        assert serve.wait(30) == 1, serve.output
        eventually(lambda: not any(map(is_alive, started)))
    assert "ended unexpectedly: worker" in serve.lines[-1]


def test_serve_leaves_no_process_when_it_is_killed(no_home: dict[str, str], tmp_path: Path) -> None:
    with ExitStack() as stack:
        serve, _port = stack.enter_context(serving(tmp_path, no_home, "--allow-all"))
        started = descendants(serve.pid)
        stack.callback(kill_all, started)
        assert len(started) == 2
        serve.signal(signal.SIGKILL)
        eventually(lambda: not any(map(is_alive, started)), timeout=20)


def test_serve_ends_and_leaves_no_process_when_it_is_told_to_stop_before_it_is_ready(
    no_home: dict[str, str], tmp_path: Path
) -> None:
    command = [COMMAND, "serve", "--folder", tmp_path / "embedded", "-p", str(free_port())]
    with Program(command, no_home, tmp_path) as serve:
        serve.wait_for_line("web    | ")
        started = descendants(serve.pid)
        serve.signal(signal.SIGTERM)
        assert serve.wait(20) == 0, serve.output
        eventually(lambda: not any(map(is_alive, started)))
    assert serve.lines[-1] == "serve  | stopped"


def test_serve_fails_when_its_port_is_taken(no_home: dict[str, str], tmp_path: Path) -> None:
    with RecordingServer() as other:
        command = [COMMAND, "serve", "--folder", tmp_path / "embedded", "-p", str(other.port)]
        with Program(command, no_home, tmp_path) as serve:
            assert serve.wait(60) == 1, serve.output
            assert not descendants(serve.pid)
    assert "the web process did not start" in serve.lines[-1]


def kill_all(processes: set[int]) -> None:
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill(processes: set[int], word: str) -> None:
    """Kill the oldest of the processes that has a word in its command line."""
    for pid in sorted(processes):
        if word in Path("/proc", str(pid), "cmdline").read_text().split("\0"):
            os.kill(pid, signal.SIGKILL)
            return
    raise AssertionError(f"none of {processes} is a {word}")
