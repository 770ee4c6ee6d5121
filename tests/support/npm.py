"""Packages of npm that tests use, installed into a folder that is kept for the next time."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

if sys.platform != "win32":
    import fcntl

VARIABLE = "TEST_OPENAPI_LINTERS"
#: Seconds.
INSTALLING = 300


def installed(name: str, packages: Sequence[str]) -> Path:
    """Return the `node_modules` that has these packages, installed if they are not there yet.

    Each `name` is a folder of its own. Skips the test where they cannot be installed; where CI is
    'true' that is a failure.
    """
    kept, npm = os.environ.get(VARIABLE), shutil.which("npm")
    if not kept or not npm:
        absent = "there is no npm" if kept else f"{VARIABLE} names no folder for packages of npm"
        if os.environ.get("CI") == "true":
            pytest.fail(absent)
        pytest.skip(absent)
    folder = Path(kept) / name
    stamp = folder / "installed.json"
    wanted = json.dumps(packages)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run beside each other
        if not stamp.exists() or stamp.read_text() != wanted:
            options = ("--prefix", folder, "--no-audit", "--no-fund", "--ignore-scripts")
            subprocess.run([npm, "install", *options, *packages], check=True, timeout=INSTALLING)
            stamp.write_text(wanted)
    return folder / "node_modules"
