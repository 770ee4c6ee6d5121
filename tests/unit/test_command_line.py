"""What all commands have: a version, the completion by a shell, and a manual page."""

import argparse
import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import distribution, version
from pathlib import Path
from types import ModuleType

import pytest

from pacifica.notifications.__main__ import cmd_parser, server_parser
from pacifica.notifications.consumer import authoring
from pacifica.notifications.consumer.__main__ import build_parser

PARSERS = {
    parser.prog: parser
    for parser in (server_parser(), cmd_parser(), build_parser(), authoring.build_parser())
}
BASH = shutil.which("bash")
EACH = pytest.mark.parametrize("command", PARSERS)


@pytest.fixture(scope="module")
def manual_pages() -> ModuleType:
    """Return the module that writes manual pages, which is not on the import path."""
    path = Path(__file__).parents[2] / "docs" / "_ext" / "manual_pages.py"
    spec = importlib.util.spec_from_file_location("manual_pages", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def words(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield all options and commands of a parser, and those of its commands."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                yield name
                yield from words(child)


def printed(command: str, option: str, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    with pytest.raises(SystemExit) as ended:
        PARSERS[command].parse_args([option, *more])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_each_installed_command_is_tested_here() -> None:
    installed = distribution("pacifica-notifications").entry_points.select(group="console_scripts")
    assert {each.name for each in installed} == set(PARSERS)


@EACH
def test_version_is_that_of_the_package(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = printed(command, "--version", capsys)
    assert said == f"{command} {version('pacifica-notifications')}\n"


@EACH
@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_has_each_command_and_option(
    command: str, shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    script = printed(command, "--print-completion", capsys, shell)
    offered = set(re.findall(r"[\w-]*\w", script))
    assert set(words(PARSERS[command])) - offered == set()


@pytest.mark.skipif(BASH is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("event", ["eventget", "eventpurge", "eventretry"]),
        ("--ver", ["--version"]),
        ("eventget --start", ["--start-date"]),
    ],
)
def test_bash_completes_a_word(
    typed: str, offered: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    command = "pacifica-notifications-cmd"
    script = printed(command, "--print-completion", capsys, "bash")
    (function,) = re.findall(rf"^complete .*-F (\w+) {command}$", script, re.MULTILINE)
    line = [command, *typed.split()]
    script += f"""
        COMP_WORDS=({" ".join(line)}); COMP_CWORD={len(line) - 1}
        {function}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    assert BASH is not None
    ended = subprocess.run([BASH], input=script, capture_output=True, text=True, timeout=30)
    assert ended.stdout.split() == offered, ended.stderr


@EACH
def test_manual_page_has_each_command_and_option(command: str, manual_pages: ModuleType) -> None:
    (parser,) = (each for each in manual_pages.parsers() if each.prog == command)
    page = manual_pages.manual_page(parser).replace("\\-", "-")
    assert page.startswith(f'.TH {command.upper()} "1"')
    assert {word for word in words(parser) if word not in page} - {"--help"} == set()
    assert version("pacifica-notifications") in page


@EACH
def test_mistake_is_one_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        PARSERS[command].parse_args(["--nosuch", "1"])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{command}: ")
