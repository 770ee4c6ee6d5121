"""The commands `pacifica-notifications` (the web server) and `pacifica-notifications-cmd`."""

import logging
import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path

from pacifica.notifications import globals as locations
from pacifica.notifications.app import App
from pacifica.notifications.commandline import Parser, add_common_options
from pacifica.notifications.commands import admin
from pacifica.notifications.config import is_service_file
from pacifica.notifications.errors import ConfigError, NotificationsError
from pacifica.notifications.orm import database
from pacifica.notifications.server import serve

_FAILED = 1
_USAGE_ERROR = 2


def main(*argv: str) -> int:
    """Run the web server until it is told to stop; return the exit status."""
    return _run(_serve, server_parser().parse_args(argv or sys.argv[1:]))


def cmd(*argv: str) -> int:
    """Run one administrative command; return the exit status."""
    return _run(_administer, cmd_parser().parse_args(argv or sys.argv[1:]))


def server_parser() -> ArgumentParser:
    """Return the parser of `pacifica-notifications`."""
    parser = Parser("pacifica-notifications", description="Run the notifications server.")
    add_common_options(parser)
    parser.add_argument(
        "-c",
        "--config",
        metavar="CONFIG",
        help="CherryPy file; beside --cpconfig, or with sections of the service: its INI file",
    )
    parser.add_argument("--cpconfig", metavar="CONFIG", help="CherryPy file")
    parser.add_argument("-p", "--port", type=_port, help="port to listen on (default: 8070)")
    parser.add_argument("-a", "--address", help="address to listen on (default: localhost)")
    return parser


def cmd_parser() -> ArgumentParser:
    """Return the parser of `pacifica-notifications-cmd`."""
    parser = Parser("pacifica-notifications-cmd", description="Administer the service.")
    add_common_options(parser)
    parser.add_argument("-c", "--config", metavar="CONFIG", help="the service's INI file")
    admin.add_commands(parser.add_subparsers(metavar="COMMAND", required=True))
    return parser


def _serve(args: Namespace) -> int:
    cherrypy_file, service_file = args.cpconfig, args.config
    for path in filter(None, (cherrypy_file, service_file)):
        _require(path)
    if service_file and not cherrypy_file and not is_service_file(service_file):
        cherrypy_file, service_file = service_file, None
    if service_file:
        os.environ["NOTIFICATIONS_CONFIG"] = service_file
    app = App.configured()
    try:
        app.open()
        serve(app, cherrypy_file or locations.CHERRYPY_CONFIG, args.address, args.port)
    finally:
        app.close()
    return 0


def _administer(args: Namespace) -> int:
    if args.config:
        _require(args.config)
        os.environ["NOTIFICATIONS_CONFIG"] = args.config
    # The one line of the error says what a line about the outage would say.
    logging.getLogger(database.__name__).addHandler(logging.NullHandler())
    return args.run(args)


def _run(command: object, args: Namespace) -> int:
    """Run a command; report a user's or operator's error in one line."""
    try:
        return command(args)  # type: ignore[operator]
    except (ConfigError, admin.UsageError) as error:
        status, message = _USAGE_ERROR, str(error)
    except NotificationsError as error:
        status, message = _FAILED, str(error)
    print(f"{Path(sys.argv[0]).name}: {message}", file=sys.stderr)  # noqa: T201
    return status


def _require(path: str) -> None:
    if not Path(path).is_file():
        raise ConfigError(f"{path}: there is no such file")


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text[:6]) <= 65535):
        raise ArgumentTypeError(f"{text!r} is not a port, 0 to 65535")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
