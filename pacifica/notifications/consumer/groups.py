"""A program's process group: told from a later one of its number, and ended as a whole."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

from pacifica.notifications.consumer import running

#: The environment variable that marks a program and all that it starts.
MARK = "PACIFICA_CONSUMER_PROGRAM"
#: Seconds between two looks at whether something has ended.
POLL = 0.05
# Seconds that the system has to end what is killed.
_KILLED_WITHIN = 5.0


def identity(pid: int, mark: str) -> str:
    """Return what tells a process, which has a mark in its environment, from a later one."""
    return f"{mark} {running.began(pid)}"


def end_group(pid: int, started: str, grace: float) -> bool:
    """End what an earlier process left: a program's group, if it is still that program's.

    `started` is what `identity` said of it. Returns whether there was something to end. Where only
    what the program has started is left, no other system than Linux says whose that is, and it is
    left alone.
    """
    return _is_same(pid, started) and end(pid, grace)


def end(group: int, grace: float) -> bool:
    """End all of a group: tell it to, and `grace` seconds later kill what is left.

    Returns whether there was anything. Whoever started the group's first process should not have
    waited for it: until then, no other group gets the number.
    """
    if sys.platform == "win32":
        return _end_tree(group)
    was_there = False
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, _KILLED_WITHIN)):
        if not running.has_members(group):
            return was_there
        was_there = True
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)
        deadline = time.monotonic() + patience
        while running.has_members(group) and time.monotonic() < deadline:
            time.sleep(POLL)
    return was_there


def _end_tree(pid: int) -> bool:
    """End a process of Windows, and what it has started; there is no gentle way for all of them."""
    command = ["taskkill", "/T", "/F", "/PID", str(pid)]
    with suppress(OSError, subprocess.TimeoutExpired):
        return not subprocess.run(  # noqa: S603 its one argument is a number
            command, capture_output=True, timeout=_KILLED_WITHIN, check=False
        ).returncode
    return False


def _is_same(pid: int, started: str) -> bool:
    mark, _, began = started.partition(" ")
    if not mark or not began:
        return False
    found = running.began(pid)
    if found:
        return found == began
    # A number whose process is gone may have been another's since: their marks tell.
    return running.has_variable(pid, f"{MARK}={mark}")
