"""Which database `DB` uses: one that was bound, or else the configured one; also in children."""

import subprocess
import sys
from pathlib import Path

import pytest

from pacifica.notifications import config
from pacifica.notifications.config import load_settings
from pacifica.notifications.errors import ConfigError
from pacifica.notifications.orm import DB, open_database
from pacifica.notifications.settings import Settings
from tests.support.configured import changed

SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.fixture
def other(empty_database: str, tmp_path: Path) -> Settings:  # noqa: ARG001 (it unbinds at the end)
    """Return settings that name another database than the environment does."""
    return changed(load_settings(), database_peewee_url=f"sqlite:///{tmp_path / 'other.sqlite3'}")


def file_of_db() -> str:
    """Return the name of the SQLite file that this thread's connection has open."""
    return Path(DB.execute_sql("PRAGMA database_list").fetchone()[2]).name


@SQLITE
def test_bound_database_is_used_when_the_configuration_names_another(other: Settings) -> None:
    assert file_of_db() == "db.sqlite3"
    DB.bind(open_database(other.database, other.security))
    assert file_of_db() == "other.sqlite3"


@SQLITE
def test_configured_database_is_used_when_another_one_was_unbound(other: Settings) -> None:
    DB.bind(open_database(other.database, other.security))
    DB.unbind()
    assert file_of_db() == "db.sqlite3"


@SQLITE
def test_connection_is_closed_when_another_database_is_bound(other: Settings) -> None:
    before = DB.handle().engine
    DB.execute_sql("SELECT 1")
    assert not before.is_closed()
    DB.bind(open_database(other.database, other.security))
    assert before.is_closed()


@SQLITE
def test_configuration_is_not_read_when_a_database_is_bound(
    other: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    DB.bind(open_database(other.database, other.security))
    monkeypatch.setenv("PEEWEE_URL", "nonsense")
    assert file_of_db() == "other.sqlite3"
    DB.unbind()
    with pytest.raises(ConfigError):
        file_of_db()


@pytest.mark.usefixtures("empty_database")
def test_configuration_is_read_once_when_the_database_is_used_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = []
    configured = config.configured
    monkeypatch.setattr(config, "configured", lambda: read.append(1) or configured())
    for _ in range(3):
        DB.execute_sql("SELECT 1")
    assert len(read) == 1


FORK = """
import os
from contextlib import suppress
import peewee
from pacifica.notifications.config import load_settings
from pacifica.notifications.orm import DB, open_database

def has_temporary_table():
    with suppress(peewee.PeeweeException):
        return DB.execute_sql("SELECT COUNT(*) FROM mine").fetchone() == (0,)

settings = load_settings()
DB.bind(open_database(settings.database, settings.security))
os.environ["PEEWEE_URL"] = "nonsense"
DB.execute_sql("CREATE TEMPORARY TABLE mine (a INTEGER)")  # only this connection has it
child = os.fork()
if not child:
    DB.execute_sql("CREATE TABLE of_child (a INTEGER)")
    os._exit(1 if has_temporary_table() else 0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert DB.execute_sql("SELECT COUNT(*) FROM of_child").fetchone() == (0,)
assert has_temporary_table()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
@pytest.mark.usefixtures("empty_database")
def test_parent_and_child_have_connections_to_the_bound_database_when_the_process_forks() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
