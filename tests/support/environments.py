"""Environments of their own, for programs that need other libraries than the tests do."""

import os
import subprocess
import sys
from pathlib import Path

#: Seconds.
INSTALLING = 600
#: Keeps programs from what the environment of all checks leads to: this project.
ELSEWHERE = {"PYTHONPATH": ""}


def install(folder: Path, *runs: tuple[str, ...]) -> Path:
    """Make an environment, run pip once with each of the arguments; return where programs are."""
    programs = folder / "bin"
    # What is not imported need not be compiled.
    pip = [programs / "python", "-m", "pip", "install", "--quiet", "--no-compile"]
    commands = [[*pip, *arguments] for arguments in runs]
    for command in ([sys.executable, "-m", "virtualenv", "--quiet", folder], *commands):
        environment = {**os.environ, **ELSEWHERE}
        subprocess.run(command, check=True, timeout=INSTALLING, env=environment)
    return programs
