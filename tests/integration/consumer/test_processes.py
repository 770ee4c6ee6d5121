import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pacifica.notifications.consumer import running
from tests.support import archives
from tests.support.servers import eventually

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="asks POSIX what is running")


@pytest.fixture(params=[sys.platform, "another"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Ask as on this system, and as on one that has no /proc."""
    if request.param != "linux" and shutil.which("ps") is None:
        pytest.skip("there is no ps")
    monkeypatch.setattr("pacifica.notifications.consumer.running.sys.platform", request.param)
    return request.param


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a group of its own, which is not waited for before the end."""
    command = [sys.executable, "-S", "-c", archives.HANGS]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL) as process:
        yield process
        process.kill()


@pytest.mark.usefixtures("system")
def test_a_group_has_members_until_all_of_them_have_ended(other: subprocess.Popen[bytes]) -> None:
    assert running.has_members(other.pid)
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # and it stays there, as ended
    assert not running.has_members(other.pid)
    assert other.wait() == -9


@pytest.mark.usefixtures("system")
def test_when_a_process_began_stays_the_same_and_is_nothing_when_there_is_none(
    other: subprocess.Popen[bytes],
) -> None:
    began = running.began(other.pid)
    assert began
    assert running.began(other.pid) == began
    other.kill()
    other.wait()
    assert running.began(other.pid) == ""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says it")
def test_a_group_has_a_variable_when_one_of_its_processes_has_it() -> None:
    command = [sys.executable, "-S", "-c", archives.HANGS]
    with subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, env={"SOME": "mark"}
    ) as process:
        eventually(lambda: running.has_variable(process.pid, "SOME=mark"))
        assert not running.has_variable(process.pid, "SOME=mar")
        process.kill()
