"""Other versions of Python than the one that runs the tests."""

import os
import shutil
import subprocess
import sys
from pathlib import Path


def python(version: str) -> Path:
    """Return a Python of a version such as `3.13`, else the one that runs the tests.

    It is looked for in the PATH and among those that pyenv has installed.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python"))]
    # pyenv puts programs in the PATH also for versions that are not chosen: these fail.
    return next((Path(each) for each in found if each and _is(version, each)), _running())


def _is(version: str, program: str | Path) -> bool:
    ended = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60)
    return ended.stdout.startswith(f"Python {version}.")


def _running() -> Path:
    return Path(sys.executable).resolve()
