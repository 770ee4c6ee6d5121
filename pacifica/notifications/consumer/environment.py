"""Prepare a consumer's program: its extracted archive and its virtual environment."""

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
    """A virtual environment; each step in it may take some seconds, and writes to the log."""

    folder: Path
    seconds: float
    log: Path

    @property
    def bin(self) -> Path:
        """Where its programs are."""
        return self.folder / ("Scripts" if WINDOWS else "bin")

    @property
    def python(self) -> Path:
        """Its Python."""
        return self.bin / ("python.exe" if WINDOWS else "python")

    def variables(self) -> dict[str, str]:
        """Return what a program needs, beside this process's variables, to be run in it."""
        path = os.environ.get("PATH", os.defpath)
        return {
            "VIRTUAL_ENV": str(self.folder),
            "PATH": f"{self.bin}{os.pathsep}{path}",
            # What a program has said is in its log when it is killed.
            "PYTHONUNBUFFERED": "1",
        }

    def install(self, requirements: Path, find_links: Path) -> None:
        """Have pip install what a file lists; `find_links` is one more folder to look in.

        Where else pip looks is as the user has configured it. Paths in the file are relative to
        its folder. Raises ConsumerError.
        """
        pip = [str(self.python), "-I", "-m", "pip", "install"]
        options = ["--disable-pip-version-check", "--no-input"]
        files = ["--find-links", _url(find_links), "--requirement", str(requirements.absolute())]
        self._step("pip install", [*pip, *options, *files], requirements.parent)

    def init(self, script: Path, folder: Path, find_links: Path | None = None) -> None:
        """Run a script of the archive in a folder; its pip looks in `find_links` too.

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
    """Create a virtual environment in a folder, which must not exist, or leave nothing there.

    This empties the log. Raises ConsumerError, as each later step does, with how the step ended and
    the last line that it printed.
    """
    if folder.exists():
        raise ConsumerError(f"{folder} is there already")
    made = Environment(folder.absolute(), seconds, log)
    try:
        log.unlink(missing_ok=True)
    except OSError as error:
        raise ConsumerError(f"{log} cannot be written: {error.strerror}") from error
    # -P: the folder that this runs in may have modules of the standard library's names. What
    # virtualenv installs comes with it, so that nothing is looked for in an index.
    options = ["--quiet", "--no-download", "--no-periodic-update"]
    command = [sys.executable, "-P", "-m", "virtualenv", *options, str(made.folder)]
    try:
        made._step("virtualenv", command, made.folder.parent)
    except BaseException:
        shutil.rmtree(made.folder, ignore_errors=True)
        raise
    return made


def _last_line(log: Path, start: int) -> str:
    """Return the last line that is not empty after `start` bytes, without what cannot be shown."""
    with log.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(start, end - _LAST_LINE_WITHIN))
        text = file.read(_LAST_LINE_WITHIN).decode(errors="replace")
    lines = [line for line in text.splitlines() if line.strip()]
    last = lines[-1].strip() if lines else ""
    return "".join(each if each.isprintable() else " " for each in last[:_SHOWN]).strip()


def _url(folder: Path) -> str:
    # As a URL: pip takes a space in PIP_FIND_LINKS for the end of a path.
    return folder.absolute().as_uri()


Say = Callable[[str], None]


@contextmanager
def step(say: Say, what: str) -> Iterator[None]:
    """Tell of a step, and in its error which one it was."""
    say(what)
    try:
        yield
    except ConsumerError as error:
        raise ConsumerError(f"could not {what}: {error}") from error


@contextmanager
def extracted(archive: Path, folder: Path, limits: ArchiveLimits, say: Say) -> Iterator[Extracted]:
    """Have an archive in a folder for the time of the block; raises ConsumerError."""
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
    """Have a program's environment in a folder for the time of the block; raises ConsumerError.

    `wheels` is the folder of the module that entry points import, `seconds` the time of each step.
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
