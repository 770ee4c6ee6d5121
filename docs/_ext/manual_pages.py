"""Writes the manual page of each command beside the web pages, from the parser of the command."""

from argparse import ArgumentParser
from importlib.metadata import version
from pathlib import Path

from argparse_manpage.manpage import Manpage
from sphinx.application import Sphinx

from pacifica.notifications.__main__ import cmd_parser, server_parser
from pacifica.notifications.consumer import __main__ as consumer
from pacifica.notifications.consumer import authoring

_PROJECT = "pacifica-notifications"


def parsers() -> list[ArgumentParser]:
    """Return the parsers of all commands that are installed."""
    return [server_parser(), cmd_parser(), consumer.build_parser(), authoring.build_parser()]


def manual_page(parser: ArgumentParser) -> str:
    """Return the manual page of a command, in the format of man(7)."""
    page = Manpage(parser)
    page.source = f"{_PROJECT} {version(_PROJECT)}"
    page.manual = "Pacifica notifications"
    page.description = (parser.description or "").rstrip(".")
    return str(page)


def write_manual_pages(app: Sphinx, failure: Exception | None) -> None:
    """Write the pages into the folder `man` of a build of web pages that succeeded."""
    if failure is None and app.builder.format == "html":
        folder = Path(app.outdir, "man")
        folder.mkdir(exist_ok=True)
        for parser in parsers():
            (folder / f"{parser.prog}.1").write_text(manual_page(parser), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the pages at the end of a build."""
    app.connect("build-finished", write_manual_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
