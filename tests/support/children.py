"""Python programs as real processes that start what they do at the same moment."""

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

TIMEOUT = 60
_PREAMBLE = """
import logging, sys
from pacifica.notifications.orm import DB, OrmSync
from pacifica.notifications.orm.schema import migration_session
logging.basicConfig(level="INFO")

def proceed():
    print("waiting", flush=True)
    sys.stdin.readline()

"""


@contextmanager
def children(*programs: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Start programs and return when each has called `proceed()` once; kills what is left."""
    running: list[subprocess.Popen[str]] = []
    try:
        for program in programs:
            running.append(_start(program))
        for process in running:
            _reached(process)
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate(timeout=TIMEOUT)


def release(processes: Sequence[subprocess.Popen[str]]) -> list[str]:
    """Let waiting programs go on to their end, all successful; returns what they logged."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    logs = [process.communicate(timeout=TIMEOUT)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), logs
    return logs


def _start(program: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _PREAMBLE + program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _reached(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    watchdog = threading.Timer(TIMEOUT, process.kill)
    watchdog.start()
    try:
        line = process.stdout.readline()
    finally:
        watchdog.cancel()
    if line != "waiting\n":
        raise AssertionError(process.communicate(timeout=TIMEOUT)[1])
