"""The command `pacifica-notifications-consumer`, for authors: begin, zip and try an archive."""

import json
import sys
import tempfile
import zipfile
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

from pacifica.notifications import jsonpath
from pacifica.notifications.commandline import Parser, add_common_options
from pacifica.notifications.consumer.archive import ArchiveLimits, extract
from pacifica.notifications.consumer.environment import equipped, extracted
from pacifica.notifications.consumer.processes import Orphans
from pacifica.notifications.consumer.program import ProgramLimits, run
from pacifica.notifications.consumer.workfolder import RunFolder
from pacifica.notifications.errors import ConsumerError, ExpressionError

_FAILED = 1
_LEFT_OUT = frozenset({"__pycache__", "consumer.zip"})
# The earliest time in a zip archive, so that equal folders make equal archives.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644 << 16


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands; print one line and return 1 if it fails."""
    args = build_parser().parse_args(arguments)
    try:
        return args.run(args)
    except ConsumerError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return _FAILED


def build_parser() -> ArgumentParser:
    """Return the parser of `pacifica-notifications-consumer`."""
    parser = Parser(
        prog="pacifica-notifications-consumer",
        description="Begin, zip and try the archive of a consumer.",
    )
    add_common_options(parser)
    commands = parser.add_subparsers(required=True)
    begin = commands.add_parser("new", help="write a folder to begin from")
    begin.add_argument("folder", type=Path)
    begin.set_defaults(run=_new)
    pack = commands.add_parser("zip", help="make an archive of a folder, and check it")
    pack.add_argument("folder", type=Path)
    pack.add_argument("archive", type=Path, nargs="?", default=Path("consumer.zip"))
    pack.set_defaults(run=_zip)
    once = commands.add_parser("try", help="run an archive once on an event, without a producer")
    once.add_argument("archive", type=Path)
    once.add_argument("event", type=Path, help="a file with the event as JSON")
    once.add_argument("--into", type=Path, default=Path("tried"), help="folder (default: ./tried)")
    once.add_argument("--time-limit", type=float, default=3600, help="seconds (default: 3600)")
    once.add_argument("--start-limit", type=float, default=900, help="seconds (default: 900)")
    once.set_defaults(run=_try)
    return parser


def _new(args: Namespace) -> int:
    """Write the files of an archive, with parts that the author must replace."""
    try:
        args.folder.mkdir(parents=True)
        for each in resources.files(__package__).joinpath("scaffold").iterdir():
            if each.is_file():
                name = (
                    each.name.removesuffix(".txt") if each.name.endswith(".py.txt") else each.name
                )
                (args.folder / name).write_bytes(each.read_bytes())
    except OSError as error:
        raise ConsumerError(f"{args.folder}: {error.strerror}") from error
    _say(f"{args.folder} is written: change __main__.py and jsonpath2.txt, then zip it")
    return 0


def _zip(args: Namespace) -> int:
    """Zip a folder without hidden files and caches, and check the archive."""
    try:
        with zipfile.ZipFile(args.archive, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in _members(args.folder):
                name = path.relative_to(args.folder).as_posix()
                info = zipfile.ZipInfo(name, _NO_TIME)
                info.external_attr = _MODE
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, path.read_bytes())
    except OSError as error:
        raise ConsumerError(f"{error.filename or args.folder}: {error.strerror}") from error
    try:
        with tempfile.TemporaryDirectory() as folder:
            extract(args.archive, Path(folder) / "archive", ArchiveLimits())
    except ConsumerError:
        args.archive.unlink()
        raise
    _say(f"{args.archive} is written")
    return 0


def _members(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") or part in _LEFT_OUT for part in parts)
        if path.is_file() and not path.is_symlink() and not hidden:
            yield path


def _try(args: Namespace) -> int:
    """Run the entry point once, without a producer, endpoint or job queue."""
    notification = _read(args.event)
    folder = RunFolder(args.into.absolute())
    if folder.path.exists():
        raise ConsumerError(f"{args.into} is there already: name another one by --into")
    folder.create(notification)
    with extracted(args.archive, folder.path / "archive", ArchiveLimits(), _say) as program:
        if not _matches(program.jsonpath, notification):
            _say("the JSONPath finds nothing in this event: the entry point would not be run")
            return 0
        environment, wheels = folder.path / "environment", folder.path / "wheels"
        log = folder.path / "start.log"
        with equipped(program, environment, wheels, args.start_limit, log, _say) as made:
            _say("run the entry point")
            ended = run(
                [str(made.python), "__main__.py", str(folder.source), str(folder.destination)],
                folder=program.folder,
                environment=made.variables(),
                log=folder.log,
                limits=ProgramLimits(seconds=args.time_limit),
                orphans=Orphans(),
            )
    print(folder.log.read_text(errors="replace"), end="")  # noqa: T201
    _say(f"the entry point ended after {ended.seconds:.1f} s: {ended.reason}")
    for path in sorted(folder.path.rglob("*")):
        if path.is_file():
            _say(f"{path.relative_to(folder.path)}: {path.stat().st_size} bytes")
    return 0 if ended.status == 0 else _FAILED


def _read(event: Path) -> bytes:
    try:
        notification = event.read_bytes()
        if not isinstance(json.loads(notification), dict):
            raise ConsumerError(f"{event} is not a JSON object")
    except OSError as error:
        raise ConsumerError(f"{event}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConsumerError(f"{event} is not JSON") from error
    return notification


def _matches(text: str, notification: bytes) -> bool:
    try:
        return jsonpath.find(jsonpath.parse(text), json.loads(notification))
    except ExpressionError as error:
        raise ConsumerError(f"the JSONPath failed: {error}") from error


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
