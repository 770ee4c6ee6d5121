"""The thread of a transport, also where it fails or the process forks."""

import logging
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pycurl
import pytest

from pacifica.notifications.transport import SendFailure, Transport
from tests.support.servers import RecordingServer
from tests.support.transports import TIMEOUT, answer, post


def test_thread_starts_with_the_first_request_only() -> None:
    with Transport():
        assert "transport" not in [thread.name for thread in threading.enumerate()]


def test_pending_requests_get_no_answer_of_ours_when_the_thread_fails(
    target: RecordingServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(pycurl.CurlMulti):
        def socket_action(self, *_: Any) -> Any:
            raise RuntimeError("as nobody expects")

    with Transport() as transport:
        with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
            patch.setattr(pycurl, "CurlMulti", Failing)
            futures = [transport.submit(post(target.url)) for _ in range(20)]
            outcomes = {future.result(TIMEOUT) for future in futures}
        assert outcomes == {SendFailure("transport failed", 0.0, ours=True)}
        assert "as nobody expects" in caplog.text
        assert answer(transport, post(target.url)).status == 200


FORK = """
import os, sys
from pacifica.notifications.transport import Response, Request, Transport

def sent(transport, path):
    outcome = transport.submit(Request("POST", sys.argv[1] + path, ())).result(5)
    return isinstance(outcome, Response) and outcome.status == 200

with Transport() as transport:
    assert sent(transport, "/before")
    child = os.fork()
    if not child:
        done = sent(transport, "/child") and sent(transport, "/child")
        transport.close(1)
        os._exit(0 if done else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0, status
    assert sent(transport, "/after")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_submit_works_in_parent_and_child_when_the_process_forks(target: RecordingServer) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK, target.url],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [received.path for received in target.requests] == [
        "/before",
        "/child",
        "/child",
        "/after",
    ]
    assert target.connections == 2
