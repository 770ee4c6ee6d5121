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

from pacifica.notifications.consumer.processes import MARK, Orphans, end_marked
from pacifica.notifications.consumer.program import Ended, ProgramLimits, run
from pacifica.notifications.errors import ConsumerError
from tests.support import archives
from tests.support.processes import is_alive
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
        self.marks: list[str] = []
        self.orphans: Orphans | None = None

    def run(
        self, program: str, limits: ProgramLimits = LIMITS, stop: threading.Event | None = None
    ) -> Ended:
        return run(
            [sys.executable, "-c", program],
            folder=self.folder,
            environment={"OWN": "value"},
            log=self.log,
            limits=limits,
            started=self.marks.append,
            stop=stop,
            orphans=self.orphans,
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
    assert not end_marked(MARK, place.marks[0])


def test_run_kills_a_program_when_it_does_not_end_in_its_grace(place: Place) -> None:
    ended = place.run(archives.STUBBORN, HASTY)
    assert ended.timed_out
    assert not end_marked(MARK, place.marks[0])


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


#: Starts a process in a session of its own, which prints its number and ignores SIGTERM; a second
#: fork makes it an orphan. CLEARED is whether it clears its environment.
DAEMON = """
import os, signal, sys, time
CHILD = '''
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.getpid(), flush=True)
time.sleep(60)
'''
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        environment = {} if CLEARED else os.environ
        os.execve(sys.executable, [sys.executable, "-S", "-c", CHILD], environment)
    os._exit(0)
while open(sys.argv[1]).read() == "":
    time.sleep(0.01)
"""


def daemon(place: Place, *, cleared: bool) -> str:
    """Return a program that starts a daemon, and goes on until the daemon has printed."""
    argument = f"import sys; sys.argv.append({str(place.log)!r}); CLEARED = {cleared}\n"
    return argument + DAEMON


def test_run_ends_a_daemon_that_left_the_process_group(place: Place) -> None:
    ended = place.run(daemon(place, cleared=False), ProgramLimits(seconds=20, grace=0.1))
    assert (ended.status, ended.seconds < 10) == (0, True)
    assert not is_alive(int(place.output))


def test_run_ends_a_daemon_that_also_cleared_its_environment(tmp_path: Path) -> None:
    # In a process of its own, which then adopts orphans.
    command = [sys.executable, "-c", ADOPTER, str(tmp_path), daemon(Place(tmp_path), cleared=True)]
    subprocess.run(command, check=True, timeout=90, cwd=Path(__file__).parents[3])
    assert not is_alive(int(Place(tmp_path).output))


def test_run_leaves_the_orphan_of_another_program_that_is_still_running(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        TWO_PROGRAMS,
        str(tmp_path),
        daemon(Place(tmp_path), cleared=False),
    ]
    subprocess.run(command, check=True, timeout=90, cwd=Path(__file__).parents[3])


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
    assert place.marks == []


def test_run_ends_the_program_when_its_start_cannot_be_noted(place: Place) -> None:
    marks = []

    def note(mark: str) -> None:
        marks.append(mark)
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
    assert not end_marked(MARK, marks[0])


def test_run_leaves_no_open_file_when_it_has_ended(place: Place) -> None:
    place.run("print('first')")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        place.run("print('again')")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


ADOPTER = """
import sys
from pathlib import Path
from pacifica.notifications.consumer.processes import Orphans
from pacifica.notifications.consumer.program import ProgramLimits, run
folder = Path(sys.argv[1])
run(
    [sys.executable, "-c", sys.argv[2]], folder=folder, environment={}, log=folder / "output.log",
    limits=ProgramLimits(seconds=60), orphans=Orphans(),
)
"""
TWO_PROGRAMS = """
import os, sys, threading, time
from pathlib import Path
from pacifica.notifications.consumer.processes import Orphans
from pacifica.notifications.consumer.program import ProgramLimits, run
folder, orphans = Path(sys.argv[1]), Orphans()
def start(program, stop, name):
    run([sys.executable, "-c", program], folder=folder, environment={}, log=folder / name,
        limits=ProgramLimits(seconds=60, grace=0.1), stop=stop, orphans=orphans)
stop, daemon = threading.Event(), sys.argv[2] + "\\nprint('up', flush=True); time.sleep(60)"
first = threading.Thread(target=start, args=(daemon, stop, "output.log"))
first.start()
while "up" not in ((folder / "output.log").read_text() if (folder / "output.log").exists() else ""):
    time.sleep(0.01)
number = int((folder / "output.log").read_text().split()[0])
start("print('second')", threading.Event(), "second.log")
os.kill(number, 0)  # raises if it has ended
stop.set()
first.join()
"""
OTHER = """
import sys
from pathlib import Path
from pacifica.notifications.consumer.program import ProgramLimits, run
folder = Path(sys.argv[1])
run(
    [sys.executable, "-c", sys.argv[2]], folder=folder, environment={}, log=folder / "output.log",
    limits=ProgramLimits(seconds=60),
    started=(folder / "mark").write_text,
)
"""


def left_by_a_killed_process(place: Place, program: str) -> str:
    """Return the mark of a program whose parent was killed."""
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", OTHER, str(place.folder), program]
    with subprocess.Popen(command, cwd=root) as other:
        eventually(place.says("waiting"), 20)
        other.kill()
    return (place.folder / "mark").read_text()


PRINTS_PARENT = "import os; print(os.getpid(), flush=True)\n"


def test_end_marked_ends_what_a_killed_process_left(place: Place) -> None:
    program = PRINTS_PARENT + archives.LEAVES_CHILDREN + archives.HANGS
    mark = left_by_a_killed_process(place, program)
    parent, child = (int(line) for line in place.output.split()[:2])
    assert is_alive(parent)
    assert is_alive(child)
    assert end_marked(MARK, mark)
    assert not is_alive(parent)
    assert not is_alive(child)
    assert not end_marked(MARK, mark)


def test_end_marked_ends_the_children_when_the_program_itself_is_gone(place: Place) -> None:
    program = PRINTS_PARENT + archives.LEAVES_CHILDREN + archives.HANGS
    mark = left_by_a_killed_process(place, program)
    parent, child = (int(line) for line in place.output.split()[:2])
    os.kill(parent, signal.SIGKILL)
    eventually(lambda: not is_alive(parent))
    assert end_marked(MARK, mark)
    eventually(lambda: not is_alive(child))


def test_end_marked_leaves_a_process_alone_when_its_mark_is_another(place: Place) -> None:
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(place.run, archives.HANGS)
        eventually(place.says("waiting"))
        for mark in ("", place.marks[0][:-1], place.marks[0] + "0"):
            assert not end_marked(MARK, mark)
        began = time.monotonic()
        assert end_marked(MARK, place.marks[0])
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
