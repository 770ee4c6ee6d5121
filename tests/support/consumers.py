"""The module of entry points as pip installs it, and the example of the documentation."""

import subprocess
import sys
from pathlib import Path

from pacifica.notifications.consumer.wheel import build_wheel

EXAMPLE = Path(__file__).parents[2] / "docs" / "consumers" / "example"
TIMEOUT = 60


def installed(folder: Path) -> Path:
    """Install the module by its name, from the wheel alone, and return what to import it from."""
    wheels, modules = folder / "wheels", folder / "modules"
    build_wheel(wheels)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    command += ["--disable-pip-version-check", "--find-links", str(wheels)]
    command += ["--target", str(modules), "pacifica-notifications-consumer"]
    subprocess.run(command, check=True, timeout=TIMEOUT)
    return modules
