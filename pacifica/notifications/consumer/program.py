<<<<<<< HEAD
"""Run one program in a process group of its own, with bounds on its time and output."""
=======
"""Running one program in a process group of its own, with a bound on time and output."""
>>>>>>> main

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
<<<<<<< HEAD
from functools import partial
from pathlib import Path

from pacifica.notifications.consumer.output import KeptOutput
from pacifica.notifications.consumer.processes import (
    GRACE,
    MARK,
    POLL,
    Orphans,
    end_program,
    has_ended,
)
from pacifica.notifications.errors import ConsumerError

#: Called with the mark of a program that has started, by which `end_marked` finds it.
Started = Callable[[str], object]
=======
from pathlib import Path

from pacifica.notifications.consumer import groups
from pacifica.notifications.consumer.errors import ConsumerError
from pacifica.notifications.consumer.output import KeptOutput

#: What is told of a program that has started: its number, and what `end_group` knows it by.
Started = Callable[[int, str], object]
GRACE = 5.0
>>>>>>> main
_MARK_BYTES = 16
# What makes a Python of another environment find this one's modules.
_FOR_THIS_PYTHON = {"PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "__PYVENV_LAUNCHER__"}
if sys.platform == "win32":
    _FLAGS = subprocess.CREATE_NEW_PROCESS_GROUP
else:
    _FLAGS = 0


@dataclass(frozen=True)
class ProgramLimits:
    """What a program may take: seconds, and bytes of output that are kept.

    `grace` is how many seconds it has to end by itself when it is told to.
    """

    seconds: float
    grace: float = GRACE
    log_bytes: int = 2**24


@dataclass(frozen=True)
class Ended:
    """How a program ended, after how many seconds.

    It has a `status` or a `signal` if it ended by itself, or by another's doing; neither if it was
    ended here: `timed_out`, or `stopped`. `limit` is the seconds that it could take.
    """

    status: int | None
    signal: int | None
    timed_out: bool
    seconds: float
    stopped: bool = False
    limit: float = 0.0

    @property
    def reason(self) -> str:
        """Say in a few words how it ended."""
        if self.timed_out:
            return f"took more than {self.limit:g} s"
        if self.signal is not None:
            return f"killed by {_signal_name(self.signal)}"
        return "stopped" if self.status is None else f"exit status {self.status}"


def run(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    log: Path,
    limits: ProgramLimits,
    started: Started | None = None,
    stop: threading.Event | None = None,
<<<<<<< HEAD
    orphans: Orphans | None = None,
=======
>>>>>>> main
) -> Ended:
    """Run a program in a folder until it ends, its time is over, or another thread sets `stop`.

    `environment` is added to this process's own, without what is meant for this process's Python.
    Standard input is empty; standard output and standard error are appended to `log`, up to the
<<<<<<< HEAD
    limit: what comes after it is read and dropped. Whatever the program has started ends with it;
    `orphans` finds what has left its process group and cleared its environment.

    Raises ConsumerError if the program cannot be started, or its log cannot be written.
    """
    mark = secrets.token_hex(_MARK_BYTES)
    began = time.monotonic()
    output = KeptOutput(log, limits.log_bytes)
    start = partial(_started, command, folder, {**environment, MARK: mark}, output)
    process = orphans.launch(mark, start) if orphans else start()
    try:
        if started is not None:
            started(mark)
        cause = _end(process, began + limits.seconds, stop or threading.Event())
    finally:
        end_program(mark, process.pid, limits.grace)
        status = _status(process)
        if orphans:
            orphans.end(process.pid)
=======
    limit: what comes after it is read and dropped. Whatever the program has started and left in its
    process group ends with it. (On Windows only if the program is still there when it is ended.)

    Raises ConsumerError where the program cannot be started, or its log not be written.
    """
    mark = secrets.token_hex(_MARK_BYTES)
    began = time.monotonic()
    process, output = _started(command, folder, {**environment, groups.MARK: mark}, log, limits)
    try:
        if started is not None:
            started(process.pid, groups.identity(process.pid, mark))
        cause = _end(process, began + limits.seconds, stop or threading.Event())
    finally:
        groups.end(process.pid, limits.grace)
        status = _status(process)
>>>>>>> main
        output.finish()
    took = time.monotonic() - began
    return _ended(status, cause, took, limits.seconds)


<<<<<<< HEAD
=======
def end_group(pid: int, started: str, grace: float = GRACE) -> bool:
    """End what an earlier process left of a program; returns whether there was something to end.

    `pid` and `started` are what `run` told of it: a process that has its number by now is left
    alone. Returns when the group is gone, after `grace` seconds and a few more at the latest.
    """
    return groups.end_group(pid, started, grace)


>>>>>>> main
class _Cause(Enum):
    """Why a program is not running any more."""

    ITSELF = auto()
    TIME = auto()
    STOP = auto()


def _started(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
<<<<<<< HEAD
    output: KeptOutput,
) -> subprocess.Popen[bytes]:
=======
    log: Path,
    limits: ProgramLimits,
) -> tuple[subprocess.Popen[bytes], KeptOutput]:
    output = KeptOutput(log, limits.log_bytes)
>>>>>>> main
    inherited = {name: value for name, value in os.environ.items() if name not in _FOR_THIS_PYTHON}
    try:
        process = subprocess.Popen(  # noqa: S603 to run what an archive holds is what this is for
            command,
            cwd=folder,
            env={**inherited, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output.sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            creationflags=_FLAGS,
        )
    except (OSError, ValueError) as error:
        output.finish()
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConsumerError(f"{command[0]} cannot be started: {reason}") from error
    output.release_sink()
<<<<<<< HEAD
    return process
=======
    return process, output
>>>>>>> main


def _end(process: subprocess.Popen[bytes], deadline: float, stop: threading.Event) -> _Cause:
    """Wait for whichever comes first."""
<<<<<<< HEAD
    while not has_ended(process):
        left = deadline - time.monotonic()
        if left <= 0:
            return _Cause.TIME
        if stop.wait(min(POLL, left)):
=======
    while not _has_ended(process):
        left = deadline - time.monotonic()
        if left <= 0:
            return _Cause.TIME
        if stop.wait(min(groups.POLL, left)):
>>>>>>> main
            return _Cause.STOP
    return _Cause.ITSELF


<<<<<<< HEAD
def _status(process: subprocess.Popen[bytes]) -> int | None:
    """Return the exit status; None for what could not be ended, such as a wait for a dead disk."""
    try:
        return process.wait(POLL)
=======
def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    if sys.platform == "win32" or not hasattr(os, "waitid"):
        return process.poll() is not None
    # Without waiting for it: as long as nobody has, nothing else gets its number, or its group's.
    flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
    try:
        return os.waitid(os.P_PID, process.pid, flags) is not None
    except ChildProcessError:
        return True


def _status(process: subprocess.Popen[bytes]) -> int | None:
    """Return the exit status; None for what could not be ended, such as a wait for a dead disk."""
    try:
        return process.wait(groups.POLL)
>>>>>>> main
    except subprocess.TimeoutExpired:
        return None


def _ended(status: int | None, cause: _Cause, took: float, limit: float) -> Ended:
    if cause is not _Cause.ITSELF or status is None:
        return Ended(None, None, cause is _Cause.TIME, took, cause is _Cause.STOP, limit)
    # Windows has large numbers for what POSIX tells by a signal, and no negative ones.
    if status < 0:
        return Ended(None, -status, False, took, limit=limit)
    return Ended(status, None, False, took, limit=limit)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
