<<<<<<< HEAD
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
            for orphan in psutil.Process().children():
                if orphan.pid not in self._programs and not self._is_of_another(orphan):
                    with suppress(psutil.Error):
                        orphan.kill()
                    with suppress(ChildProcessError):
                        os.waitpid(orphan.pid, os.WNOHANG)

    def _is_of_another(self, orphan: psutil.Process) -> bool:
        return _environment(orphan).get(MARK) in self._programs.values()


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
=======
"""What the system says of running processes: when one began, and what runs in a group.

Linux says it in /proc, other systems of the Unix kind by `ps`; Windows has no groups, and says when
a process began.
"""

import ctypes
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

# Seconds for a command of the system.
_ANSWERS_WITHIN = 10.0
_PROC = Path("/proc")
_BOOT = _PROC / "sys" / "kernel" / "random" / "boot_id"
_QUERY = 0x1000  # PROCESS_QUERY_LIMITED_INFORMATION


def began(pid: int) -> str:
    """Return when a process began, as no other one that has its number did; "" for none."""
    if sys.platform == "linux":
        ticks = _stat(pid)[19:20]
        return f"{ticks[0]}@{_boot()}" if ticks else ""
    if sys.platform == "win32":
        return _created(pid)
    return _ps("-o", "lstart=", "-p", str(pid)).strip()


def has_members(group: int) -> bool:
    """Tell whether anything of a group runs; what has ended and is not waited for does not."""
    if sys.platform == "linux":
        return bool(_members(group))
    lines = [line.split() for line in _ps("-A", "-o", "pgid=,stat=").splitlines()]
    return any(line[0] == str(group) and line[1][0] != "Z" for line in lines if len(line) > 1)


def has_variable(group: int, assigned: str) -> bool:
    """Tell whether anything of a group has a variable in its environment; only Linux does."""
    return sys.platform == "linux" and any(
        assigned.encode() in _read(pid, "environ").split(b"\0") for pid in _members(group)
    )


def _members(group: int) -> list[int]:
    pids = [int(folder.name) for folder in _PROC.iterdir() if folder.name.isdecimal()]
    stats = {pid: _stat(pid) for pid in pids}
    return [pid for pid, stat in stats.items() if stat[2:3] == [str(group)] and stat[0] not in "ZX"]


def _stat(pid: int) -> list[str]:
    """Return fields 3 (the state; 5 is the group, 22 the start) and on of proc(5); none for none.

    Field 2, the program's name in parentheses, may have any bytes.
    """
    return _read(pid, "stat").rpartition(b")")[2].decode().split()


def _read(pid: int, name: str) -> bytes:
    with suppress(OSError):
        return (_PROC / str(pid) / name).read_bytes()
    return b""


def _boot() -> str:
    """Name the time since the machine was started, from which ticks count."""
    with suppress(OSError):
        return _BOOT.read_text().strip()
    return ""


def _ps(*options: str) -> str:
    with suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(  # noqa: S603 its arguments are numbers, and ours
            ["ps", *options],  # noqa: S607 where it is, PATH says
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ANSWERS_WITHIN,
            check=False,
        ).stdout
    return ""


def _created(pid: int) -> str:
    if sys.platform != "win32":
        return ""
    kernel = ctypes.WinDLL("kernel32")
    time_pointer = ctypes.POINTER(ctypes.c_ulonglong)
    kernel.OpenProcess.restype = ctypes.c_void_p
    kernel.GetProcessTimes.argtypes = [ctypes.c_void_p, *[time_pointer] * 4]
    kernel.CloseHandle.argtypes = [ctypes.c_void_p]
    handle = kernel.OpenProcess(_QUERY, False, pid)
    if not handle:
        return ""
    times = [ctypes.c_ulonglong() for _ in range(4)]
    try:
        pointers = [ctypes.byref(each) for each in times]
        return str(times[0].value) if kernel.GetProcessTimes(handle, *pointers) else ""
    finally:
        kernel.CloseHandle(handle)
>>>>>>> main
