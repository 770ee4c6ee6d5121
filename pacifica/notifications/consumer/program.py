"""The program of a consumer: its archive extracted, and an environment that has what it needs."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pacifica.notifications.consumer import environment
from pacifica.notifications.consumer.archive import (
    INIT,
    REQUIREMENTS,
    ArchiveLimits,
    Extracted,
    extract,
)
from pacifica.notifications.consumer.environment import Environment
from pacifica.notifications.consumer.errors import ConsumerError
from pacifica.notifications.consumer.wheel import build_wheel

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
            made = environment.create(folder, seconds, log)
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
