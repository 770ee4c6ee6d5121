"""The configuration: what the URL of the database opens."""

import os
import socket
import stat
from contextlib import closing
from pathlib import Path

import peewee
import psycopg2
import pymysql
import pytest

from pacifica.notifications.config import load_settings
from pacifica.notifications.orm import open_database


def opened(url: str, monkeypatch: pytest.MonkeyPatch) -> peewee.Database:
    monkeypatch.setenv("PEEWEE_URL", url)
    settings = load_settings()
    return open_database(settings.database, settings.security).engine


@pytest.mark.parametrize("scheme", ["sqlite", "sqliteext", "sqlite+pool", "sqliteext+pool"])
@pytest.mark.parametrize("query", ["", "?timeout=7"])
def test_database_url_opens_sqlite(
    scheme: str, query: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a%b.sqlite3"
    database = opened(f"{scheme}:///{path}{query}", monkeypatch)
    try:
        database.connect()
        database.execute_sql("CREATE TABLE t (a)")
        assert database.execute_sql("PRAGMA journal_mode").fetchone() == ("wal",)
    finally:
        database.close_all() if scheme.endswith("+pool") else database.close()
    assert path.exists()


@pytest.mark.parametrize("pool", ["", "+pool"])
@pytest.mark.parametrize(
    ("scheme", "kind", "refusal"),
    [
        ("postgres", peewee.PostgresqlDatabase, psycopg2.OperationalError),
        ("postgresql", peewee.PostgresqlDatabase, psycopg2.OperationalError),
        ("mysql", peewee.MySQLDatabase, pymysql.err.OperationalError),
    ],
)
def test_database_url_names_server_user_and_database(
    pool: str, scheme: str, kind: type, refusal: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    database = opened(f"{scheme}{pool}://somebody:sesame@127.0.0.1:{port}/name", monkeypatch)
    assert isinstance(database, kind)
    assert database.database == "name"
    parameters = database.connect_params
    assert (parameters["host"], parameters["port"]) == ("127.0.0.1", port)
    assert (parameters["user"], parameters["password"]) == ("somebody", "sesame")
    with pytest.raises(peewee.OperationalError) as error:
        database.connect()
    assert isinstance(error.value.__context__, refusal)
    assert "refused" in str(error.value)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
@pytest.mark.parametrize("scheme", ["sqliteext", "sqlite+pool"])
def test_sqlite_files_are_private_when_they_are_created(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = opened(f"{scheme}:///{tmp_path / 'db.sqlite3'}", monkeypatch)
    database.connect()
    database.execute_sql("CREATE TABLE t (a)")
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    database.close()
    names = ("db.sqlite3", "db.sqlite3-shm", "db.sqlite3-wal")
    assert modes == dict.fromkeys(names, 0o600)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
def test_sqlite_file_keeps_its_mode_when_it_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "db.sqlite3"
    path.touch()
    path.chmod(0o660)
    database = opened(f"sqlite:///{path}", monkeypatch)
    database.connect()
    database.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
