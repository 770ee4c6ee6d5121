"""Prepares a consumer's program: its extracted archive and virtual environment."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pacifica.notifications.consumer.archive import (
    INIT,
    REQUIREMENTS,
    ArchiveLimits,
    Extracted,
    extract,
)
from pacifica.notifications.consumer.program import ProgramLimits, run
from pacifica.notifications.consumer.wheel import build_wheel
from pacifica.notifications.errors import ConsumerError

WINDOWS = os.name == "nt"
_FIND_LINKS = "PIP_FIND_LINKS"
_LAST_LINE_WITHIN = 4096
_SHOWN = 300


@dataclass(frozen=True)
class Environment:
    """A virtual environment; each step in it has a time-out, and writes to the log."""

    folder: Path
    seconds: float
    log: Path

    @property
    def bin(self) -> Path:
        """The folder of its programs."""
        return self.folder / ("Scripts" if WINDOWS else "bin")

    @property
    def python(self) -> Path:
        """Its Python interpreter."""
        return self.bin / ("python.exe" if WINDOWS else "python")

    def variables(self) -> dict[str, str]:
        """Return the environment variables that a program in it needs in addition."""
        path = os.environ.get("PATH", os.defpath)
        return {
            "VIRTUAL_ENV": str(self.folder),
            "PATH": f"{self.bin}{os.pathsep}{path}",
            # The output of a killed program must be in its log.
            "PYTHONUNBUFFERED": "1",
        }

    def install(self, requirements: Path, find_links: Path) -> None:
        """Install a requirements file by pip, which also searches `find_links`.

        Otherwise, pip follows the user's configuration. Paths in the file are relative to its
        folder. Raises ConsumerError.
        """
        pip = [str(self.python), "-I", "-m", "pip", "install"]
        options = ["--disable-pip-version-check", "--no-input"]
        files = ["--find-links", _url(find_links), "--requirement", str(requirements.absolute())]
        self._step("pip install", [*pip, *options, *files], requirements.parent)

    def init(self, script: Path, folder: Path, find_links: Path | None = None) -> None:
        """Run a script of the archive in a folder; its pip also searches `find_links`.

        Raises ConsumerError.
        """
        if WINDOWS:
            raise ConsumerError(f"{script.name} needs a POSIX shell, which Windows does not have")
        links = [os.environ.get(_FIND_LINKS, ""), _url(find_links) if find_links else ""]
        more = {_FIND_LINKS: " ".join(filter(None, links))} if any(links) else {}
        self._step(script.name, ["sh", str(script.absolute())], folder, more)

    def _step(
        self, name: str, command: Sequence[str], folder: Path, more: Mapping[str, str] | None = None
    ) -> None:
        before = self.log.stat().st_size if self.log.exists() else 0
        ended = run(
            command,
            folder=folder,
            environment={**self.variables(), **(more or {})},
            log=self.log,
            limits=ProgramLimits(seconds=self.seconds),
        )
        if ended.status != 0:
            said = _last_line(self.log, before)
            raise ConsumerError(f"{name}: {ended.reason}{': ' if said else ''}{said}")


def create(folder: Path, seconds: float, log: Path) -> Environment:
    """Create a virtual environment in a new folder; leave nothing if that fails.

    This empties the log. Like each later step, it raises ConsumerError with the result of the step
    and the last line of its output.
    """
    if folder.exists():
        raise ConsumerError(f"{folder} is there already")
    made = Environment(folder.absolute(), seconds, log)
    try:
        log.unlink(missing_ok=True)
    except OSError as error:
        raise ConsumerError(f"{log} cannot be written: {error.strerror}") from error
    # -P: the current folder may have modules with names of the standard library. virtualenv bundles
    # the packages that it installs, so it needs no package index.
    options = ["--quiet", "--no-download", "--no-periodic-update"]
    command = [sys.executable, "-P", "-m", "virtualenv", *options, str(made.folder)]
    try:
        made._step("virtualenv", command, made.folder.parent)
    except BaseException:
        shutil.rmtree(made.folder, ignore_errors=True)
        raise
    return made


def _last_line(log: Path, start: int) -> str:
    """Return the last non-empty line after `start` bytes, in printable characters."""
    with log.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(start, end - _LAST_LINE_WITHIN))
        text = file.read(_LAST_LINE_WITHIN).decode(errors="replace")
    lines = [line for line in text.splitlines() if line.strip()]
    last = lines[-1].strip() if lines else ""
    return "".join(each if each.isprintable() else " " for each in last[:_SHOWN]).strip()


def _url(folder: Path) -> str:
    # As a URL, because a space in PIP_FIND_LINKS ends a path.
    return folder.absolute().as_uri()


Say = Callable[[str], None]


@contextmanager
def step(say: Say, what: str) -> Iterator[None]:
    """Announce a step, and name it in its error."""
    say(what)
    try:
        yield
    except ConsumerError as error:
        raise ConsumerError(f"could not {what}: {error}") from error


@contextmanager
def extracted(archive: Path, folder: Path, limits: ArchiveLimits, say: Say) -> Iterator[Extracted]:
    """Extract an archive to a folder for the block; raise ConsumerError."""
    try:
        with step(say, "extract the archive"):
            found = extract(archive, folder, limits)
        yield found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def equipped(
    program: Extracted, folder: Path, wheels: Path, seconds: float, log: Path, say: Say
) -> Iterator[Environment]:
    """Create a program's environment in a folder for the block; raise ConsumerError.

    `wheels` is the folder for the module that entry points import. `seconds` is the time-out of
    each step.
    """
    try:
        with step(say, "create the environment"):
            made = create(folder, seconds, log)
            wheels.mkdir(exist_ok=True)
            build_wheel(wheels)
        if program.has_requirements:
            with step(say, "install the requirements"):
                made.install(program.folder / REQUIREMENTS, wheels)
        if program.has_init:
            with step(say, "prepare the environment"):
                made.init(program.folder / INIT, program.folder, wheels)
        yield made
    finally:
        for each in (folder, wheels):
            shutil.rmtree(each, ignore_errors=True)
