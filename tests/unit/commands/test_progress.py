"""A command that takes long shows how far it is; one that is quick shows nothing."""

import io
import os
import pty
import re
from collections.abc import Iterator

import pytest

from pacifica.notifications.commands import progress
from pacifica.notifications.commands.progress import Progress
from tests.support.servers import eventually


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_LONG", "_LINE_EVERY", "_DRAW_EVERY"):
        monkeypatch.setattr(progress, name, 0.01)


@pytest.fixture
def terminal() -> Iterator[tuple[io.TextIOWrapper, int]]:
    """Give a terminal as a program writes to it, and where what it shows is read."""
    reader, writer = pty.openpty()
    with os.fdopen(writer, "w") as stream:
        yield stream, reader
    os.close(reader)


def test_lines_are_printed_when_there_is_no_terminal() -> None:
    stream = io.StringIO()
    with Progress("rewriting", "rows", stream) as shown:
        eventually(lambda: "rewriting: 0 rows after 0 s\n" in stream.getvalue())
        shown.reached(1500, 2000, "encrypting")
        eventually(lambda: "encrypting: 1,500 of 2,000 rows" in stream.getvalue())
    assert stream.getvalue().endswith("\n")


def test_a_bar_is_drawn_when_there_is_a_terminal(terminal: tuple[io.TextIOWrapper, int]) -> None:
    stream, reader = terminal
    drawn = ""
    with Progress("rewriting", "rows", stream) as shown:
        shown.reached(500, 2000)
        while not re.search(r"rewriting: +25%.*500/2000", drawn):
            drawn += os.read(reader, 4096).decode()
    assert "\r" in drawn


def test_nothing_is_shown_when_a_command_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_LONG", 60)
    stream = io.StringIO()
    with Progress("rewriting", "rows", stream) as shown:
        shown.reached(10)
    assert stream.getvalue() == ""
