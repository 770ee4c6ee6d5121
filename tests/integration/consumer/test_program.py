import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pacifica.notifications.consumer import groups
from pacifica.notifications.consumer.errors import ConsumerError
from pacifica.notifications.consumer.programs import Ended, ProgramLimits, end_group, run
from tests.support import archives
from tests.support.processes import group_is_alive, is_alive
from tests.support.servers import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc what is running")
LIMITS = ProgramLimits(seconds=20, grace=5, log_bytes=100_000)
BRIEF = ProgramLimits(seconds=0.5, grace=5)
HASTY = ProgramLimits(seconds=0.5, grace=0.1)


class Place:
    """A folder to run Python programs in, one after another or at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "output.log"
        self.told: list[tuple[int, str]] = []

    def run(
        self, program: str, limits: ProgramLimits = LIMITS, stop: threading.Event | None = None
    ) -> Ended:
        return run(
            [sys.executable, "-c", program],
            folder=self.folder,
            environment={"OWN": "value"},
            log=self.log,
            limits=limits,
            started=lambda pid, started: self.told.append((pid, started)),
            stop=stop,
        )

    @property
    def output(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def says(self, text: str) -> Callable[[], bool]:
        return lambda: text in self.output


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_run_gives_status_zero_when_the_program_succeeds(place: Place) -> None:
    ended = place.run("print('done')")
    assert (ended.status, ended.signal, ended.timed_out) == (0, None, False)
    assert ended.reason == "exit status 0"
    assert 0 < ended.seconds < LIMITS.seconds
    assert place.output == "done\n"
    assert place.log.stat().st_mode & 0o777 == 0o600


def test_run_gives_the_exit_status_when_the_program_fails(place: Place) -> None:
    ended = place.run(archives.FAILS)
    assert (ended.status, ended.reason) == (3, "exit status 3")
    assert place.output == "nothing to work on\n"


def test_run_gives_the_signal_when_the_program_is_killed(place: Place) -> None:
    ended = place.run(archives.IS_KILLED)
    assert (ended.status, ended.signal) == (None, signal.SIGKILL)
    assert ended.reason == "killed by SIGKILL"


def test_run_ends_a_program_when_its_time_is_over(place: Place) -> None:
    ended = place.run(archives.HANGS, BRIEF)
    assert (ended.status, ended.signal, ended.timed_out) == (None, None, True)
    assert ended.reason == "took more than 0.5 s"
    assert 0.5 <= ended.seconds < 4  # told to end, it did not need to be killed
    assert not is_alive(place.told[0][0])


def test_run_kills_a_program_when_it_does_not_end_in_its_grace(place: Place) -> None:
    ended = place.run(archives.STUBBORN, HASTY)
    assert ended.timed_out
    assert not group_is_alive(place.told[0][0])


def test_a_program_failed_when_it_ends_well_after_its_time(place: Place) -> None:
    program = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('saved'), sys.exit(0)))\n"
        "time.sleep(600)"
    )
    ended = place.run(program, BRIEF)
    assert (ended.status, ended.timed_out) == (None, True)
    assert place.output == "saved\n"


def test_run_ends_a_program_when_another_thread_says_so(place: Place) -> None:
    stop = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(place.run, archives.HANGS, stop=stop)
        eventually(place.says("waiting"))
        stop.set()
        ended = running.result(10)
    assert (ended.status, ended.stopped, ended.reason) == (None, True, "stopped")


def test_run_ends_what_a_program_left_behind(place: Place) -> None:
    ended = place.run(archives.LEAVES_CHILDREN)
    assert ended.status == 0
    assert ended.seconds < LIMITS.seconds
    assert not is_alive(int(place.output))


def test_run_ends_the_children_too_when_a_program_s_time_is_over(place: Place) -> None:
    assert place.run(archives.LEAVES_CHILDREN + "child.wait()", BRIEF).timed_out
    assert not is_alive(int(place.output))


def test_run_does_not_wait_for_what_left_the_group_with_the_output(place: Place) -> None:
    program = archives.LEAVES_CHILDREN.replace("])", "], start_new_session=True)")
    ended = place.run(program)
    child = int(place.output)
    assert is_alive(child)
    os.kill(child, signal.SIGKILL)
    assert (ended.status, ended.seconds < 10) == (0, True)


def test_run_does_not_wait_when_what_left_the_group_writes_without_end(place: Place) -> None:
    # It ends when nobody reads what it writes.
    writer = "import sys\nwhile True: sys.stdout.write('x' * 1000)"
    program = (
        "import subprocess, sys\n"
        f"subprocess.Popen([sys.executable, '-c', {writer!r}], start_new_session=True)"
    )
    ended = place.run(program)
    assert (ended.status, ended.seconds < 10) == (0, True)
    assert place.log.stat().st_size < LIMITS.log_bytes + 200


def test_run_keeps_no_more_output_than_the_limit_when_a_program_floods_it(place: Place) -> None:
    ended = place.run(archives.FLOODS)
    assert ended.status == 0
    assert place.log.stat().st_size < LIMITS.log_bytes + 200
    assert place.output.splitlines()[-1] == (
        "[the output went on: of 8000000 bytes 100000 are kept]"
    )


def test_a_program_goes_on_when_its_output_cannot_be_kept(place: Place) -> None:
    place.log = Path("/dev/full")
    assert place.run(archives.FLOODS).status == 0


def test_the_output_is_whole_when_it_is_as_long_as_the_limit(place: Place) -> None:
    place.run("print('x' * 99_999)")
    assert place.output == "x" * 99_999 + "\n"


def test_the_output_can_be_read_while_the_program_runs_and_is_appended(place: Place) -> None:
    place.log.write_text("before\n")
    stop = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(place.run, archives.HANGS, stop=stop)
        eventually(lambda: place.output == "before\nwaiting\n")
        assert not running.done()
        stop.set()


def test_a_program_has_no_input_and_its_own_variables_beside_ours(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INHERITED", "too")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    place.run(
        "import os, sys; e = os.environ; print(sys.stdin.read() == '', os.getcwd(), e['OWN'],"
        "e['INHERITED'], 'PYTHONPATH' in e, os.getpgid(0) == os.getpid())"
    )
    assert place.output == f"True {place.folder.resolve()} value too False True\n"


def test_many_programs_run_at_once_and_each_gets_its_own_end(tmp_path: Path) -> None:
    places = [Place(tmp_path / str(number)) for number in range(12)]
    for each in places:
        each.folder.mkdir()
    with ThreadPoolExecutor(len(places)) as threads:
        ends = threads.map(
            lambda pair: pair[1].run(f"import sys; print({pair[0]}); sys.exit({pair[0]})"),
            enumerate(places),
        )
        assert [ended.status for ended in ends] == list(range(12))
    assert [each.output for each in places] == [f"{number}\n" for number in range(12)]


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["/nowhere/python"], "/nowhere/python cannot be started: No such file or directory"),
        ([sys.executable, "a\0b"], f"{sys.executable} cannot be started: embedded null byte"),
    ],
)
def test_run_says_why_when_a_program_cannot_be_started(
    tmp_path: Path, command: list[str], reason: str
) -> None:
    with pytest.raises(ConsumerError) as refused:
        run(command, folder=tmp_path, environment={}, log=tmp_path / "log", limits=LIMITS)
    assert str(refused.value) == reason


def test_run_starts_nothing_when_the_log_cannot_be_written(place: Place) -> None:
    place.log.mkdir()
    with pytest.raises(ConsumerError, match=r"output\.log cannot be written: Is a directory"):
        place.run(archives.HANGS)
    assert place.told == []


def test_run_ends_the_program_when_its_start_cannot_be_noted(place: Place) -> None:
    pids = []

    def note(pid: int, _started: str) -> None:
        pids.append(pid)
        raise OSError("the disk is full")

    command = [sys.executable, "-c", archives.HANGS]
    with pytest.raises(OSError, match="the disk is full"):
        run(
            command,
            folder=place.folder,
            environment={},
            log=place.log,
            limits=LIMITS,
            started=note,
        )
    assert not group_is_alive(pids[0])


def test_run_leaves_no_open_file_when_it_has_ended(place: Place) -> None:
    place.run("print('first')")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        place.run("print('again')")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


OTHER = """
import sys
from pathlib import Path
from pacifica.notifications.consumer.programs import ProgramLimits, run
folder = Path(sys.argv[1])
run(
    [sys.executable, "-c", sys.argv[2]], folder=folder, environment={}, log=folder / "output.log",
    limits=ProgramLimits(seconds=60),
    started=lambda pid, started: (folder / "told").write_text(f"{pid} {started}"),
)
"""


def left_by_a_killed_process(
    place: Place, program: str, sign: Callable[[], bool]
) -> tuple[int, str]:
    """Return what a process was told of its program before it was killed."""
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", OTHER, str(place.folder), program]
    with subprocess.Popen(command, cwd=root) as other:
        eventually(sign, 20)
        other.kill()
    pid, _, started = (place.folder / "told").read_text().partition(" ")
    return int(pid), started


def test_end_group_ends_what_a_killed_process_left(place: Place) -> None:
    program = archives.LEAVES_CHILDREN + archives.HANGS
    pid, started = left_by_a_killed_process(place, program, place.says("waiting"))
    child = int(place.output.split()[0])
    assert is_alive(pid)
    assert is_alive(child)
    assert end_group(pid, started)
    assert not is_alive(pid)
    assert not is_alive(child)
    assert not end_group(pid, started)


def test_end_group_ends_the_children_when_the_program_itself_is_gone(place: Place) -> None:
    program = archives.LEAVES_CHILDREN + archives.HANGS
    pid, started = left_by_a_killed_process(place, program, place.says("waiting"))
    child = int(place.output.split()[0])
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not Path("/proc", str(pid)).exists() or not is_alive(pid))
    assert end_group(pid, started)
    eventually(lambda: not is_alive(child))


def test_end_group_leaves_a_process_alone_when_only_its_number_is_the_same() -> None:
    command = [sys.executable, "-c", archives.HANGS]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL) as other:
        mark, _, began = groups.identity(other.pid, "0" * 32).partition(" ")
        assert began
        for started in ("", mark, f"{mark} ", f"{mark} 1{began}", "nonsense"):
            assert not end_group(other.pid, started), started
        assert other.poll() is None
        assert end_group(other.pid, f"{mark} {began}")
        assert other.wait(5) == -signal.SIGTERM


def test_end_group_ends_a_program_of_this_process_from_another_thread(place: Place) -> None:
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(place.run, archives.HANGS)
        eventually(place.says("waiting"))
        began = time.monotonic()
        assert end_group(*place.told[0])
        ended = running.result(10)
    assert ended.reason == "killed by SIGTERM"
    assert time.monotonic() - began < 4


@pytest.mark.parametrize(
    ("ended", "reason"),
    [
        (Ended(None, 9, False, 1.0), "killed by SIGKILL"),
        (Ended(None, 77, False, 1.0), "killed by signal 77"),
        (Ended(None, None, True, 61.0, limit=60.0), "took more than 60 s"),
        (Ended(None, None, False, 1.0, stopped=True), "stopped"),
        (Ended(3221225477, None, False, 1.0), "exit status 3221225477"),
    ],
)
def test_the_reason_says_how_a_program_ended(ended: Ended, reason: str) -> None:
    assert ended.reason == reason
