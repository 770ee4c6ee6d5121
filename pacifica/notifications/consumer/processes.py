"""Finds and ends the processes of a program, even outside its process group.

Each program is started with a mark in its environment, which its child processes inherit. A process
that clears its environment and also leaves its group is found on Linux as an adopted orphan.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import psutil

#: The environment variable that marks a program and its child processes.
MARK = "PACIFICA_CONSUMER_PROGRAM"
#: Seconds between two checks whether a process has ended.
POLL = 0.05
#: Seconds that a program has to end by itself after it is told to.
GRACE = 5.0
# Seconds that the system has to end killed processes.
_KILL_TIMEOUT = 5.0
_SET_CHILD_SUBREAPER = 36  # prctl(2)

Find = Callable[[], Sequence[psutil.Process]]
Program = subprocess.Popen[bytes]


def end_marked(variable: str, value: str, grace: float = GRACE) -> bool:
    """End all processes with an environment variable; return whether there were any.

    They are told to end, and killed after `grace` seconds.
    """
    return _end(lambda: _marked(variable, value), grace)


def end_program(mark: str, group: int, grace: float) -> bool:
    """End a program that this process started, and the program's children.

    The program must not have been waited for, so that no other process group has the id `group`.
    """
    return _end(lambda: [*_marked(MARK, mark), *_members(group)], grace)


class Orphans:
    """The orphans that this process adopts: unmarked processes that programs left.

    Only Linux supports this. An unmarked orphan could belong to any of the programs that run at the
    same time, and is killed when the first of them ends.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._programs: dict[int, str] = {}
        self._adopts = sys.platform == "linux"
        if self._adopts:
            ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def launch(self, mark: str, start: Callable[[], Program]) -> Program:
        """Start a marked program, and remember that it is not an orphan."""
        with self._lock:
            process = start()
            self._programs[process.pid] = mark
            return process

    def end(self, program: int) -> None:
        """Forget an ended program, and kill the orphans that no other program marked."""
        with self._lock:
            mark = self._programs.pop(program, None)
            if mark is None or not self._adopts:
                return
            deadline = time.monotonic() + _KILL_TIMEOUT
            # The children of a killed process become orphans, too.
            while (orphans := self._unmarked()) and time.monotonic() < deadline:
                for orphan in orphans:
                    with suppress(psutil.Error):
                        orphan.kill()
                    with suppress(ChildProcessError):
                        os.waitpid(orphan.pid, os.WNOHANG)

    def _unmarked(self) -> list[psutil.Process]:
        others = self._programs.values()
        return [
            child
            for child in psutil.Process().children()
            if child.pid not in self._programs and _environment(child).get(MARK) not in others
        ]


def has_ended(process: Program) -> bool:
    """Return whether a child has ended; do not reap it if the system supports that."""
    if sys.platform == "win32" or not hasattr(os, "waitid"):
        return process.poll() is not None
    flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
    try:
        return os.waitid(os.P_PID, process.pid, flags) is not None
    except ChildProcessError:
        return True


def _end(find: Find, grace: float) -> bool:
    found = find()
    if not found:
        return False
    for process in found:
        _send(process, signal.SIGTERM)
    _await_end(found, grace)
    deadline = time.monotonic() + _KILL_TIMEOUT
    while (left := find()) and time.monotonic() < deadline:
        for process in left:
            _send(process, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
        _await_end(left, POLL)
    return True


def _await_end(processes: Sequence[psutil.Process], timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while any(_runs(each) for each in processes) and time.monotonic() < deadline:
        time.sleep(POLL)


def _marked(variable: str, value: str) -> list[psutil.Process]:
    return _others(lambda process: _environment(process).get(variable) == value)


def _members(group: int) -> list[psutil.Process]:
    if sys.platform == "win32":  # Windows has no process groups
        with suppress(psutil.Error):
            program = psutil.Process(group)
            return [*program.children(recursive=True), program]
        return []
    return _others(lambda process: os.getpgid(process.pid) == group)


def _others(is_wanted: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError, PermissionError):
            if process.pid != os.getpid() and is_wanted(process) and _runs(process):
                found.append(process)
    return found


def _runs(process: psutil.Process) -> bool:
    """Return whether a process is running; a zombie is not."""
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _send(process: psutil.Process, number: int) -> None:
    with suppress(psutil.Error):
        process.send_signal(number)


def _environment(process: psutil.Process) -> dict[str, str]:
    """Return the environment that a process started with; empty if inaccessible."""
    with suppress(psutil.Error, OSError):
        return process.environ()
    return {}
