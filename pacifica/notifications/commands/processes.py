"""The web server and the worker as child processes, their output in one stream."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pacifica.notifications import bound
from pacifica.notifications.broker.settings import embedded_url
from pacifica.notifications.children import WINDOWS, Child
from pacifica.notifications.errors import NotificationsError

_POLL = 0.1
_READY = {"web": "Bus STARTED", "worker": " ready."}


def embedded_environment(folder: Path) -> dict[str, str]:
    """Return what makes a service keep everything in one folder and need no server."""
    folder = folder.absolute()
    return {
        "BROKER_URL": embedded_url(folder / "queue"),
        "PEEWEE_URL": f"sqliteext:///{(folder / 'db.sqlite3').as_posix()}",
    }


@contextmanager
def web_and_worker(
    address: str, port: int, say: Callable[[str], None], patience: float
) -> Iterator[Mapping[str, Child]]:
    """Run both for the time of the block, which begins when they are ready.

    Raises NotificationsError where one is not ready after `patience` seconds.
    """
    module = [sys.executable, "-m", bound.__name__]
    worker = "celery -A pacifica.notifications.tasks worker --loglevel INFO --concurrency 2"
    quiet = "--without-gossip --without-mingle --without-heartbeat"
    pool = ["--pool", "solo"] if WINDOWS else []  # prefork needs fork
    commands = {
        "web": [*module, "pacifica.notifications", "-a", address, "-p", str(port)],
        "worker": [*module, *worker.split(), *quiet.split(), *pool],
    }
    children: dict[str, Child] = {}
    try:
        for name, command in commands.items():
            children[name] = Child(name, command, say, ready=_READY[name])
        deadline = time.monotonic() + patience
        for child in children.values():
            _await_ready(child, deadline)
        yield children
    finally:
        for child in children.values():
            child.tell_to_end()
        for child in children.values():
            child.end()


def _await_ready(child: Child, deadline: float) -> None:
    while not child.ready.wait(_POLL):
        if child.has_ended() or time.monotonic() > deadline:
            raise NotificationsError(f"the {child.name} process did not start")
