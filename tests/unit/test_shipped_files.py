"""README, example configurations and the page of settings say what the code does."""

import importlib.util
import re
from configparser import ConfigParser
from pathlib import Path
from types import ModuleType

import pytest
from cherrypy.lib import reprconf

from pacifica.notifications.settings import KEYS, Key

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONFIGURATION = (ROOT / "docs" / "configuration.rst").read_text(encoding="utf-8")
SHIPPED_KEYS = {
    "notifications": {"policy_url"},
    "celery": {"broker_url", "backend_url"},
    "database": {"peewee_url", "connect_attempts", "connect_wait"},
}


@pytest.fixture
def settings_table() -> ModuleType:
    """Return the module of the directive `settings`, which is not on the import path."""
    pytest.importorskip("sphinx")
    path = ROOT / "docs" / "_ext" / "settings_table.py"
    spec = importlib.util.spec_from_file_location("settings_table", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fenced_blocks(text: str) -> list[str]:
    return re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_readme_has_exactly_two_commands_of_one_line_each() -> None:
    commands = fenced_blocks(README)
    assert len(commands) == 2
    for command in commands:
        assert command.count("\n") == 1
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install --quiet ")
    assert commands[0].endswith("&& .venv/bin/pacifica-notifications-cmd demo\n")


def test_the_readme_names_the_test_command_in_one_line_only() -> None:
    (line,) = [line for line in README.splitlines() if "-m tests" in line]
    assert line + "\n" == fenced_blocks(README)[1]


def test_the_readme_links_only_to_files_that_exist() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_the_readme_and_the_index_name_every_page() -> None:
    index = (ROOT / "docs" / "index.rst").read_text(encoding="utf-8")
    pages = {path.stem for path in (ROOT / "docs").glob("*.rst")} - {"index"}
    assert pages
    assert {page for page in pages if f"docs/{page}.rst" not in README} == set()
    assert {page for page in pages if f"   {page}\n" not in index} == set()


def test_no_page_has_its_readers_install_the_package_by_its_name() -> None:
    """An index may still give them 0.5.2 by that name."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("**/*.rst")]
    commands = [
        line
        for page in pages
        for line in page.read_text(encoding="utf-8").splitlines()
        if re.match(r" *(\$ |py |\.venv|python)", line) and "pip install" in line
    ]
    assert len(commands) > 5
    assert [line for line in commands if re.search(r"pacifica-notifications(\[|$| )", line)] == []


def test_the_configuration_page_has_a_table_for_every_section() -> None:
    sections = re.findall(r"^\.\. settings:: (\w+)$", CONFIGURATION, re.MULTILINE)
    assert sorted(sections) == sorted({key.section for key in KEYS})


@pytest.mark.parametrize("key", KEYS, ids=lambda key: f"{key.section}.{key.name}")
def test_a_section_s_table_says_everything_of_a_key(key: Key, settings_table: ModuleType) -> None:
    lines = [
        line.strip(" *-") for line in settings_table.table(settings_table.keys_of(key.section))
    ]
    start = lines.index(f"``{key.name}``")
    assert lines[start + 1 : start + 5] == [
        f"``{key.environment}``",
        f"``{key.default}``" if key.default else "nothing",
        key.kind.accepts,
        key.meaning,
    ]


def test_the_table_of_an_unknown_section_is_an_error(settings_table: ModuleType) -> None:
    with pytest.raises(ValueError, match="nowhere"):
        settings_table.keys_of("nowhere")


def test_the_shipped_config_ini_holds_the_defaults() -> None:
    shipped = ConfigParser(interpolation=None)
    shipped.read_string((ROOT / "config.ini").read_text(encoding="utf-8"))
    assert {section: set(shipped[section]) for section in shipped.sections()} == SHIPPED_KEYS
    defaults = {(key.section, key.name): key.default for key in KEYS}
    for section, names in SHIPPED_KEYS.items():
        for name in names:
            assert shipped[section][name] == defaults[section, name], f"[{section}] {name}"


def test_every_key_of_the_shipped_config_ini_has_a_comment() -> None:
    lines = (ROOT / "config.ini").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if "=" in line and not line.startswith(";"):
            assert lines[number - 1].startswith(";"), line


def test_the_shipped_server_conf_holds_what_is_documented() -> None:
    shipped = reprconf.Parser().dict_from_file(str(ROOT / "server.conf"))
    dispatcher = shipped["/"].pop("request.dispatch")
    assert type(dispatcher).__name__ == "MethodDispatcher"
    assert shipped == {
        "global": {
            "log.screen": True,
            "log.access_file": "access.log",
            "log.error_file": "error.log",
            "server.socket_host": "0.0.0.0",  # noqa: S104 the documented example
            "server.socket_port": 8070,
        },
        "/": {
            "tools.response_headers.on": True,
            "tools.response_headers.headers": [("Content-Type", "application/json")],
        },
    }
