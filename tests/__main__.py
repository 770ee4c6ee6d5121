"""Runs all checks of the project: `python -m tests`; `python -m tests --help` explains them.

A check that fails does not keep the others from running. The exit status is 1 if any failed.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
PYTHON = [sys.executable, "-m"]
#: Most tests wait for the programs that they start: more of them run than there are processors.
PROCESSES, UNIT_PROCESSES = "4", str(os.cpu_count() or 1)
#: Seconds after which a check, or one run of pytest, is stopped and counts as failed.
CHECK_TIMEOUT, TESTS_TIMEOUT = 600, 2400

TIERS = {
    "unit": "functions and objects in one process, without servers",
    "integration": "several parts on SQLite, PostgreSQL and MariaDB; the web server",
    "service": "what only one server does, such as a PostgreSQL that hangs",
    "endtoend": "installed commands as processes, with Redis and RabbitMQ",
    "browser": "the page at /ui in Chromium: by mouse, by keyboard, without scripts, on a phone",
    "faults": "what they run on is killed, stopped and cut off under load",
    "fuzz": "random input, for a short time",
}
CHECKS = {
    "format": [*PYTHON, "ruff", "format", "--check", "."],
    "lint": [*PYTHON, "ruff", "check", "."],
    "types": [*PYTHON, "mypy"],
    "security": [*PYTHON, "bandit", "-q", "-r", "pacifica", "-c", "pyproject.toml"],
    "vulnerabilities": [*PYTHON, "tests.audit"],
    "imports": [shutil.which("lint-imports", path=str(BIN)) or "lint-imports", "--no-cache"],
    "docs": [*PYTHON, "sphinx", "-W", "-n", "-q", "-b", "html", "docs", "docs/_build/html"],
}
COVERAGE = "unit and integration tests, and the lines that they leave untested"
_NOTES = """
Without a name everything but the coverage runs: the checks beside the tests, and last, alone and in
one process, the tests that measure time. A test that needs a server which is absent is skipped with
a reason; with CI=true in the environment it fails. Other options are pytest's: `pytest -k name`.
"""


@dataclass(frozen=True)
class Result:
    """How one check ended, and what it printed."""

    name: str
    passed: bool
    seconds: float
    output: str = ""


def main(arguments: Sequence[str]) -> int:
    """Run the named tiers and checks, or all of them, and say which failed."""
    named = set(_parser().parse_args(arguments).names)
    tiers = [tier for tier in TIERS if tier in named or not named]
    checks = [check for check in CHECKS if check in named or not named]
    with ThreadPoolExecutor(1) as beside:
        checking = [beside.submit(_run, name, CHECKS[name], CHECK_TIMEOUT) for name in checks]
        results = _test(tiers) if tiers else []
        if "coverage" in named:
            results.append(
                _pytest("coverage", ["unit", "integration"], *_parallel(PROCESSES), "--cov")
            )
        results = [*(each.result() for each in checking), *results]
    for each in results:
        print(each.output, end="")
    for each in results:
        print(f"{'ok' if each.passed else 'FAILED':<7} {each.seconds:5.0f} s  {each.name}")
    failed = [each.name for each in results if not each.passed]
    print(f"failed: {', '.join(failed)}" if failed else "all checks passed")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    names = {**TIERS, **{name: " ".join(command[2:5]) for name, command in CHECKS.items()}}
    names["imports"], names["coverage"] = "the direction of imports", COVERAGE
    listed = "\n".join(f"  {name:<16} {meaning}" for name, meaning in names.items())
    parser = argparse.ArgumentParser(
        "python -m tests",
        description="Run the checks of this project.",
        epilog=f"names:\n{listed}\n{_NOTES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*names, []], help="see below")
    return parser


def _test(tiers: Sequence[str]) -> list[Result]:
    if tiers == ["unit"]:  # they start nothing, and measure no time
        return [_pytest("unit", tiers, *_parallel(UNIT_PROCESSES))]
    parallel = _pytest(" ".join(tiers), tiers, *_parallel(PROCESSES), "-m", "not timing")
    return [parallel, _pytest("timing", tiers, "-m", "timing")]


def _parallel(processes: str) -> list[str]:
    """Keep neighbours together, and with them what they share; who has none left takes others."""
    return ["-n", processes, "--dist", "worksteal"]


def _pytest(name: str, tiers: Sequence[str], *options: str) -> Result:
    """Run tests, which print as they go; to have found none is no failure."""
    folders = [f"tests/{tier}" for tier in tiers]
    command = [*PYTHON, "pytest", "-rs", "-q", *options, *folders]
    return _run(name, command, TESTS_TIMEOUT, passing=(0, 5), shown=True)


def _run(
    name: str,
    command: Sequence[str],
    timeout: float,
    *,
    passing: Sequence[int] = (0,),
    shown: bool = False,
) -> Result:
    """Run a command, and end it with all that it started where it takes too long."""
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=_environment(),
            stdout=None if shown else output,
            stderr=None if shown else subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            status = process.wait()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        output.seek(0)
        seconds = time.monotonic() - started
        passed = status in passing
        return Result(name, passed, seconds, "" if passed else f"==> {name}\n{output.read()}")


def _environment() -> dict[str, str]:
    """Give what checks are told: hundreds of processes start, and each would compile it all."""
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**inherited, "PYTHONPATH": str(ROOT)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
