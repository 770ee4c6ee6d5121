"""What the parsers of all commands have in common."""

from argparse import ArgumentParser
from importlib.metadata import version
from typing import NoReturn

import shtab

_USAGE_ERROR = 2


class Parser(ArgumentParser):
    """A parser that reports a mistake in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Print a mistake and exit with status 2."""
        self.exit(_USAGE_ERROR, f"{self.prog}: {message}\n")


def add_common_options(parser: ArgumentParser) -> None:
    """Add `--version` and `--print-completion` to the parser of a command."""
    number = version("pacifica-notifications")
    parser.add_argument("--version", action="version", version=f"%(prog)s {number}")
    shtab.add_argument_to(
        parser, "--print-completion", help="print what makes a shell complete this command"
    )
