"""Find and end the processes of a program, also those that have left its process group.

Each program is started with a mark in its environment, which everything that it starts inherits. A
process that clears its environment and leaves its group, too, is found on Linux as an orphan that
was adopted.
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

#: The environment variable that marks a program and all that it starts.
MARK = "PACIFICA_CONSUMER_PROGRAM"
#: Seconds between two looks at whether something has ended.
POLL = 0.05
#: Seconds that a program has to end by itself when it is told to.
GRACE = 5.0
# Seconds that the system has to end what is killed.
_KILL_TIMEOUT = 5.0
_SET_CHILD_SUBREAPER = 36  # prctl(2)

Find = Callable[[], Sequence[psutil.Process]]
Program = subprocess.Popen[bytes]


def end_marked(variable: str, value: str, grace: float = GRACE) -> bool:
    """End all processes that have a variable in their environment; return whether there were any.

    They are told to end, and killed after `grace` seconds.
    """
    return _end(lambda: _marked(variable, value), grace)


def end_program(mark: str, group: int, grace: float) -> bool:
    """End a program that this process has started and not waited for, with all that it started.

    Until its first process is waited for, no other process group gets the number `group`.
    """
    return _end(lambda: [*_marked(MARK, mark), *_members(group)], grace)


class Orphans:
    """The orphans that this process adopts: what programs have left without their mark.

    Only Linux has orphans adopted. One without a mark belongs to any of the programs that run at
    once, and ends with the first of these.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._programs: dict[int, str] = {}
        self._adopts = sys.platform == "linux"
        if self._adopts:
            ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def launch(self, mark: str, start: Callable[[], Program]) -> Program:
        """Start a program that has a mark, and remember that it is no orphan."""
        with self._lock:
            process = start()
            self._programs[process.pid] = mark
            return process

    def end(self, program: int) -> None:
        """Kill the orphans that no other program has marked, now that one of them has ended."""
        with self._lock:
            mark = self._programs.pop(program, None)
            if mark is None or not self._adopts:
                return
            deadline = time.monotonic() + _KILL_TIMEOUT
            # The children of one that is killed become orphans, too.
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
    """Tell whether a child has ended, without waiting for it where the system can tell."""
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
    if sys.platform == "win32":  # which has no groups
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
    """Tell whether a process runs; what has ended and is not waited for does not."""
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _send(process: psutil.Process, number: int) -> None:
    with suppress(psutil.Error):
        process.send_signal(number)


def _environment(process: psutil.Process) -> dict[str, str]:
    """Return the environment that a process began with; of another user's, nothing."""
    with suppress(psutil.Error, OSError):
        return process.environ()
    return {}
