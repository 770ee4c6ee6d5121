"""The web server as systemd runs it, with its socket and its watchdog."""

import signal
from pathlib import Path

from tests.support.notified import NotifySocket
from tests.support.processes import web_server
from tests.support.servers import free_port


def test_web_server_says_when_it_is_ready_works_and_stops(
    prepared: dict[str, str], tmp_path: Path
) -> None:
    with NotifySocket(watchdog=0.5) as systemd:
        told = {**prepared, **systemd.environment}
        with web_server(told, tmp_path, free_port()) as program:
            assert set(systemd.wait_for("READY=1")) <= {"WATCHDOG=1"}
            assert {systemd.next() for _ in range(3)} == {"WATCHDOG=1"}
            program.signal(signal.SIGTERM)
            assert set(systemd.wait_for("STOPPING=1")) <= {"WATCHDOG=1"}
            assert program.wait() == 0
