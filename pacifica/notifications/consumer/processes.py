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
