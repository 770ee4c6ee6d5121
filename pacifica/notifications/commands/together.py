"""`serve`: web server and worker together, on the embedded database and broker by default."""

import os
import signal
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from pacifica.notifications.commands.processes import embedded_environment, web_and_worker
from pacifica.notifications.commands.standins import allowing_policy
from pacifica.notifications.config import load_settings
from pacifica.notifications.errors import NotificationsError
from pacifica.notifications.orm import DB, OrmSync

_PATIENCE = 60.0
_POLL = 0.2


def add_options(parser: ArgumentParser) -> None:
    """Add the options of `serve`."""
    parser.add_argument("-p", "--port", type=int, default=8070, help="port (default: 8070)")
    parser.add_argument("-a", "--address", default="127.0.0.1", help="address (default: 127.0.0.1)")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("~", ".pacifica-notifications").expanduser(),
        help="where the embedded database and broker are (default: ~/.pacifica-notifications)",
    )
    parser.add_argument(
        "--allow-all",
        action="store_true",
        help="use a stand-in for Policy that lets everybody see everything; for trying out only",
    )


def serve(args: Namespace) -> int:
    """Serve until Ctrl-C; 1 when one of the two processes ends by itself.

    What the configuration file or the environment says about database and broker is followed; only
    their defaults are the embedded ones.
    """
    args.folder.mkdir(parents=True, exist_ok=True)
    for name, value in embedded_environment(args.folder).items():
        os.environ.setdefault(name, value)
    with _policy(args.allow_all), _stopping():
        prepare_database()
        with web_and_worker(args.address, args.port, _say, _PATIENCE) as children:
            _say(f"serve  | ready at http://{args.address}:{args.port} (Ctrl-C ends it)")
            while not any(child.has_ended() for child in children.values()):
                time.sleep(_POLL)
            ended = ", ".join(child.name for child in children.values() if child.has_ended())
            raise NotificationsError(f"ended unexpectedly: {ended}")
    return 0


def prepare_database() -> None:
    """Bring the database to this program's schema."""
    load_settings()
    OrmSync.dbconn_blocking()
    OrmSync.update_tables()
    DB.unbind()


@contextmanager
def _policy(allow_all: bool) -> Iterator[None]:
    with allowing_policy() if allow_all else nullcontext() as url:
        if url:
            _say(f"serve  | a stand-in for Policy at {url} lets everybody see everything")
            os.environ["POLICY_URL"] = url
        yield


class _Stopped(BaseException):
    """The process was told to end."""


@contextmanager
def _stopping() -> Iterator[None]:
    """End the block when the process is told to stop, by Ctrl-C or SIGTERM."""

    def stop(_number: int, _frame: object) -> None:
        raise _Stopped

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except _Stopped:
        _say("serve  | stopped")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(line: str) -> None:
    # In one piece: two threads say what the two processes say.
    print(f"{line}\n", end="", flush=True)  # noqa: T201
