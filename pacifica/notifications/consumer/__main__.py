"""The command `start-pacifica-notifications-consumer`."""

import json
import os
import signal
import sys
import threading
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pacifica.notifications.commandline import Parser, add_common_options
from pacifica.notifications.consumer.archive import ArchiveLimits
from pacifica.notifications.consumer.lifecycle import Options, remove, started
from pacifica.notifications.consumer.producer import Producer, basic, bearer
from pacifica.notifications.errors import ConsumerError

_FAILED = 1
_MEGABYTE = 2**20
# The environment variables with secrets, and the one with the descriptor of the pipe that has them.
_SECRET_NAMES = tuple(
    f"{service}_{kind}" for service in ("PRODUCER", "PACIFICA") for kind in ("TOKEN", "PASSWORD")
)
_SECRETS = "PACIFICA_CONSUMER_SECRETS"
_SERVICES = {"cart": 8081, "ingest": 8066, "policy": 8181}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a consumer until it is told to stop; return 1 if a step of its start fails."""
    args = build_parser().parse_args(arguments)
    if arguments is None and os.name == "posix":
        _hide_secrets()
    try:
        if args.remove:
            remove(_options(args), _say)
            return 0
        with _stopping() as stopped, started(_options(args), _say) as consumer:
            consumer.watch(stopped)
    except _Stopped:
        _say("stopped")
        return 0
    except ConsumerError as error:
        print(f"{error}", file=sys.stderr)  # noqa: T201
        return _FAILED
    _say("stopped")
    return 0


def build_parser() -> ArgumentParser:
    """Return the parser of `start-pacifica-notifications-consumer`."""
    parser = Parser(
        prog="start-pacifica-notifications-consumer",
        description="Run a consumer archive on each notification that it subscribes to.",
        epilog="Secrets are better given in the environment: PRODUCER_PASSWORD, PRODUCER_TOKEN, "
        "PACIFICA_PASSWORD, PACIFICA_TOKEN.",
    )
    add_common_options(parser)
    add = parser.add_argument
    add("archive", type=Path, metavar="consumer.zip", help="the archive")
    producer = parser.add_argument_group("producer")
    add = producer.add_argument
    add("--producer", required=True, metavar="URL", help="where notifications come from")
    add("--user", required=True, metavar="NAME", help="who subscribes, a user of Pacifica")
    add("--user-header", default="Http-Remote-User", metavar="NAME", help="default: %(default)s")
    add("--producer-user", metavar="NAME", help="for Basic authentication by a proxy before it")
    add(
        "--pull",
        action="store_true",
        help="fetch the notifications: no port is opened, and the subscription stays at the end",
    )
    add = parser.add_argument_group("endpoint").add_argument
    add("--address", default="127.0.0.1", help="to listen on (default: %(default)s)")
    add("--port", type=int, default=8080, help="default: %(default)s")
    add("--public-url", metavar="URL", help="of the endpoint for the producer, if another")
    add(
        "--body", type=_positive, default=16, metavar="MB", help="of one notification (default: 16)"
    )
    add(
        "--waiting", type=_positive, default=10_000, help="how many may wait (default: %(default)s)"
    )
    add = parser.add_argument_group("job queue").add_argument
    add("--broker", default="", metavar="URL", help="default: a folder, without a server")
    add("--concurrency", type=_positive, default=1, metavar="N", help="runs at once (default: 1)")
    add("--time-limit", type=_seconds, default=3600, metavar="S", help="of a run (default: 3600)")
    add("--attempts", type=_positive, default=3, help="of a run that is interrupted (default: 3)")
    add("--grace", type=_seconds, default=30, metavar="S", help="of runs at the end (default: 30)")
    add("--output", type=_positive, default=16, metavar="MB", help="kept of a run (default: 16)")
    add("--kept", type=_positive, default=10_000, help="ended runs on record (default: 10000)")
    add = parser.add_argument_group("archive and environment").add_argument
    add(
        "--remove",
        action="store_true",
        help="delete the subscription that a killed command, or one with --pull, left in the work "
        "folder, and end",
    )
    add("--work", type=Path, default=Path("consumer"), help="work folder (default: ./consumer)")
    add("--start-limit", type=_seconds, default=900, metavar="S", help="of a step (default: 900)")
    add("--archive-size", type=_positive, default=1024, metavar="MB", help="default: 1024")
    add("--archive-members", type=_positive, default=10_000, metavar="N", help="default: 10000")
    services = parser.add_argument_group("Pacifica, for the entry point")
    for name, port in _SERVICES.items():
        default = f"http://127.0.0.1:{port}"
        services.add_argument(
            f"--{name}", default=default, metavar="URL", help=f"default: {default}"
        )
    services.add_argument("--pacifica-user", metavar="NAME", help="for Basic authentication")
    return parser


def _options(args: Namespace) -> Options:
    host = f"[{args.address}]" if ":" in args.address else args.address
    producer = Producer(
        args.producer,
        args.user,
        args.user_header,
        _authorization(args.producer_user, "PRODUCER"),
    )
    variables = {f"PACIFICA_{name.upper()}_URL": getattr(args, name) for name in _SERVICES}
    variables["PACIFICA_USER"] = args.user
    authorization = _authorization(args.pacifica_user, "PACIFICA")
    if authorization:
        variables["PACIFICA_AUTHORIZATION"] = authorization
    return Options(
        archive=args.archive,
        work=args.work,
        producer=producer,
        pull=args.pull,
        host=args.address,
        port=args.port,
        public_url=args.public_url or f"http://{host}:{args.port}/",
        broker=args.broker,
        concurrency=args.concurrency,
        seconds=args.time_limit,
        grace=args.grace,
        start_seconds=args.start_limit,
        log_bytes=args.output * _MEGABYTE,
        max_bytes=args.body * _MEGABYTE,
        max_waiting=args.waiting,
        attempts=args.attempts,
        kept=args.kept,
        limits=ArchiveLimits(bytes=args.archive_size * _MEGABYTE, members=args.archive_members),
        variables=variables,
    )


def _authorization(user: str | None, prefix: str) -> str | None:
    """Return the Authorization header from a token or password in the environment.

    Both are removed from the environment, so that no entry point has them.
    """
    token = os.environ.pop(f"{prefix}_TOKEN", None)
    password = os.environ.pop(f"{prefix}_PASSWORD", None)
    if token:
        return bearer(token)
    if user is None:
        return None
    if password is None:
        raise ConsumerError(f"{prefix}_PASSWORD is not in the environment")
    return basic(user, password)


def _hide_secrets() -> None:
    """Restart this program without secrets in its environment; pass them by a pipe.

    An entry point could read the environment that the program was started with.
    """
    source = os.environ.pop(_SECRETS, None)
    if source is not None:
        with open(int(source), "rb") as pipe:  # noqa: PTH123 a descriptor has no path
            os.environ.update(json.load(pipe))
        return
    secrets = {name: os.environ.pop(name) for name in _SECRET_NAMES if name in os.environ}
    if secrets:
        reader, writer = os.pipe()
        os.set_inheritable(reader, True)
        with open(writer, "w", encoding="utf-8") as pipe:  # noqa: PTH123
            json.dump(secrets, pipe)
        os.environ[_SECRETS] = str(reader)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606


def _positive(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise ArgumentTypeError(f"{text!r} is not a positive number")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < threading.TIMEOUT_MAX:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds


class _Stopped(BaseException):
    """The process was told to stop while it was starting."""


@contextmanager
def _stopping() -> Iterator[Callable[[float], bool]]:
    """Yield a function that waits some seconds for a stop by Ctrl-C or SIGTERM.

    Before its first call, a signal aborts the start. Further signals are ignored.
    """
    told = threading.Event()
    waiting = threading.Event()

    def stop(_number: int, _frame: object) -> None:
        if not told.is_set():
            told.set()
            if not waiting.is_set():
                raise _Stopped

    def stopped(seconds: float) -> bool:
        waiting.set()
        return told.wait(seconds)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform == "win32":
        numbers.append(signal.SIGBREAK)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(line: str) -> None:
    # In one call: the worker's lines come from another thread.
    print(f"consumer | {line}\n", end="", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
