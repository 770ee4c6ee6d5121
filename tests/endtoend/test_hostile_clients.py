"""Hundreds of clients that hold, flood or confuse the web server, while others work with it."""

import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import hostile
from tests.support.deployments import Service, environment_of
from tests.support.healthy import Healthy
from tests.support.processes import is_alive, memory, open_files
from tests.support.proxies import nginx_in_front, nginx_path
from tests.support.servers import eventually, free_port
from tests.support.templates import migrated_database
from tests.support.uwsgi import uwsgi_server

SECONDS = 13
#: What the server says to them: that they were slow, large or malformed.
ANSWERS = {"200", "400", "408", "414", "431", "hung up"}
# Beside other tests, what is measured is their processor time.
pytestmark = pytest.mark.timing
#: Short ones, so that all of them are met within the test.
BOUNDS = {"WEB_HEADER_TIMEOUT": "3", "WEB_BODY_TIMEOUT": "4"}
#: Seconds; the attackers take much of the machine that all this runs on.
SOON = 3
#: What the memory that the system gave may grow by (bytes).
GROWTH = 128 * 2**20


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with migrated_database("sqlite", tmp_path) as database:
        yield Service(tmp_path, free_port(), environment_of(tmp_path, database, **BOUNDS))


def test_everybody_else_is_answered_at_once_while_hundreds_attack(service: Service) -> None:
    with service.web_server() as program:
        hostile.prepare(service)
        with Healthy(service.port) as before:
            before.answered(20)
        files, used = open_files(program.pid), memory(program.pid)
        with (
            hostile.attack(service.port, SECONDS, hostile.ALL) as seen,
            Healthy(service.port, SECONDS) as healthy,
        ):
            healthy.wait()
        assert healthy.statuses == {200: len(healthy.times)}
        assert len(healthy.times) > 100
        assert max(healthy.times) < SOON
        assert statistics.median(healthy.times) < 0.1
        assert is_alive(program.pid)
        assert all(seen.tried[kind] >= count for kind, count in hostile.ALL.items())
        assert seen.unconnected == 0
        assert {status for each in seen.answers.values() for status in each} <= ANSWERS
        assert seen.answers["slow_head"]["408"] >= 200
        assert seen.answers["slow_body"]["408"] >= 100
        eventually(lambda: open_files(program.pid) <= files, timeout=15)
        assert memory(program.pid) < used + GROWTH
        assert "Traceback" not in program.output


@pytest.mark.skipif(nginx_path() is None, reason="nginx is not installed")
def test_everybody_else_is_answered_at_once_when_nginx_is_in_front_of_uwsgi(
    service: Service,
) -> None:
    port, folder = free_port(), service.folder / "nginx"
    slow = {"slow_head": 100, "slow_body": 100, "slow_large": 30, "silent": 30, "idle": 30}
    with (
        uwsgi_server(service.environment, service.folder, service.port),
        nginx_in_front(f"http://127.0.0.1:{service.port}", folder, port),
        hostile.attack(port, 4, slow) as seen,
        Healthy(port, 4) as healthy,
    ):
        healthy.wait()
    assert healthy.statuses == {200: len(healthy.times)}
    assert max(healthy.times) < SOON
    assert seen.failures == 0
