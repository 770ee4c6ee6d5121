"""What the parsers of all commands have in common."""

from argparse import ArgumentParser
from importlib.metadata import version

import shtab


def add_common_options(parser: ArgumentParser) -> None:
    """Add `--version` and `--print-completion` to the parser of a command."""
    number = version("pacifica-notifications")
    parser.add_argument("--version", action="version", version=f"%(prog)s {number}")
    shtab.add_argument_to(
        parser, "--print-completion", help="print what makes a shell complete this command"
    )
