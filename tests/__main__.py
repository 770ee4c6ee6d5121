"""All checks of the project, one after another: `python -m tests`.

A check that fails does not keep the others from running; the exit status is 1 if any failed.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
PYTHON = [sys.executable, "-m"]

CHECKS = {
    "format": [*PYTHON, "ruff", "format", "--check", "."],
    "lint": [*PYTHON, "ruff", "check", "."],
    "types": [*PYTHON, "mypy"],
    "security": [*PYTHON, "bandit", "-q", "-r", "pacifica", "-c", "pyproject.toml"],
    "vulnerabilities": [*PYTHON, "tests.audit"],
    "imports": [shutil.which("lint-imports", path=str(BIN)) or "lint-imports", "--no-cache"],
    "docs": [*PYTHON, "sphinx", "-W", "-n", "-q", "-b", "html", "docs", "docs/_build/html"],
    "tests": [*PYTHON, "pytest", "-rs", "--cov", "--cov-report=term:skip-covered"],
}


def main() -> int:
    """Run every check and say which failed."""
    failed = []
    for name, command in CHECKS.items():
        print(f"==> {name}: {' '.join(Path(part).name for part in command[1:])}", flush=True)
        began = time.monotonic()
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        print(
            f"==> {name}: {'ok' if status == 0 else 'FAILED'} in {time.monotonic() - began:.0f} s"
        )
        if status != 0:
            failed.append(name)
    print("all checks passed" if not failed else f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
