"""`serve`: the web server and a worker, on the embedded database and broker by default."""

import os
import signal
import sys
import time
import webbrowser
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from ipaddress import ip_address
from pathlib import Path

from pacifica.notifications import parent_watch
from pacifica.notifications.app import App
from pacifica.notifications.broker.settings import embedded_url
from pacifica.notifications.children import WINDOWS, Child
from pacifica.notifications.commands.progress import Progress
from pacifica.notifications.commands.stand_ins import allowing_policy
from pacifica.notifications.errors import ConfigError, NotificationsError
from pacifica.notifications.orm import OrmSync
from pacifica.notifications.store.url_credentials import move_url_credentials

# Seconds within which both processes must be ready.
START_TIMEOUT = 60.0
_POLL = 0.2
_PRIVATE = 0o700
_READY_LINES = {"web": "Bus STARTED", "worker": " ready."}


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
    parser.add_argument("--open", action="store_true", help="open the web page in the browser")
    parser.add_argument(
        "--allow-all",
        action="store_true",
        help="use a stand-in for Policy that lets everybody see everything; for trying out only",
    )


def serve(args: Namespace) -> int:
    """Serve until Ctrl-C; raise NotificationsError when a process ends by itself.

    The configuration file and the environment may name another database and broker than the
    embedded ones.
    """
    args.folder.mkdir(_PRIVATE, parents=True, exist_ok=True)
    use_folder(args.folder)
    with _policy(args.allow_all), _stopping():
        prepare_database()
        with web_and_worker(args.address, args.port, _say, START_TIMEOUT) as children:
            page = page_url(args.address, args.port)
            _say(f"serve  | ready at http://{args.address}:{args.port} (Ctrl-C ends it)")
            _say(f"serve  | the web page is {page}")
            if args.open:
                webbrowser.open(page)
            while not any(child.has_ended() for child in children.values()):
                time.sleep(_POLL)
            ended = ", ".join(child.name for child in children.values() if child.has_ended())
            raise NotificationsError(f"ended unexpectedly: {ended}")
    return 0


def page_url(address: str, port: int) -> str:
    """Return where a browser on this machine finds the web page of a server."""
    try:
        listens_to_all = ip_address(address).is_unspecified
    except ValueError:  # a name
        listens_to_all = not address
    host = "localhost" if listens_to_all else address
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/ui/"


def use_folder(folder: Path) -> None:
    """Use the database and broker in a folder, unless the configuration names others.

    Raises ConfigError if there is no such folder.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: there is no such folder")
    for name, value in embedded_environment(folder).items():
        os.environ.setdefault(name, value)


def prepare_database(app: App | None = None) -> None:
    """Create the database, or migrate it to this program's schema, and say what was changed.

    `app` is the App that is configured already, if one is.
    """
    with nullcontext() if app else closing(App.configured()):
        OrmSync.dbconn_blocking()
        with Progress("preparing the database", "steps") as progress:
            OrmSync.update_tables(progress.reached)
        if moved := move_url_credentials():
            _say(f"credentials in the target_url of {moved} subscriptions are in their auth now")


def embedded_environment(folder: Path) -> dict[str, str]:
    """Return the environment of a service that keeps everything in one folder."""
    folder = folder.absolute()
    return {
        "BROKER_URL": embedded_url(folder / "queue"),
        "PEEWEE_URL": f"sqliteext:///{(folder / 'db.sqlite3').as_posix()}",
    }


@contextmanager
def web_and_worker(
    address: str, port: int, say: Callable[[str], None], timeout: float
) -> Iterator[Mapping[str, Child]]:
    """Run the web server and a worker during the block, which begins when they are ready.

    Their output is passed to `say`, line by line. Raises NotificationsError if one of them is not
    ready after `timeout` seconds.
    """
    module = [sys.executable, "-m", parent_watch.__name__]
    worker = "celery -A pacifica.notifications.tasks worker --loglevel INFO --concurrency 2"
    # RabbitMQ lets in one worker of a name, and there may be others on this machine.
    worker += f" --hostname serve-{port}@%h"
    quiet = "--without-gossip --without-mingle --without-heartbeat"
    pool = ["--pool", "solo"] if WINDOWS else []  # prefork needs fork
    commands = {
        "web": [*module, "pacifica.notifications", "-a", address, "-p", str(port)],
        "worker": [*module, *worker.split(), *quiet.split(), *pool],
    }
    children: dict[str, Child] = {}
    try:
        for name, command in commands.items():
            children[name] = Child(name, command, say, ready=_READY_LINES[name])
        deadline = time.monotonic() + timeout
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
    # In one call: two threads print the lines of the two processes.
    print(f"{line}\n", end="", flush=True)  # noqa: T201
