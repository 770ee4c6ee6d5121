"""The operators' commands, each a function that returns the exit status."""

import json
import re
import sys
from argparse import Namespace
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from pacifica.notifications.app import App
from pacifica.notifications.clock import utcnow
from pacifica.notifications.commands import configuration, demo, serve
from pacifica.notifications.commands.arguments import UsageError, operator, uuids_of
from pacifica.notifications.commands.deliveries import resend, why
from pacifica.notifications.commands.event_report import (
    event_document,
    event_report,
    printable,
)
from pacifica.notifications.commands.progress import Progress
from pacifica.notifications.errors import ConfigError, NotificationsError
from pacifica.notifications.orm import (
    DB,
    NotificationSystem,
    OrmSync,
    check_safe,
    decrypt_all,
    encrypt_all,
    require_database,
)
from pacifica.notifications.store import audit, events, history
from pacifica.notifications.store.purging import purge_finished

_DATE_FORMAT = "%Y-%m-%d %H:%M:%S"
_PURGE_AGE = timedelta(days=1)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_UNSAFE = 255  # exit status
_MAX_LIMIT = 2**31 - 1


def add_commands(commands: Any) -> None:
    """Add every command with its options to a parser's sub-commands."""
    _add(commands, dbsync, "Create or migrate the database.")
    check = _add(commands, dbchk, "Check that the database's schema is safe for this program.")
    check.add_argument("--equal", action="store_true", help="check that it is exactly this version")
    get = _add(commands, eventget, "Print events with their matches.")
    get.add_argument("events", nargs="*", metavar="UUID", help="events to print (default: latest)")
    get.add_argument("--json", action="store_true", help="print one JSON array")
    get.add_argument("--limit", type=int, default=10, help="most events to print (default: 10)")
    get.add_argument("--start-date", metavar="DATE", help="not before this date (UTC)")
    get.add_argument("--end-date", metavar="DATE", help="not after this date (UTC)")
    purge = _add(
        commands,
        eventpurge,
        "Delete old events with their matches, but none that has something left to do.",
    )
    purge.add_argument("events", nargs="*", metavar="UUID", help="only these of the old events")
    age = purge.add_mutually_exclusive_group()
    age.add_argument(
        "--older-than-date", metavar="DATE", help="older than this (UTC; default: one day ago)"
    )
    age.add_argument(
        "--older-than", metavar="AGE", help="older than so many s, m, h, d or w, such as 30d"
    )
    purge.add_argument("--dry-run", action="store_true", help="only say how many there are")
    purge.add_argument(
        "--force",
        action="store_true",
        help="delete the named events also if they have something left to do, which is lost",
    )
    for dated in (get, purge):
        dated.add_argument(
            "--date-format",
            metavar="FORMAT",
            default=_DATE_FORMAT,
            help=f"format of dates (default: {_DATE_FORMAT.replace('%', '%%')})",
        )
    retry = _add(commands, eventretry, "Dispatch recorded events again.")
    retry.add_argument("events", nargs="+", metavar="UUID", help="events to dispatch")
    explaining = _add(commands, why, "Print why an event did or did not reach a subscription.")
    explaining.add_argument(
        "event", metavar="EVENT", help="its UUID, its CloudEvents id, or a transaction number"
    )
    explaining.add_argument("subscription", metavar="SUBSCRIPTION", help="its UUID")
    again = _add(commands, resend, "Send deliveries again, whatever became of them.")
    again.add_argument(
        "deliveries",
        nargs="+",
        metavar="DELIVERY",
        help="UUIDs of deliveries, or those of one event and one subscription",
    )
    for printing in (explaining, again):
        printing.add_argument("--json", action="store_true", help="print JSON")
    rewrite = _add(commands, reencrypt, "Rewrite stored auth by the first key.")
    rewrite.add_argument(
        "--plain", action="store_true", help="store auth in plain text, so that no key is needed"
    )
    showing = _parser(commands, "config", "Print what is configured, and where.")
    showing.set_defaults(run=configuration.config)
    # These two commands configure the service themselves.
    serving = _parser(commands, "serve", "Serve web and worker together.")
    serving.set_defaults(run=serve.serve)
    serve.add_options(serving)
    showing = _parser(commands, "demo", "Show a delivery from subscription to target.")
    showing.set_defaults(run=demo.demo)
    demo.add_options(showing)


def dbsync(app: App, _args: Namespace) -> int:
    """Wait for the database, and create or migrate it."""
    serve.prepare_database(app)
    return 0


def dbchk(_app: App, args: Namespace) -> int:
    """Check the schema: 0 when it is safe (or equal), 255 when not."""
    if DB.is_absent():
        return _UNSAFE
    OrmSync.dbconn_blocking()
    fits = NotificationSystem.is_equal() if args.equal else NotificationSystem.is_safe()
    return 0 if fits else _UNSAFE


def eventget(_app: App, args: Namespace) -> int:
    """Print events with their matches, newest first; fail when a UUID is unknown."""
    if not 1 <= args.limit <= _MAX_LIMIT:
        raise UsageError(f"--limit must be 1 to {_MAX_LIMIT}")
    uuids = uuids_of(args.events)
    start = _date(args.start_date, args.date_format, "--start-date")
    end = _date(args.end_date, args.date_format, "--end-date")
    if start and end and start > end:
        raise UsageError("--start-date must not be after --end-date")
    found = events.logged(uuids, start=start, end=end, limit=max(args.limit, len(uuids)))
    audit.record(operator(), "events read", "", details={"events": [str(e.uuid) for e in found]})
    attempts = {
        match.uuid: history.attempts_of(match.uuid) for event in found for match in event.matches
    }
    if args.json:
        print(json.dumps([event_document(event, attempts) for event in found], indent=2))  # noqa: T201
    else:
        for event in found:
            print(printable(event_report(event, attempts), sys.stdout.encoding))  # noqa: T201
    return _report_unknown(uuids)


def eventpurge(_app: App, args: Namespace) -> int:
    """Delete events that are older than a date, with their matches."""
    older_than = _date(args.older_than_date, args.date_format, "--older-than-date")
    if args.older_than is not None:
        older_than = _ago(args.older_than)
    uuids = uuids_of(args.events)
    if older_than is None and not uuids:
        older_than = utcnow() - _PURGE_AGE
    if args.force:
        if args.dry_run or not uuids:
            raise UsageError("--force needs the UUIDs of events, and no --dry-run")
        print(f"{events.purge(uuids, older_than)} events deleted")  # noqa: T201
        return 0
    with Progress("purging", "events") as progress:
        purged = purge_finished(uuids, older_than, dry_run=args.dry_run, report=progress.reached)
    done = "would be deleted" if args.dry_run else "deleted"
    print(f"{purged.deleted} events {done}")  # noqa: T201
    if purged.kept:
        print(f"{purged.kept} events kept: they have something left to do")  # noqa: T201
    return 0


def eventretry(app: App, args: Namespace) -> int:
    """Dispatch recorded events again; fail when a UUID is unknown."""
    uuids = uuids_of(args.events)
    app.publisher.nudge_dispatch(events.dispatch_again(uuids))
    return _report_unknown(uuids)


def reencrypt(app: App, args: Namespace) -> int:
    """Rewrite the stored auth by the first key, or in plain text.

    Fail when rows are left because they were changed meanwhile or are corrupt.
    """
    if not app.settings.security.key:
        raise ConfigError("[security] key is empty: there is no key to decrypt or encrypt with")
    OrmSync.dbconn_blocking()
    check_safe()
    with Progress("rewriting auth", "subscriptions") as progress:
        done = (decrypt_all if args.plain else encrypt_all)(progress.reached)
    print(f"{done.rows} subscriptions rewritten")  # noqa: T201
    left = [
        *([f"{done.missed} were changed at the same time: run it again"] if done.missed else ()),
        *(f"the auth of {uuid} is corrupt and was not changed" for uuid in done.corrupt),
    ]
    if left:
        raise NotificationsError("; ".join(left))
    return 0


def _add(commands: Any, command: Callable[[App, Namespace], int], description: str) -> Any:
    """Add a command that is run with the configured App, and return its parser."""

    def run(args: Namespace) -> int:
        if args.folder is not None:
            serve.use_folder(args.folder)
        with closing(App.configured()) as app:
            if command not in (dbsync, dbchk):
                require_database()
            return command(app, args)

    parser = _parser(commands, command.__name__, description)
    parser.add_argument(
        "--folder", type=Path, help="use what `serve` keeps in this folder, as `serve` does"
    )
    parser.set_defaults(run=run)
    return parser


def _parser(commands: Any, name: str, description: str) -> Any:
    return commands.add_parser(name, description=description, help=description)


def _date(text: str | None, date_format: str, option: str) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.strptime(text, date_format)
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    # re.error: a directive is repeated; OverflowError: a date near the first or last year.
    except (ValueError, OverflowError, re.error) as error:
        raise UsageError(f"{option}: {text!r} is not a date of the format {date_format}") from error


def _ago(age: str) -> datetime:
    number, unit = age[:-1], _UNITS.get(age[-1:])
    try:
        if unit is None or not (number.isascii() and number.isdecimal()):
            raise ValueError(age)
        return utcnow() - timedelta(seconds=int(number) * unit)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"--older-than: {age!r} is not an age such as 12h, 30d or 4w") from error


def _report_unknown(uuids: list[UUID]) -> int:
    unknown = events.unknown(uuids)
    if unknown:
        raise NotificationsError(f"unknown events: {', '.join(map(str, unknown))}")
    return 0
