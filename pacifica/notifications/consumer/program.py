"""Run one program in a process group of its own, with bounds on its time and output."""

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
    orphans: Orphans | None = None,
) -> Ended:
    """Run a program in a folder until it ends, its time is over, or another thread sets `stop`.

    `environment` is added to this process's own, without what is meant for this process's Python.
    Standard input is empty; standard output and standard error are appended to `log`, up to the
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
        output.finish()
    took = time.monotonic() - began
    return _ended(status, cause, took, limits.seconds)


class _Cause(Enum):
    """Why a program is not running any more."""

    ITSELF = auto()
    TIME = auto()
    STOP = auto()


def _started(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    output: KeptOutput,
) -> subprocess.Popen[bytes]:
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
    return process


def _end(process: subprocess.Popen[bytes], deadline: float, stop: threading.Event) -> _Cause:
    """Wait for whichever comes first."""
    while not has_ended(process):
        left = deadline - time.monotonic()
        if left <= 0:
            return _Cause.TIME
        if stop.wait(min(POLL, left)):
            return _Cause.STOP
    return _Cause.ITSELF


def _status(process: subprocess.Popen[bytes]) -> int | None:
    """Return the exit status; None for what could not be ended, such as a wait for a dead disk."""
    try:
        return process.wait(POLL)
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
