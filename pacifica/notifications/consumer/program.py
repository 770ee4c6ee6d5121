"""Runs a program in its own process group, with limits on its time and output."""

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

#: A function that is called with the mark of a started program, for `end_marked`.
Started = Callable[[str], object]
_MARK_BYTES = 16
# Variables that would make the Python of another environment use this one's modules.
_FOR_THIS_PYTHON = {"PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "__PYVENV_LAUNCHER__"}
if sys.platform == "win32":
    _FLAGS = subprocess.CREATE_NEW_PROCESS_GROUP
else:
    _FLAGS = 0


@dataclass(frozen=True)
class ProgramLimits:
    """The limits of a program: its time in seconds, and the bytes of output to keep.

    `grace` is how many seconds it has to end by itself after it is told to.
    """

    seconds: float
    grace: float = GRACE
    log_bytes: int = 2**24


@dataclass(frozen=True)
class Ended:
    """How a program ended, and after how many seconds.

    It has a `status` or a `signal` unless this module ended it; then it is `timed_out` or
    `stopped`. `limit` is its time limit in seconds.
    """

    status: int | None
    signal: int | None
    timed_out: bool
    seconds: float
    stopped: bool = False
    limit: float = 0.0

    @property
    def reason(self) -> str:
        """A short description of how it ended."""
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
    """Run a program until it ends, its time is over, or another thread sets `stop`.

    `environment` is added to this process's own, except variables for this process's Python.
    Standard input is empty. Standard output and standard error are appended to `log` up to the
    limit; further output is read and dropped. The program's child processes end with it; `orphans`
    finds those that have left its process group and cleared their environment.

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
    """Why a program ended."""

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
        process = subprocess.Popen(  # noqa: S603 the purpose is to run an archive's program
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
    """Wait until the program ends, the deadline passes, or `stop` is set."""
    while not has_ended(process):
        left = deadline - time.monotonic()
        if left <= 0:
            return _Cause.TIME
        if stop.wait(min(POLL, left)):
            return _Cause.STOP
    return _Cause.ITSELF


def _status(process: subprocess.Popen[bytes]) -> int | None:
    """Return the exit status; None if the process cannot end, such as on a dead disk."""
    try:
        return process.wait(POLL)
    except subprocess.TimeoutExpired:
        return None


def _ended(status: int | None, cause: _Cause, took: float, limit: float) -> Ended:
    if cause is not _Cause.ITSELF or status is None:
        return Ended(None, None, cause is _Cause.TIME, took, cause is _Cause.STOP, limit)
    # A negative status is a POSIX signal; Windows uses large numbers instead.
    if status < 0:
        return Ended(None, -status, False, took, limit=limit)
    return Ended(status, None, False, took, limit=limit)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
