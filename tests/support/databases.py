"""Fresh databases on each engine, bound to the service for one test and dropped afterwards."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg2
import pymysql
import pymysql.constants.CLIENT
import pytest

from pacifica.notifications.orm import DB

SERVERS = {
    "postgresql": ("TEST_POSTGRESQL_URL", "postgresql://postgres@127.0.0.1:5432/postgres"),
    "mariadb": ("TEST_MARIADB_URL", "mysql://root@127.0.0.1:3306/mysql"),
}
ON_SERVERS = [pytest.param(engine, id=engine, marks=pytest.mark.server) for engine in SERVERS]
ENGINES = [pytest.param("sqlite", id="sqlite"), *ON_SERVERS]
CONNECT_TIMEOUT = 5
STATEMENT_TIMEOUT = 30


def unused_url(engine: str, folder: Path) -> str:
    """Return the peewee URL of a database that does not exist.

    Skips the test if the engine's server is absent; where CI is 'true' that is a failure.
    """
    name = f"notifications_test_{uuid4().hex}"
    if engine == "sqlite":
        return f"sqliteext:///{folder / name / 'db.sqlite3'}"
    variable, default = SERVERS[engine]
    server = os.environ.get(variable, default)
    try:
        execute(server, "SELECT 1")
    except (psycopg2.OperationalError, pymysql.err.OperationalError) as error:
        absent = f"{engine} ({variable}={server}) cannot be used: {error}"
        if os.environ.get("CI") == "true":
            pytest.fail(absent)
        pytest.skip(absent)
    return urlsplit(server)._replace(path=f"/{name}").geturl()


def create(url: str) -> None:
    """Create the database that a URL names; of an SQLite one, the folder."""
    if _is_file(url):
        file_of(url).parent.mkdir()
    else:
        execute(_server(url), f"CREATE DATABASE {_name(url)}")


def copy(template: str, url: str) -> None:
    """Create a database with all that another one has, to which nobody is connected.

    MariaDB cannot copy one.
    """
    if _is_file(url):
        shutil.copytree(file_of(template).parent, file_of(url).parent)
    else:
        execute(_server(url), f"CREATE DATABASE {_name(url)} TEMPLATE {_name(template)}")


def file_of(url: str) -> Path:
    """Return the file of an SQLite database."""
    return Path(_name(url))


def drop(url: str) -> None:
    """Drop a database if it exists, also while somebody is connected to it."""
    if _is_file(url):
        shutil.rmtree(file_of(url).parent, ignore_errors=True)
    else:
        force = " WITH (FORCE)" if url.startswith("postgresql") else ""
        execute(_server(url), f"DROP DATABASE IF EXISTS {_name(url)}{force}")


def empty(url: str) -> None:
    """Put an empty database in the place of one; the service must not be connected to it."""
    drop(url)
    create(url)


@contextmanager
def configured(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Configure the service for a database by the environment alone; unbinds it at both ends."""
    monkeypatch.setenv("NOTIFICATIONS_CONFIG", "/nonexistent/config.ini")
    monkeypatch.setenv("PEEWEE_URL", url)
    DB.unbind()
    try:
        yield
    finally:
        DB.unbind()


def hang_up(url: str) -> None:
    """End every other connection to a server's database, as a restart of the server does."""
    if url.startswith("postgresql"):
        execute(
            _server(url),
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "  # noqa: S608
            f"WHERE datname = '{_name(url)}'",
        )
        return
    connected = execute(
        _server(url),
        f"SELECT id FROM information_schema.processlist WHERE db = '{_name(url)}'",  # noqa: S608
    )
    for (number,) in connected:
        execute(_server(url), f"KILL {number}")


def execute(url: str, script: str) -> list[tuple[Any, ...]]:
    """Execute SQL on a connection of its own; returns the rows of the last statement."""
    with closing(_connection(url)) as connection:
        if isinstance(connection, sqlite3.Connection):
            return _execute_sqlite(connection, script)
        with connection.cursor() as cursor:
            cursor.execute(script)
            rows = list(cursor.fetchall()) if cursor.description else []
            while isinstance(connection, pymysql.Connection) and cursor.nextset():
                rows = list(cursor.fetchall())
            return rows


def _execute_sqlite(connection: sqlite3.Connection, script: str) -> list[tuple[Any, ...]]:
    if script.lstrip().upper().startswith("SELECT"):
        return connection.execute(script).fetchall()
    connection.executescript(script)
    return []


def _connection(url: str) -> Any:
    if _is_file(url):
        return sqlite3.connect(_name(url), timeout=CONNECT_TIMEOUT, isolation_level=None)
    if url.startswith("postgresql"):
        postgresql = psycopg2.connect(
            url,
            connect_timeout=CONNECT_TIMEOUT,
            options=f"-c statement_timeout={STATEMENT_TIMEOUT * 1000}",
        )
        postgresql.autocommit = True
        return postgresql
    parts = urlsplit(url)
    return pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=parts.username,
        password=parts.password or "",
        database=_name(url),
        autocommit=True,
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=STATEMENT_TIMEOUT,
        # Otherwise every connection reads the system's certificates, for 30 ms.
        ssl_disabled=True,
        client_flag=pymysql.constants.CLIENT.MULTI_STATEMENTS,
    )


def _is_file(url: str) -> bool:
    return url.startswith("sqlite")


def _name(url: str) -> str:
    """Return a database's name; of an SQLite one, its file."""
    return urlsplit(url).path[1:]


def _server(url: str) -> str:
    engine = "postgresql" if url.startswith("postgresql") else "mariadb"
    return os.environ.get(*SERVERS[engine])
